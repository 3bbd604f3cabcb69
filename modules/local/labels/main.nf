process LABELS {
    tag "${meta.id}"
    label 'process_single'
    label 'image_core'

    input:
    tuple val(meta), val(spec), path(files, stageAs: 'in?/*')
    path label_map, stageAs: 'label_map.csv'

    output:
    tuple val(meta), path("${meta.id}.labels.csv"), emit: csv
    tuple val(meta), path('unused.json'), emit: unused, optional: true

    script:
    """
    cellpredx labels \\
        --spec ${spec} \\
        ${label_map ? '--label-map label_map.csv --unused unused.json' : ''} \\
        --out ${meta.id}.labels.csv
    """

    stub:
    """
    touch ${meta.id}.labels.csv
    """
}
