process EXPLAIN {
    tag "${meta.transfer}: ${meta.query}"
    label 'process_medium'
    label 'image_core'
    ext need: { meta.size ? 1.GB + 20.KB * meta.size.cells + 60.B * meta.size.values : null }
    publishDir "${task.ext.outdir}/groups/${meta.group}/${meta.query}", mode: "${task.ext.publish_dir_mode}", overwrite: 'deep'

    input:
    tuple val(meta), path(annotated), path(graph, stageAs: 'graph/*'), path(bundle, stageAs: 'bundle'), path(retrained, stageAs: 'retrained/*'), path(reference_markers), path(annotation, stageAs: 'annotation/*')
    path markers, stageAs: 'markers/*'

    output:
    tuple val(meta), path('determinants.csv'), emit: csv
    tuple val(meta), path('explain.json'), emit: json
    tuple val(meta), path('determinants_bed'), emit: bed, optional: true
    tuple val(task.process), eval('cellpredx versions'), topic: versions

    script:
    """
    cellpredx explain \\
        --bundle bundle \\
        --annotated ${annotated} \\
        ${graph ? "--graph ${graph}" : ''} \\
        ${retrained ? '--retrained retrained/*' : ''} \\
        ${reference_markers ? "--reference-markers ${reference_markers}" : ''} \\
        ${annotation ? '--annotation annotation/*' : ''} \\
        ${markers ? '--markers markers/*' : ''} \\
        --outdir .
    """

    stub:
    """
    touch determinants.csv
    echo '{}' > explain.json
    """
}
