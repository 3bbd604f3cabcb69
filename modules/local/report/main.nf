process REPORT {
    label 'process_single'
    label 'image_core'
    publishDir "${task.ext.outdir}", mode: "${task.ext.publish_dir_mode}", overwrite: 'deep', pattern: '*.csv'

    input:
    stdin
    path samples, stageAs: 'samples/?/*'
    path counted, stageAs: 'counted/?/*'
    path pairs, stageAs: 'pairs/?/*'
    path training, stageAs: 'training/?/*'
    path baselines, stageAs: 'baselines/?/*'
    path results, stageAs: 'results/?/*'
    path figures, stageAs: 'figures/?/*'

    output:
    path 'multiqc_input', emit: content
    path '*.csv', emit: tables

    script:
    """
    cellpredx report \\
        --parameters - \\
        --samples ${samples} \\
        --counted ${counted ?: ''} \\
        --pairs ${pairs} \\
        --training ${training ?: ''} \\
        --baselines ${baselines ?: ''} \\
        --results ${results} \\
        --figures ${figures ?: ''} \\
        --outdir multiqc_input \\
        --tables .
    """

    stub:
    """
    mkdir multiqc_input
    touch summary.csv composition.csv cells_lost.csv
    """
}
