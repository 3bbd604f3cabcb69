process CHECK_SETTINGS {
    label 'process_single'
    label 'image_core'

    input:
    path annotation, stageAs: 'annotation/*'
    path chrom_sizes, stageAs: 'chrom_sizes/*'
    path blacklist, stageAs: 'blacklist/*'
    path label_map, stageAs: 'label_map.csv'
    path bundles, stageAs: 'bundles?/*'
    val settings

    output:
    path 'settings.json', emit: json

    script:
    // In the order of the list, which a pattern for all of their folders would not keep.
    def folders = [bundles].flatten().withIndex(1).collect { _bundle, number -> "bundles${number}/*" }
    """
    cellpredx check-settings \\
        ${annotation ? '--annotation annotation/*' : ''} \\
        ${chrom_sizes ? '--chrom-sizes chrom_sizes/*' : ''} \\
        ${settings.genome ? "--genome ${settings.genome}" : ''} \\
        ${blacklist ? '--blacklist blacklist/*' : ''} \\
        ${label_map ? '--label-map label_map.csv' : ''} \\
        ${folders ? "--bundles ${folders.join(' ')}" : ''} \\
        --preset ${settings.preset} \\
        --hyperparameters '${settings.hyperparameters ?: ''}' \\
        ${settings.scenarios ? "--scenarios ${settings.scenarios.join(' ')}" : ''} \\
        --out settings.json
    """

    stub:
    """
    echo '{"problems": [], "chromosomes": {}, "species": {}}' > settings.json
    """
}
