process REFERENCE_MARKERS {
    tag "${meta.id}"
    label 'process_medium'
    label 'image_core'
    ext need: { meta.size ? 1.GB + 10.KB * meta.size.cells + 60.B * meta.size.values : null }
    publishDir "${task.ext.outdir}/groups/${meta.folder}", mode: "${task.ext.publish_dir_mode}", overwrite: 'deep', pattern: '*.csv'

    input:
    tuple val(meta), path(pair), path(labels)

    output:
    tuple val(meta), path('reference_markers.csv'), emit: csv
    tuple val(task.process), eval('cellpredx versions'), topic: versions

    script:
    """
    cellpredx reference-markers \\
        --pair ${pair} \\
        --labels ${meta.references.collect { sample -> "${sample}=${sample}.labels.csv" }.join(' ')} \\
        --out reference_markers.csv
    """

    stub:
    """
    touch reference_markers.csv
    """
}
