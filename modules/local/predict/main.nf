process PREDICT {
    tag "${meta.transfer}: ${meta.query}, from cell ${begin}"
    label 'process_medium'
    label 'image_core'
    ext need: { meta.size ? 1.GB + 60.B * meta.size.values.intdiv([1, meta.size.cells.intdiv(cells)].max()) : null }

    input:
    tuple val(meta), path(query), path(bundle, stageAs: 'bundle'), path(fit), val(begin)
    val cells

    output:
    tuple val(meta), path("part_${begin}"), emit: part
    tuple val(task.process), eval('cellpredx versions'), topic: versions

    script:
    """
    cellpredx predict \\
        --bundle bundle \\
        --query ${query} \\
        --fit ${fit} \\
        --begin ${begin} \\
        --cells ${cells} \\
        --out part_${begin}
    """

    stub:
    """
    mkdir part_${begin}
    """
}
