process TRAIN {
    tag "${meta.id}"
    label 'process_high'
    label 'process_gpu'
    label 'image_torch'
    ext need: { meta.size ? 1.GB + 40.KB * meta.size.cells + 60.B * meta.size.values : null }
    publishDir "${task.ext.outdir}/groups/${meta.folder}", mode: "${task.ext.publish_dir_mode}", overwrite: 'deep', pattern: 'model'

    input:
    tuple val(meta), path(pair), path(labels)
    val settings

    output:
    tuple val(meta), path('model'), emit: bundle
    tuple val(meta), path('training.json'), emit: json
    tuple val(task.process), eval('cellpredx versions'), topic: versions

    script:
    def device = settings.device == 'auto' && !task.accelerator ? 'cpu' : settings.device
    """
    cellpredx train \\
        --pair ${pair} \\
        --labels ${meta.references.collect { sample -> "${sample}=${sample}.labels.csv" }.join(' ')} \\
        --preset ${settings.preset} \\
        --hyperparameters '${settings.hyperparameters ?: ''}' \\
        ${settings.target_error != null ? "--target-error ${settings.target_error}" : ''} \\
        ${settings.unknown_threshold != null ? "--unknown-threshold ${settings.unknown_threshold}" : ''} \\
        --max-train-cells ${settings.max_train_cells} \\
        --seed ${settings.seed} \\
        --threads ${settings.threads} \\
        --device ${device} \\
        --bundle model \\
        --training training.json
    """

    stub:
    """
    mkdir model
    touch model/bundle.json
    echo '{}' > training.json
    """
}
