/*
 * What tasks ask for under conf/base.config: a need of their own, and a first attempt that is killed for its memory.
 */

process ASKING {
    tag "${need} GB"
    label 'process_high'
    ext need: { need ? need * 1.GB : null }

    input:
    val need

    script:
    """
    exit ${task.attempt == 1 ? 137 : 0}
    """
}

workflow {
    ASKING(channel.of(0, 9, 900))
}
