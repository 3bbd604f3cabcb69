process PREFLIGHT {
    tag "${images.join(', ')}"
    label 'process_single'
    // conf/modules.config takes the container's name from here.
    ext image: { images[0] }
    // An image is repaired under its name: what was found in it before says nothing.
    cache false

    input:
    tuple val(images), path(annotation, stageAs: 'annotation/*'), path(chrom_sizes, stageAs: 'chrom_sizes/*'), path(blacklist, stageAs: 'blacklist/*')
    val settings

    output:
    tuple val(images), val("${task.container}"), path('preflight.json'), emit: json

    script:
    """
    cellpredx preflight \\
        --images ${images.join(' ')} \\
        ${annotation ? '--annotation annotation/*' : ''} \\
        ${chrom_sizes ? '--chrom-sizes chrom_sizes/*' : ''} \\
        ${settings.genome ? "--genome ${settings.genome}" : ''} \\
        ${blacklist ? '--blacklist blacklist/*' : ''} \\
        --out preflight.json
    """

    stub:
    """
    echo '{"problems": []}' > preflight.json
    """
}
