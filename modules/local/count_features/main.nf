process COUNT_FEATURES {
    tag "${meta.id}: ${meta.kind}"
    label 'process_medium'
    label 'image_core'
    publishDir "${task.ext.outdir}/samples/${meta.id}/matrix", mode: "${task.ext.publish_dir_mode}", overwrite: 'deep', saveAs: { name -> name.endsWith('.h5ad') ? "${meta.name}.h5ad" : name == 'frip.csv' ? "${meta.name.replaceFirst('peaks', 'frip')}.csv" : null }

    input:
    tuple val(meta), path(store), path(peaks, stageAs: 'peaks/*'), path(annotation, stageAs: 'annotation/*'), path(blacklist, stageAs: 'blacklist/*')
    path chrom_sizes, stageAs: 'chrom_sizes/*'
    val settings

    output:
    tuple val(meta), path("${meta.kind}.h5ad"), emit: matrix
    tuple val(meta), path('frip.csv'), emit: frip, optional: true
    tuple val(meta), path('counted.json'), emit: json
    tuple val(task.process), eval('cellpredx versions'), topic: versions

    script:
    """
    cellpredx count \\
        --store ${store} \\
        --kind ${meta.kind} \\
        --name ${meta.name} \\
        --counting ${meta.counting} \\
        ${meta.gene_model ? "--gene-model ${meta.gene_model}" : ''} \\
        ${peaks ? '--peaks peaks/*' : ''} \\
        ${annotation ? '--annotation annotation/*' : ''} \\
        ${chrom_sizes ? '--chrom-sizes chrom_sizes/*' : ''} \\
        ${settings.genome ? "--genome ${settings.genome}" : ''} \\
        ${blacklist ? '--blacklist blacklist/*' : ''} \\
        ${meta.window_size ? "--window-size ${meta.window_size}" : ''} \\
        --out ${meta.kind}.h5ad
    """

    stub:
    """
    touch ${meta.kind}.h5ad counted.json
    """
}
