process INGEST_FRAGMENTS {
    tag "${meta.id}"
    label 'process_low'
    label 'image_core'
    ext need: { 1.GB + 1.B * [files].flatten().collect { file -> file.size() }.sum(0).intdiv(2) }
    publishDir "${task.ext.outdir}/samples/${meta.id}/fragments", mode: "${task.ext.publish_dir_mode}", overwrite: 'deep', pattern: '*.csv'

    input:
    tuple val(meta), val(spec), path(files, stageAs: 'in?/*')
    path annotation, stageAs: 'annotation/*'
    path chrom_sizes, stageAs: 'chrom_sizes/*'
    path blacklist, stageAs: 'blacklist/*'
    val settings

    output:
    tuple val(meta), path('store'), emit: store
    tuple val(meta), path('*.csv'), emit: tables
    tuple val(meta), path('sample.json'), emit: json
    tuple val(task.process), eval('cellpredx versions'), topic: versions

    script:
    """
    cellpredx ingest-fragments \\
        --spec ${spec} \\
        ${annotation ? '--annotation annotation/*' : ''} \\
        ${chrom_sizes ? '--chrom-sizes chrom_sizes/*' : ''} \\
        ${settings.genome ? "--genome ${settings.genome}" : ''} \\
        ${blacklist ? '--blacklist blacklist/*' : ''} \\
        --cell-calling ${settings.cell_calling} \\
        --min-fragments ${settings.min_fragments} \\
        --min-tss ${settings.min_tss} \\
        ${settings.remove_doublets ? '--remove-doublets' : ''} \\
        --store store \\
        --outdir .
    """

    stub:
    """
    mkdir store
    touch barcodes.csv fragment_sizes.csv sample.json
    """
}
