process PREFLIGHT {
    tag "${images.join(', ')}"
    label 'process_single'
    // conf/modules.config takes the container's name from here.
    ext image: { images[0] }
    // An image is repaired under its name: what was found in it before says nothing.
    cache false

    input:
    val images

    output:
    tuple val(images), val("${task.container}"), path('preflight.json'), emit: json

    script:
    """
    cellpredx preflight \\
        --images ${images.join(' ')} \\
        --out preflight.json
    """

    stub:
    """
    echo '{"problems": []}' > preflight.json
    """
}
