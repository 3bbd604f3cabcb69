/*
 * Which matrices the transfers need, once the kind of every sample is known: fragments, peaks, genes or gene_activity.
 * Plain functions on plain data.
 */

// Whether a sample's gene activity is wanted by a transfer.
def crossesToGenes(sample, plan, options) {
    return plan.transfers.any { transfer ->
        def within = transfer.reference_modality == 'atac' && transfer.query_modality == 'atac'
        def across = transfer.reference_modality == 'rna' && transfer.query_modality == 'atac'
        (across && sample in transfer.queries) ||
            (within && options.features == 'gene_activity' && sample in transfer.queries + transfer.references)
    }
}

// What CHECK_SETTINGS and CHECK_INPUTS found, and samples that do not fit each other, as mistakes of parameters and the sheet.
def mistakesOf(checks, settings, plan, options) {
    def sheet = options.input.name
    def shared = settings.problems.collect { problem ->
        problem.bundle == null ? problem : problem + [where: "parameter --model: bundle ${bundlesOf(plan)[problem.bundle]}".toString()]
    }
    def found = shared + checks.collectMany { check ->
        check.problems.collect { problem ->
            def line = "${sheet}, line ${plan.samples.find { sample -> sample.id == check.sample }.rows[problem.row].line}"
            [where: problem.where ? "${line}: ${problem.where}" : line, what: problem.what, remedy: problem.remedy]
        }
    }
    if (found) {
        return found.unique()
    }
    def kinds = checks.collectEntries { check -> [(check.sample): check.kind] }
    def apart = speciesMistakes(checks, settings, plan, sheet) + namingMistakes(checks, settings, plan, sheet) +
        labelMistakes(checks, plan, sheet)
    return (apart + plan.transfers.collectMany { transfer ->
        def wanted = featuresOf(transfer, kinds, plan, options)
        (transfer.references + transfer.queries).findAll { sample -> !canGive(kinds[sample], wanted[sample in transfer.queries ? 'query' : 'reference']) }
            .collect { sample ->
                def kind = wanted[sample in transfer.queries ? 'query' : 'reference']
                [
                    where: "${sheet}, sample ${sample}",
                    what: "group `${transfer.group}` compares ${kind}, and sample `${sample}` is a matrix of ${kinds[sample]}",
                    remedy: "give its fragments or a matrix of ${kind}, or choose --features"
                ]
            }
    }).unique()
}

// The bundles of the transfers, as CHECK_SETTINGS reads them: it tells one by its place in this list.
def bundlesOf(plan) {
    return plan.transfers.findAll { transfer -> transfer.bundle }.collect { transfer -> transfer.bundle }.unique().sort()
}

// The scenarios that the transfers to be trained may have.
def scenariosOf(plan, options) {
    def across = options.scenario in ['matched', 'unmatched'] ? [options.scenario] : ['matched', 'unmatched']
    return plan.transfers.findAll { transfer -> !transfer.bundle }
        .collectMany { transfer -> transfer.reference_modality == transfer.query_modality ? [transfer.query_modality] : across }
        .unique()
        .sort()
}

// What has a name of its own in a message: the samples of a transfer, then the files and parameters that all share.
def sourcesOf(transfer, checks, settings, key) {
    def named = [annotation: '--annotation', genome: '--genome or --chrom_sizes', blacklist: '--blacklist']
    def found = checks.collectEntries { check -> [(check.sample): check[key]] }
    def samples = (transfer.references + transfer.queries).collect { id -> [name: "sample `${id}`".toString(), value: found[id]] }
    def shared = named.collect { source, name -> [name: name, value: settings[key][source]] }
    return (samples + shared).findAll { one -> one.value }
}

def speciesMistakes(checks, settings, plan, sheet) {
    return plan.transfers.collectMany { transfer ->
        def sources = sourcesOf(transfer, checks, settings, 'species')
        def odd = sources.find { one -> one.value != sources[0].value }
        odd
            ? [[
                where: "${sheet}, group ${transfer.group}",
                what: "two species: ${sources[0].name} is of ${sources[0].value}, ${odd.name} of ${odd.value}",
                remedy: 'give data, genes and genome of one species; where names were translated, give all under the names of one'
            ]]
            : []
    }
}

