process PAIR {
    tag "${meta.id}"
    label 'process_medium'
    label 'image_core'

    input:
    tuple val(meta), path(references, stageAs: 'references?/*'), path(queries, stageAs: 'queries?/*'), path(graphs, stageAs: 'graphs?/*'), path(proteins, stageAs: 'proteins?/*'), path(bundle, stageAs: 'bundle')
    path annotation, stageAs: 'annotation/*'
    val scenario

    output:
    tuple val(meta), path('pair'), emit: pair
    tuple val(meta), path('pair/pair.json'), emit: json
    tuple val(meta), path('pair/queries/*.h5ad', arity: '1..*'), emit: queries
    tuple val(meta), path('pair/graphs/*.h5ad', arity: '0..*'), emit: graphs
    tuple val(task.process), eval('cellpredx versions'), topic: versions

    script:
    """
    cellpredx pair \\
        --transfer ${meta.id} \\
        --group ${meta.group} \\
        --scenario ${scenario} \\
        ${bundle ? '--bundle bundle' : "--references ${references}"} \\
        --queries ${queries} \\
        ${graphs ? "--graphs ${graphs}" : ''} \\
        ${proteins ? "--proteins ${proteins}" : ''} \\
        --peak-source ${meta.peak_source} \\
        ${meta.without_peaks ? '--without-peaks' : ''} \\
        ${annotation ? '--annotation annotation/*' : ''} \\
        --outdir pair
    """

    stub:
    """
    mkdir -p pair/queries
    touch pair/reference.h5ad
    ${meta.queries.collect { query -> "touch pair/queries/${query}.h5ad" }.join('\n    ')}
    echo '{"scenario": "rna", "barcode_overlap": 0, "chosen": "auto"}' > pair/pair.json
    """
}
