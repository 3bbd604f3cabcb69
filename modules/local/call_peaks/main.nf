process CALL_PEAKS {
    tag "${meta.id}"
    label 'process_medium'
    label 'image_peaks'
    publishDir "${task.ext.outdir}/samples/${meta.id}/peaks", mode: "${task.ext.publish_dir_mode}", overwrite: 'deep'

    input:
    tuple val(meta), path(store)
    path chrom_sizes, stageAs: 'chrom_sizes/*'
    path blacklist, stageAs: 'blacklist/*'
    val settings

    output:
    tuple val(meta), path("${meta.id}.narrowPeak"), emit: peaks
    tuple val(task.process), eval('echo "$(cellpredx versions), $(macs3 --version)"'), topic: versions

    script:
    """
    cellpredx call-peaks \\
        --store ${store} \\
        --q ${settings.peak_q} \\
        ${chrom_sizes ? '--chrom-sizes chrom_sizes/*' : ''} \\
        ${settings.genome ? "--genome ${settings.genome}" : ''} \\
        ${blacklist ? '--blacklist blacklist/*' : ''} \\
        --out ${meta.id}.narrowPeak
    """

    stub:
    """
    touch ${meta.id}.narrowPeak
    """
}
