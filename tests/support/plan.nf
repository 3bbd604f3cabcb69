/*
 * Plans of matrices for cases that a test writes: `--cases` is a JSON list of plan, kinds and options. Prints the needs of
 * each as JSON.
 */

include { needsOf } from '../../subworkflows/local/plan_matrices'

workflow {
    main:
    def cases = new groovy.json.JsonSlurper().parseText(file(params.cases).text)
    def needs = cases.collect { one ->
        def placed = { item -> item + [bundle: item.bundle ? file(item.bundle) : null] }
        def plan = one.plan + [groups: one.plan.groups.collect(placed), transfers: one.plan.transfers.collect(placed)]
        plan.transfers.collectMany { transfer -> needsOf(transfer, one.kinds, plan, one.options) }
    }
    println("NEEDS ${groovy.json.JsonOutput.toJson(needs.collect { list -> list.collect { need -> shown(need) } })}")
}

def shown(need) {
    def peaks = need.peaks.file ? need.peaks + [file: need.peaks.file.toString()] : need.peaks
    return need.subMap(['key', 'transfer', 'part', 'made_from', 'peak_source', 'without_peaks']) + [peaks: peaks]
}
