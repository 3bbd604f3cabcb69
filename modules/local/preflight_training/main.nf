process PREFLIGHT_TRAINING {
    tag 'torch'
    label 'process_single'
    label 'process_gpu'
    label 'image_torch'
    // A node is repaired without a change of the input: what was found on it before says nothing.
    cache false

    input:
    val device

    output:
    tuple val(['torch']), val("${task.container}"), path('preflight.json'), emit: json

    script:
    """
    cellpredx preflight \\
        --images torch \\
        --device ${device} \\
        ${task.accelerator ? '--accelerator' : ''} \\
        --out preflight.json
    """

    stub:
    """
    echo '{"problems": []}' > preflight.json
    """
}
