// Two processes with the labels of TRAIN and of INGEST_FRAGMENTS: where the profiles put them, and with which options.

process TRAIN {
    label 'process_high'
    label 'process_gpu'
    label 'image_torch'
    errorStrategy 'ignore'

    script:
    """
    true
    """
}

process INGEST_FRAGMENTS {
    label 'process_low'
    label 'image_core'
    errorStrategy 'ignore'

    script:
    """
    true
    """
}

workflow {
    main:
    TRAIN()
    INGEST_FRAGMENTS()
}
