process PROTEINS {
    tag "${meta.id}"
    label 'process_low'
    label 'image_core'
    publishDir "${task.ext.outdir}/samples/${meta.id}/matrix", mode: "${task.ext.publish_dir_mode}", overwrite: 'deep'

    input:
    tuple val(meta), val(spec), path(files, stageAs: 'in?/*'), path(store, stageAs: 'store')

    output:
    tuple val(meta), path('proteins.h5ad'), emit: matrix
    tuple val(task.process), eval('cellpredx versions'), topic: versions

    script:
    """
    cellpredx proteins \\
        --spec ${spec} \\
        --store store \\
        --out proteins.h5ad
    """

    stub:
    """
    touch proteins.h5ad
    """
}
