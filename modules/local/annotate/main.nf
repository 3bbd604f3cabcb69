process ANNOTATE {
    tag "${meta.transfer}: ${meta.query}"
    label 'process_medium'
    label 'image_core'
    ext need: { meta.size ? 1.GB + 10.KB * meta.size.cells + 30.B * meta.size.values : null }
    publishDir "${task.ext.outdir}/groups/${meta.group}/${meta.query}", mode: "${task.ext.publish_dir_mode}", overwrite: 'deep'

    input:
    tuple val(meta), path(query), path(bundle, stageAs: 'bundle'), path(fit), path(parts)

    output:
    tuple val(meta), path('predictions.csv'), emit: predictions
    tuple val(meta), path('annotated.h5ad'), emit: annotated
    tuple val(task.process), eval('cellpredx versions'), topic: versions

    script:
    """
    cellpredx annotate \\
        --bundle bundle \\
        --query ${query} \\
        --fit ${fit} \\
        --parts ${parts} \\
        --outdir .
    """

    stub:
    """
    touch predictions.csv annotated.h5ad
    """
}
