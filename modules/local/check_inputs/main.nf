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
    def rows = new groovy.json.JsonSlurper().parseText(new String(spec.tokenize(':').last().decodeBase64())).rows ?: []
    def kind = rows.any { row -> row.fragments } ? 'fragments' : meta.modality == 'rna' ? 'genes' : 'peaks'
    """
    echo '{"sample": "${meta.id}", "kind": "${kind}", "proteins": ${rows.any { row -> row.proteins }}, "problems": []}' > check.json
    """
}
