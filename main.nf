include { CELLPREDX } from './workflows/cellpredx'
include { takeAwaySums ; writeSums } from './subworkflows/local/checksums'
include {
    helpText
    mistakesText
    planOf
    readSchema
    readSheet
    resolveOptions
} from './subworkflows/local/check_sheet'

workflow {
    main:
    def schema = readSchema("${projectDir}/nextflow_schema.json")
    def checked = resolveOptions(params, schema)
    def options = checked.options

    if (options.help) {
        println(helpText(schema))
    }
    else if (options.version) {
        println("cellpredx ${workflow.manifest.version}")
    }
    else {
        def columns = readSchema("${projectDir}/assets/schema_input.json")
        def sheet = options.input ? readSheet(options.input, columns) : [rows: [], mistakes: []]
        def result = planOf(sheet.rows, options)
        def mistakes = checked.mistakes + sheet.mistakes + result.mistakes
        if (mistakes) {
            removeEmptyTrace(options.outdir)
            error(mistakesText(mistakes))
        }
        log.info(planText(result.plan))
        takeAwaySums(options.outdir)
        CELLPREDX(result.plan, options)
        workflow.onComplete {
            conclude(options.outdir, result.plan)
        }
    }
}

def planText(plan) {
    def lines = plan.transfers.collect { one ->
        def source = one.bundle ? "bundle ${one.bundle}" : "${one.reference_modality} reference ${one.references.join(', ')}"
        "  ${one.id}: ${source} -> ${one.query_modality} ${one.queries.join(', ')}"
    }
    return "Transfers:\n${lines.join('\n')}"
}

def conclude(outdir, plan) {
    if (workflow.success) {
        writeSums(outdir, plan)
        log.info("The report: ${outdir}/multiqc/multiqc_report.html")
    }
    else {
        log.info('Stopped. Once the cause is repaired, the same command with -resume goes on from here.')
    }
}

// The engine opens its trace before the sheet is read; a refused sheet leaves nothing behind.
def removeEmptyTrace(outdir) {
    def trace = outdir ? file("${outdir}/pipeline_info/trace.txt", glob: false) : null
    if (trace && trace.exists() && trace.readLines().size() < 2) {
        trace.delete()
        [trace.parent, trace.parent.parent].each { folder ->
            if (!folder.list()) {
                folder.delete()
            }
        }
    }
}
