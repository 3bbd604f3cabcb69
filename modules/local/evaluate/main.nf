process EVALUATE {
    tag "${meta.transfer}: ${meta.query}"
    label 'process_single'
    label 'image_core'
    publishDir "${task.ext.outdir}/groups/${meta.group}/${meta.query}", mode: "${task.ext.publish_dir_mode}", overwrite: 'deep', pattern: '{evaluation.json,*.csv}'

    input:
    tuple val(meta), path(predictions), path(domain_gap), path(determinants), path(explain), path(baselines), path(labels)

    output:
    tuple val(meta), path('result.json'), emit: json
    tuple val(meta), path('evaluation.json'), emit: evaluation, optional: true
    tuple val(meta), path('{metrics,per_type,confusion,reliability}.csv'), emit: tables, optional: true
    tuple val(task.process), eval('cellpredx versions'), topic: versions

    script:
    """
    cellpredx evaluate \\
        --transfer ${meta.transfer} \\
        --group ${meta.group} \\
        --query ${meta.query} \\
        --predictions ${predictions} \\
        --domain-gap ${domain_gap} \\
        --determinants ${determinants} \\
        --explain ${explain} \\
        ${baselines ? "--baselines ${baselines}" : ''} \\
        ${labels ? "--labels ${labels}" : ''} \\
        --outdir .
    """

    stub:
    """
    touch result.json
    """
}
