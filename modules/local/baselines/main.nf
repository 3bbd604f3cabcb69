process BASELINES {
    tag "${meta.id}"
    label 'process_high'
    label 'image_baselines'
    ext need: { meta.size ? 1.GB + 10.KB * meta.size.cells + 60.B * meta.size.values : null }
    publishDir "${task.ext.outdir}/groups/${meta.group}", mode: "${task.ext.publish_dir_mode}", overwrite: 'deep', pattern: '*.csv', saveAs: { name -> "${name - '.baselines.csv'}/baselines.csv" }

    input:
    tuple val(meta), path(pair), path(labels)
    val settings

    output:
    tuple val(meta), path('*.baselines.csv'), emit: csv
    tuple val(meta), path('baselines.json'), emit: json
    tuple val(task.process), eval('cellpredx versions --celltypist'), topic: versions

    script:
    """
    cellpredx baselines \\
        --pair ${pair} \\
        --labels ${meta.references.collect { sample -> "${sample}=${sample}.labels.csv" }.join(' ')} \\
        --methods ${settings.baselines} \\
        --max-cells ${settings.max_train_cells} \\
        --seed ${settings.seed} \\
        --threads ${settings.threads} \\
        --outdir .
    """

    stub:
    """
    touch ${meta.queries.collect { query -> "${query}.baselines.csv" }.join(' ')}
    echo '{}' > baselines.json
    """
}
