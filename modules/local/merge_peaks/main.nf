process MERGE_PEAKS {
    tag "${meta.id}"
    label 'process_low'
    label 'image_core'
    publishDir "${task.ext.outdir}/groups/${meta.id}", mode: "${task.ext.publish_dir_mode}", overwrite: 'deep'

    input:
    tuple val(meta), path(calls)
    path chrom_sizes, stageAs: 'chrom_sizes/*'
    path blacklist, stageAs: 'blacklist/*'
    val settings

    output:
    tuple val(meta), path('peaks.bed'), emit: peaks
    tuple val(task.process), eval('cellpredx versions'), topic: versions

    script:
    """
    cellpredx merge-peaks \\
        --calls ${calls} \\
        ${chrom_sizes ? '--chrom-sizes chrom_sizes/*' : ''} \\
        ${settings.genome ? "--genome ${settings.genome}" : ''} \\
        ${blacklist ? '--blacklist blacklist/*' : ''} \\
        --out peaks.bed
    """

    stub:
    """
    touch peaks.bed
    """
}
