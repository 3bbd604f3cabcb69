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
include { diskMistakes ; imageMistakes ; imagesOf ; imageText ; machineMistakes ; needOf ; needText } from './subworkflows/local/check_site'
include { callsPeaks       } from './subworkflows/local/plan_matrices'

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
        def found = checked.mistakes + sheet.mistakes + result.mistakes
        def images = imagesOf(options, !found && callsPeaks(result.plan, options + [can_call_peaks: options.call_peaks == 'auto']))
        def need = found ? null : needOf(result.plan, options)
        def mistakes = found + imageMistakes(images, options) + machineMistakes(result.plan, options) + (need ? diskMistakes(need, options) : [])
        if (mistakes) {
            removeEmptyTrace(options.outdir)
            error(mistakesText(mistakes))
        }
        log.info(planText(result.plan))
        log.info(needText(need))
        takeAwaySums(options.outdir)
        CELLPREDX(result.plan + [images: images], options)
        workflow.onComplete {
            conclude(options.outdir, result.plan, images)
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

def conclude(outdir, plan, images) {
    if (workflow.success) {
        writeSums(outdir, plan)
        log.info("The report: ${outdir}/multiqc/multiqc_report.html")
    }
    else {
        def stopped = 'Stopped. Once the cause is repaired, the same command with -resume goes on from here.'
        log.info([imageText(images), stopped].findAll { text -> text }.join('\n'))
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
