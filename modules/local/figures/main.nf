process FIGURES {
    tag "${meta.transfer}: ${meta.query}"
    label 'process_medium'
    label 'image_core'
    ext need: { meta.size ? 1.GB + 10.KB * meta.size.cells + 30.B * meta.size.values : null }
    publishDir "${task.ext.outdir}/groups/${meta.group}/${meta.query}", mode: "${task.ext.publish_dir_mode}", overwrite: 'deep'

    input:
    tuple val(meta), path(annotated), path(determinants), path(result), path(embedding)

    output:
    tuple val(meta), path('figures'), emit: figures
    tuple val(task.process), eval('cellpredx versions'), topic: versions

    script:
    """
    cellpredx figures \\
        --annotated ${annotated} \\
        --determinants ${determinants} \\
        --result ${result} \\
        ${embedding ? "--embedding ${embedding}" : ''} \\
        --outdir figures
    """

    stub:
    """
    mkdir figures
    echo '{"transfer": "${meta.transfer}", "group": "${meta.group}", "query": "${meta.query}", "figures": []}' > figures/figures.json
    """
}
