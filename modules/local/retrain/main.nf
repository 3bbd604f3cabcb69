process RETRAIN {
    tag "${meta.id}: ${name}"
    label 'process_high'
    label 'process_gpu'
    label 'image_torch'

    input:
    tuple val(meta), path(pair), path(labels), val(seed), val(shuffled)
    val settings

    output:
    tuple val(meta), path("${name}.safetensors"), emit: weights
    tuple val(task.process), eval('cellpredx versions'), topic: versions

    script:
    def device = settings.device == 'auto' && !task.accelerator ? 'cpu' : settings.device
    name = "${shuffled ? 'shuffled' : 'seed'}_${seed}"
    """
    cellpredx retrain \\
        --pair ${pair} \\
        --labels ${meta.references.collect { sample -> "${sample}=${sample}.labels.csv" }.join(' ')} \\
        --preset ${settings.preset} \\
        --hyperparameters '${settings.hyperparameters ?: ''}' \\
        --max-train-cells ${settings.max_train_cells} \\
        --seed ${seed} \\
        ${shuffled ? '--shuffled' : ''} \\
        --threads ${settings.threads} \\
        --device ${device} \\
        --out ${name}.safetensors
    """

    stub:
    name = "${shuffled ? 'shuffled' : 'seed'}_${seed}"
    """
    touch ${name}.safetensors
    """
}
