process GENE_ACTIVITY {
    tag "${meta.id}"
    label 'process_low'
    label 'image_core'
    publishDir "${task.ext.outdir}/samples/${meta.id}/matrix", mode: "${task.ext.publish_dir_mode}", overwrite: 'deep'

    input:
    tuple val(meta), path(peaks)
    path annotation, stageAs: 'annotation/*'
    path chrom_sizes, stageAs: 'chrom_sizes/*'
    val settings

    output:
    tuple val(meta), path('gene_activity.h5ad'), emit: matrix
    tuple val(task.process), eval('cellpredx versions'), topic: versions

    script:
    """
    cellpredx gene-activity \\
        --peaks ${peaks} \\
        ${annotation ? '--annotation annotation/*' : ''} \\
        ${chrom_sizes ? '--chrom-sizes chrom_sizes/*' : ''} \\
        ${settings.genome ? "--genome ${settings.genome}" : ''} \\
        --out gene_activity.h5ad
    """

    stub:
    """
    touch gene_activity.h5ad
    """
}
