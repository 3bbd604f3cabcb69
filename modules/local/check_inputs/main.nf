process CHECK_INPUTS {
    tag "${meta.id}"
    label 'process_single'
    label 'image_core'

    input:
    tuple val(meta), val(spec), path(files, stageAs: 'in?/*')
    val has_annotation

    output:
    tuple val(meta), path('check.json'), emit: json

    script:
    """
    cellpredx check \\
        --spec ${spec} \\
        ${meta.needs_genes ? '--needs-genes' : ''} \\
        ${has_annotation ? '--has-annotation' : ''} \\
        --out check.json
    """

    stub:
    """
    echo '{"sample": "${meta.id}", "kind": "${meta.modality == 'rna' ? 'genes' : 'peaks'}", "proteins": false, "problems": []}' > check.json
    """
}
