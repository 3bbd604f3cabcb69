process CHECK_INPUTS {
    tag "${meta.id}"
    label 'process_single'
    label 'image_core'

    input:
    tuple val(meta), val(spec), path(files, stageAs: 'in?/*')
    path chrom_sizes, stageAs: 'chrom_sizes/*'
    path label_map, stageAs: 'label_map.csv'
    val settings

    output:
    tuple val(meta), path('check.json'), emit: json

    script:
    """
    cellpredx check \\
        --spec ${spec} \\
        ${meta.needs_genes ? '--needs-genes' : ''} \\
        ${settings.has_annotation ? '--has-annotation' : ''} \\
        ${chrom_sizes ? '--chrom-sizes chrom_sizes/*' : ''} \\
        ${settings.genome ? "--genome ${settings.genome}" : ''} \\
        ${label_map ? '--label-map label_map.csv' : ''} \\
        --out check.json
    """

    stub:
    def rows = new groovy.json.JsonSlurper().parseText(new String(spec.tokenize(':').last().decodeBase64())).rows ?: []
    def kind = rows.any { row -> row.fragments } ? 'fragments' : meta.modality == 'rna' ? 'genes' : 'peaks'
    """
    echo '{"sample": "${meta.id}", "kind": "${kind}", "proteins": ${rows.any { row -> row.proteins }}, "species": null, "chromosomes": [], "types": [], "problems": []}' > check.json
    """
}
