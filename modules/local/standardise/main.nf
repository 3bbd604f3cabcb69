process STANDARDISE {
    tag "${meta.id}"
    label 'process_low'
    label 'image_core'
    publishDir "${task.ext.outdir}/samples/${meta.id}/matrix", mode: "${task.ext.publish_dir_mode}", overwrite: 'deep', pattern: '*.h5ad'

    input:
    tuple val(meta), val(spec), path(files, stageAs: 'in?/*')

    output:
    tuple val(meta), path('{genes,peaks,gene_activity,proteins}.h5ad'), emit: matrices
    tuple val(meta), path('sample.json'), emit: json
    tuple val(task.process), eval('cellpredx versions'), topic: versions

    script:
    """
    cellpredx standardise \\
        --spec ${spec} \\
        --outdir .
    """

    stub:
    """
    touch ${meta.kind}.h5ad ${meta.proteins ? 'proteins.h5ad' : ''} sample.json
    """
}
