process EXPLAIN {
    tag "${meta.transfer}: ${meta.query}"
    label 'process_medium'
    label 'image_core'
    publishDir "${task.ext.outdir}/groups/${meta.group}/${meta.query}", mode: "${task.ext.publish_dir_mode}"

    input:
    tuple val(meta), path(annotated), path(bundle, stageAs: 'bundle')

    output:
    tuple val(meta), path('determinants.csv'), emit: csv
    tuple val(task.process), eval('cellpredx versions'), topic: versions

    script:
    """
    cellpredx explain \\
        --bundle bundle \\
        --annotated ${annotated} \\
        --out determinants.csv
    """

    stub:
    """
    touch determinants.csv
    """
}
