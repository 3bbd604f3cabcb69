process PREDICT {
    tag "${meta.transfer}: ${meta.query}"
    label 'process_medium'
    label 'image_core'
    publishDir "${task.ext.outdir}/groups/${meta.group}/${meta.query}", mode: "${task.ext.publish_dir_mode}"

    input:
    tuple val(meta), path(query), path(bundle, stageAs: 'bundle')
    val settings

    output:
    tuple val(meta), path('predictions.csv'), path('domain_gap.json'), emit: predictions
    tuple val(meta), path('annotated.h5ad'), emit: annotated
    tuple val(task.process), eval('cellpredx versions'), topic: versions

    script:
    """
    cellpredx predict \\
        --bundle bundle \\
        --query ${query} \\
        ${settings.target_error != null ? "--target-error ${settings.target_error}" : ''} \\
        ${settings.unknown_threshold != null ? "--unknown-threshold ${settings.unknown_threshold}" : ''} \\
        --outdir .
    """

    stub:
    """
    touch predictions.csv domain_gap.json annotated.h5ad
    """
}