// Names of chromosomes with `chr` in one source and without it in another have nothing in common.
def namingMistakes(checks, settings, plan, sheet) {
    return plan.transfers.collectMany { transfer ->
        def sources = sourcesOf(transfer, checks, settings, 'chromosomes')
        def first = sources.find { one -> sources.any { other -> otherwiseNamed(one.value, other.value) } }
        def pair = first ? [first, sources.find { other -> otherwiseNamed(first.value, other.value) }] : []
        pair
            ? [[
                where: "${sheet}, group ${transfer.group}",
                what: "chromosomes are named in two ways: ${pair.collect { one -> "${one.name} has ${one.value[0]}" }.join(', ')}",
                remedy: 'give files of one genome that name chromosomes alike, all with `chr` or all without'
            ]]
            : []
    }
}

def otherwiseNamed(names, others) {
    def turned = names.collect { name -> name.startsWith('chr') ? name.substring(3) : "chr${name}".toString() }
    return !names.any { name -> name in others } && turned.any { name -> name in others }
}

// A model tells types apart, so its references have two or more.
def labelMistakes(checks, plan, sheet) {
    return plan.transfers.findAll { transfer -> !transfer.bundle }.collectMany { transfer ->
        def types = checks.findAll { check -> check.sample in transfer.references }.collectMany { check -> check.types }.unique()
        types.size() == 1
            ? [[
                where: "${sheet}, group ${transfer.group}",
                what: "the reference has one label only: `${types[0]}`",
                remedy: 'give a reference of two types or more'
            ]]
            : []
    }
}

def canGive(kind, wanted) {
    return kind == 'fragments' ? wanted != 'genes' : kind == wanted || (kind == 'peaks' && wanted == 'gene_activity')
}

// The features of both sides of a transfer, and what else of the query gives the neighbours.
def featuresOf(transfer, kinds, plan, options) {
    if (transfer.query_modality == 'rna') {
        return [reference: 'genes', query: 'genes', graph: null]
    }
    def bundle = bundleOf(transfer)
    def across = bundle ? bundle.reference_modality == 'rna' : transfer.reference_modality == 'rna'
    def peaks = peakSourceOf(transfer, kinds, plan, options)
    if (across) {
        // A bundle of the network alone asks for no neighbours.
        def alone = bundle && (bundle.network_share ?: 1) == 1
        return [reference: 'genes', query: 'gene_activity', graph: alone ? null : peaks ? 'peaks' : 'windows', recipe: bundle?.recipe]
    }
    def ready = (transfer.references + transfer.queries).any { sample -> kinds[sample] == 'gene_activity' }
    def chosen = bundle
        ? bundle.recipe.kind
        : options.features != 'auto' ? options.features : ready ? 'gene_activity' : peaks ? 'peaks' : 'windows'
    return [reference: chosen, query: chosen, graph: null, recipe: bundle?.recipe]
}

// What a transfer's ready bundle says of itself, null where there is none.
def bundleOf(transfer) {
    return transfer.bundle ? new groovy.json.JsonSlurper().parseText(transfer.bundle.resolve('bundle.json').getText('UTF-8')) : null
}

// How fragments are counted: as a bundle's features were, else as the parameters say. Nothing but our own words and numbers, whatever a bundle holds.
def countingOf(kind, recipe, options) {
    def given = recipe?.counting ? [gene_model: 'body'] + recipe : options
    def size = recipe?.window_size instanceof Integer ? recipe.window_size : options.window_size
    def model = ['body', 'archr'].find { one -> one == given.gene_model }
    def usual = kind == 'gene_activity' ? 'fragment' : 'paired-insertion'
    // A window has no use for the fragments that pass over it.
    def strategies = kind == 'windows' ? ['paired-insertion', 'insertion'] : ['paired-insertion', 'insertion', 'fragment']
    def strategy = strategies.find { one -> one == given.counting } ?: usual
    return [
        window_size: kind == 'windows' ? size : null,
        gene_model: kind == 'gene_activity' ? model : null,
        counting: kind == 'gene_activity' && model == 'archr' ? 'insertion' : strategy
    ]
}

/*
 * The one peak set of a group, and where it comes from: the bundle's, a reference matrix's, the BED given, a query matrix's,
 * else a consensus of calls from its samples of fragments, where peaks can be called.
 */
