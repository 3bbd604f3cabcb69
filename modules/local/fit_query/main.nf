process FIT_QUERY {
    tag "${meta.transfer}: ${meta.query}"
    label 'process_medium'
    label 'image_core'
    ext need: { meta.size ? 1.GB + 50.KB * meta.size.cells + 60.B * meta.size.values : null }
    publishDir "${task.ext.outdir}/groups/${meta.group}/${meta.query}", mode: "${task.ext.publish_dir_mode}", overwrite: 'deep', pattern: 'domain_gap.json'

    input:
    tuple val(meta), path(query), path(graph, stageAs: 'graph/*'), path(bundle, stageAs: 'bundle')
    val settings

    output:
    tuple val(meta), path('query_fit'), emit: fit
    tuple val(meta), path('domain_gap.json'), emit: domain_gap
    tuple val(meta), path('query_fit/query.json'), emit: json
    tuple val(task.process), eval('cellpredx versions'), topic: versions

    script:
    """
    cellpredx fit-query \\
        --bundle bundle \\
        --query ${query} \\
        ${graph ? "--graph ${graph}" : ''} \\
        ${settings.target_error != null ? "--target-error ${settings.target_error}" : ''} \\
        ${settings.unknown_threshold != null ? "--unknown-threshold ${settings.unknown_threshold}" : ''} \\
        --outdir .
    """

    stub:
    """
    mkdir query_fit
    touch domain_gap.json
    echo '{"cells": 1}' > query_fit/query.json
    """
}
