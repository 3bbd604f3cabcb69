process EMBED {
    tag "${meta.transfer}: ${meta.query}"
    label 'process_medium'
    label 'image_core'
    ext need: { meta.size ? 1.GB + 20.KB * meta.size.cells + 60.B * meta.size.values : null }
    publishDir "${task.ext.outdir}/groups/${meta.group}/${meta.query}", mode: "${task.ext.publish_dir_mode}", overwrite: 'deep'

    input:
    tuple val(meta), path(annotated), path(graph, stageAs: 'graph/*'), path(bundle, stageAs: 'bundle')
    val cells

    output:
    tuple val(meta), path('embedding.csv'), emit: csv
    tuple val(task.process), eval('cellpredx versions'), topic: versions

    script:
    """
    cellpredx embed \\
        --annotated ${annotated} \\
        --bundle bundle \\
        ${graph ? "--graph ${graph}" : ''} \\
        --cells ${cells} \\
        --out embedding.csv
    """

    stub:
    """
    touch embedding.csv
    """
}