def peakSourceOf(transfer, kinds, plan, options) {
    def bundle = bundleOf(transfer)
    def group = plan.groups.find { one -> one.id == transfer.group }
    def members = group.references + group.queries
    def peaksOf = { samples -> samples.find { sample -> kinds[sample] == 'peaks' } }
    def bed = plan.samples.findAll { sample -> sample.id in members }.collectMany { sample -> sample.rows }.find { row -> row.peaks }
    def reference = peaksOf.call(group.references)
    def query = peaksOf.call(group.queries)
    def called = options.can_call_peaks ? members.findAll { sample -> kinds[sample] == 'fragments' } : []
    def sources = [
        bundle && bundle.reference_modality != 'rna' ? [source: 'bundle', file: transfer.bundle.resolve('features.csv')] : null,
        reference ? [source: 'reference', sample: reference] : null,
        bed ? [source: 'given', file: bed.peaks] : null,
        query ? [source: 'query', sample: query] : null,
        called ? [source: 'called', called: called.sort(false), group: group.id] : null
    ]
    return sources.find { source -> source }
}

/*
 * The matrices of a transfer: for each its key [sample, kind, set], the part it plays and its position there, and how it is
 * made where it is not there already: from fragments (with `count` and `peaks`), or from peaks.
 */
def needsOf(transfer, kinds, plan, options) {
    def features = featuresOf(transfer, kinds, plan, options)
    def peaks = peakSourceOf(transfer, kinds, plan, options)
    def single = plan.groups.size() == 1
    def rows = [reference: transfer.references, query: transfer.queries, graph: transfer.queries].collectMany { part, samples ->
        samples.withIndex().collect { sample, position -> [part: part, sample: sample, position: position] }
    }
    def needs = rows.collect { row ->
        // A matrix of gene activity has no peaks: its neighbours come from the features.
        def graph = kinds[row.sample] == 'fragments' ? features.graph : kinds[row.sample] == 'peaks' ? 'peaks' : null
        def kind = row.part != 'graph' ? features[row.part] : features.graph ? graph : null
        def counted = kinds[row.sample] == 'fragments'
        // What gives the neighbours is counted as parameters say: a bundle's recipe is that of its features.
        def counting = countingOf(kind, row.part == 'graph' ? null : features.recipe, options)
        def usual = counting + [window_size: null] == countingOf(kind, null, options) + [window_size: null]
        def set = counted ? [kind == 'peaks' ? transfer.group : '', counting].join(' ') : ''
        def beside = plan.samples.find { one -> one.id == row.sample }.rows.any { one -> one.gene_activity }
        def named = kind == 'windows' ? "windows_${counting.window_size}" : kind == 'peaks' && !single ? "peaks_${transfer.group}" : kind
        def name = usual ? named : [named, counting.gene_model, counting.counting].findAll { part -> part }.join('_')
        [
            key: [row.sample, kind, set],
            transfer: transfer.id,
            part: row.part,
            position: row.position,
            made_from: counted ? 'fragments' : kind == 'gene_activity' && kinds[row.sample] == 'peaks' && !beside ? 'peaks' : null,
            count: counted ? [kind: kind, set: set, name: "${name}".toString()] + counting : null,
            peaks: kind == 'peaks' && peaks ? peaks : [:],
            peak_source: kind != 'peaks' ? null : counted || transfer.bundle ? peaks.source : row.part == 'reference' ? 'reference' : 'query',
            without_peaks: kind == 'windows' && options.features != 'windows' && !transfer.bundle
        ]
    }.findAll { need -> need.key[1] }
    // Whether proteins are used, PAIR decides, and says why where they are not.
    def measured = (transfer.references + transfer.queries).findAll { sample -> sample in (options.proteins ?: []) }
    def proteins = measured.withIndex().collect { sample, position ->
        [key: [sample, 'proteins', ''], transfer: transfer.id, part: 'proteins', position: position, peaks: [:]]
    }
    def all = needs + proteins
    return all.collect { need -> need + [parts: all.size()] }
}

// Whether peaks will be called, as far as the sheet tells: a matrix of ATAC is taken as one of peaks.
def callsPeaks(plan, options) {
    def kinds = plan.samples.collectEntries { sample ->
        [(sample.id): sample.rows.any { row -> row.fragments } ? 'fragments' : sample.modality == 'rna' ? 'genes' : 'peaks']
    }
    return plan.transfers.any { transfer -> needsOf(transfer, kinds, plan, options).any { need -> need.peaks.called } }
}
