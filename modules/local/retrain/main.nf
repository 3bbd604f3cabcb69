process RETRAIN {
    tag "${meta.id}: ${again.name}"
    label 'process_high'
    label 'process_gpu'
    label 'image_torch'
    ext need: { meta.size ? 1.GB + 40.KB * meta.size.cells + 60.B * meta.size.values : null }

    input:
    tuple val(meta), path(pair), path(labels), val(again)
    val settings

    output:
    tuple val(meta), path("${again.name}.safetensors"), emit: weights
    tuple val(task.process), eval('cellpredx versions'), topic: versions

    script:
    def device = settings.device == 'auto' && !task.accelerator ? 'cpu' : settings.device
    """
    cellpredx retrain \\
        --pair ${pair} \\
        --labels ${meta.references.collect { sample -> "${sample}=${sample}.labels.csv" }.join(' ')} \\
        --preset ${settings.preset} \\
        --hyperparameters '${settings.hyperparameters ?: ''}' \\
        --max-train-cells ${settings.max_train_cells} \\
        --seed ${again.seed} \\
        ${again.shuffled ? '--shuffled' : ''} \\
        --threads ${settings.threads} \\
        --device ${device} \\
        --out ${again.name}.safetensors
    """

    stub:
    """
    touch ${again.name}.safetensors
    """
}
