/*
 * The parameters and the sample sheet, checked against the two schemas before anything runs.
 * Plain functions on plain data; a mistake is [where:, what:, remedy:], and all of them are told at once.
 */

def readSchema(path) {
    return new groovy.json.JsonSlurper().parseText(file(path).getText('UTF-8'))
}

def parametersOf(schema) {
    return schema['$defs'].values().inject([:]) { all, group -> all + group.properties }
}

def helpText(schema) {
    def parameters = parametersOf(schema)
    def width = parameters.keySet().collect { name -> name.size() }.max() + 4
    def groups = schema['$defs'].values().collect { group ->
        def lines = group.properties.collect { name, rule ->
            def required = name in (group.required ?: [])
            def value = required ? ' [required]' : rule.containsKey('default') ? " [default: ${rule['default']}]" : ''
            def choice = rule['enum'] ? " (${rule['enum'].join(', ')})" : ''
            "  ${"--${name}".padRight(width)}${rule.description}${choice}${value}"
        }
        "${group.title}: ${group.description}\n${lines.join('\n')}"
    }
    return "${schema.description}.\n\n${groups.join('\n\n')}\n"
}

def mistakesText(mistakes) {
    def sorted = mistakes.sort(false) { one -> (one.where.find(/(?<=, lines? )\d+/) ?: '0').toInteger() }
    def texts = sorted.collect { one -> "ERROR: ${one.what}\n  where:  ${one.where}\n  remedy: ${one.remedy}" }
    def count = mistakes.size() == 1 ? '1 mistake' : "${mistakes.size()} mistakes"
    def within = mistakes.any { one -> one.site } ? '' : ' in the input'
    return "${texts.join('\n\n')}\n\n${count}${within}: nothing was run"
}

/*
 * The options: every parameter of the schema, with its type and its default.
 * The command line may hand over text, numbers or booleans, depending on the engine.
 */
def resolveOptions(given, schema) {
    def parameters = parametersOf(schema)
    def required = schema['$defs'].values().collectMany { group -> group.required ?: [] }
    def unknown = given.keySet().findAll { name -> !parameters.containsKey(name) }.collect { name ->
        def near = nearest(name, parameters.keySet())
        mistake(
            "parameter --${name}",
            'there is no such parameter',
            near ? "did you mean --${near}?" : '--help lists the parameters'
        )
    }
    def results = parameters.collectEntries { name, rule ->
        def text = given[name] == null ? '' : given[name].toString().trim()
        def value = text ?: rule['default']
        def lacking = value == null && name in required ? 'is missing' : null
        // A parameter without a value arrives as true.
        def bare = text == 'true' && rule.type != 'boolean' ? 'has no value' : null
        def result = value == null ? [value: null] : resolveValue(value, rule, null)
        [(name): lacking || bare ? [problem: lacking ?: bare, subject: "--${name}"] : result + [subject: "`${text}`"]]
    }
    def wrong = results.findAll { _name, result -> result.problem }.collect { name, result ->
        def remedy = parameters[name].errorMessage ?: "give ${expected(parameters[name])}"
        mistake("parameter --${name}", "${result.subject} ${result.problem}", remedy)
    }
    def options = results.collectEntries { name, result -> [(name): result.value] }
    def both = options.target_error != null && options.unknown_threshold != null
        ? [mistake(
            'parameters --target_error, --unknown_threshold',
            'both are given, and each of them decides which cells are Unknown',
            'give one of them'
        )]
        : []
    def untrained = options.model && options.hyperparameters
        ? [mistake(
            'parameters --model, --hyperparameters',
            'both are given, and with --model nothing is trained',
            'give one of them'
        )]
        : []
    return [options: options, mistakes: unknown + wrong + both + untrained + placeMistakes()]
}

// Tasks are run by shell scripts in these folders.
def placeMistakes() {
    def places = ['work folder': workflow.workDir, 'folder of the launch': workflow.launchDir, 'folder of the pipeline': workflow.projectDir]
    return places.findAll { _name, path -> unfitForShell(path) }.collect { name, path ->
        mistake(
            "${name} `${path}`",
            "the ${name} has a `\$`, a backtick or a line end in its path, which the engine cannot handle",
            name == 'work folder' ? 'give another one with -work-dir' : 'rename it'
        )
    }
}

/*
 * The rows of the sheet: one value a column (a path, text or null), `line`, `given` (the cells as written),
 * and `faulty` (the columns with a mistake, whose value is null).
 */
def readSheet(path, schema) {
    def columns = schema.items.properties
    def table = readTable(path, columns.keySet(), schema.items.required)
    def rows = table.rows.collect { row ->
        def results = columns.collectEntries { name, rule ->
            def text = row.cells[name] ?: ''
            def lacking = text == '' && name in schema.items.required
            def result = text ? resolveValue(text, rule, path.parent) : [value: null]
            [(name): lacking ? [problem: 'is empty'] : result]
        }
        def values = results.collectEntries { name, result -> [(name): result.problem ? null : result.value] }
        def faulty = results.findAll { _name, result -> result.problem }
        def wrong = faulty.collect { name, result ->
            def what = row.cells[name] ? "${name} `${row.cells[name]}` ${result.problem}" : "${name} is empty"
            mistake(place(path, row.line, name), what, columns[name].errorMessage)
        }
        def groups = (row.cells.group ?: 'all').tokenize(';').collect { name -> name.trim() }.unique().sort()
        def names = values + [
            line: row.line,
            given: row.cells + [group: groups.join(';')],
            faulty: faulty.keySet(),
            library: values.library ?: values.sample,
            groups: groups
        ]
        def labels = labelsOf(names, path, columns.labels.errorMessage)
        def odd = labels.mistakes ? ['labels'] : []
        names + [labels: labels.labels, faulty: names.faulty + odd, mistakes: wrong + labels.mistakes]
    }
    def mistakes = rows.collectMany { row -> row.mistakes + rowMistakes(row, rows, path, columns.labels.errorMessage) }
    return [rows: rows, mistakes: table.mistakes + mistakes]
}

/*
 * What is to be done: the samples, the groups, and the transfers (a model and the queries it annotates).
 */
def planOf(rows, options) {
    def sheet = options.input
    def named = rows.findAll { row -> row.sample }
    def bundles = options.model ? readBundles(options.model, named) : [of: [:], mistakes: []]
    def members = named.collectMany { row -> row.groups }.unique().collectEntries { id ->
        [(id): named.findAll { row -> id in row.groups }]
    }
    def mistakes = markerMistakes(options.markers) + bundles.mistakes + sampleMistakes(named, sheet) + sharedFileMistakes(named, sheet) + proteinMistakes(named, sheet) +
        members.collectMany { id, inside -> groupMistakes(id, inside, options) }
    def groups = members.collect { id, inside -> groupOf(id, inside, bundles.of[id]) }
    def ends = ['references', 'queries', 'reference_modality', 'query_modality', 'bundle']
    def transfers = options.train_queries == 'apart' && !options.model
        ? groups.collectMany { group ->
            group.queries.collect { query ->
                [id: "${group.id}.${query}".toString(), group: group.id] + group.subMap(ends) + [queries: [query]]
            }
        }
        : groups.collect { group -> [id: group.id, group: group.id] + group.subMap(ends) }
    def twice = transfers.countBy { transfer -> transfer.id }.findAll { _id, count -> count > 1 }.collect { id, _count ->
        mistake(sheet.name, "two transfers (group and query) get the name `${id}`", 'name one of the groups without a `.`')
    }
    def samples = named.groupBy { row -> row.sample }.collect { id, own -> sampleOf(id, own) }
    return [plan: [samples: samples, groups: groups, transfers: transfers], mistakes: mistakes + twice]
}

def sampleOf(id, rows) {
    def columns = ['line', 'library', 'fragments', 'matrix', 'gene_activity', 'proteins', 'peaks', 'barcodes']
    return [
        id: id,
        modality: rows[0].modality,
        roles: rows.collect { row -> row.role }.unique(),
        labels: rows[0].labels,
        batch: rows[0].batch,
        rows: rows.unique(false) { row -> fileOf(row) }.collect { row ->
            columns.collectEntries { name -> [(name): row[name]] }
        }
    ]
}

def groupOf(id, rows, bundle) {
    def references = rows.findAll { row -> row.role == 'reference' }
    def queries = rows.findAll { row -> row.role == 'query' }
    return [
        id: id,
        references: references.collect { row -> row.sample }.unique(),
        queries: queries.collect { row -> row.sample }.unique(),
        reference_modality: references ? references[0].modality : null,
        query_modality: queries ? queries[0].modality : null,
        bundle: bundle
    ]
}

/*
 * What must hold within a row.
 */
def rowMistakes(given, rows, sheet, labelling) {
    def labelled = rows.find { other -> other.role == 'query' && other.given.labels && other.groups.any { id -> id in given.groups } }
    def row = given + [swapped: labelled ? "; the query on line ${labelled.line} has labels: are the two roles swapped?" : '']
    def written = row.given.findAll { _name, text -> text }
    def sources = ['fragments', 'matrix'].findAll { name -> written[name] }
    def checks = [
        [sources.size() == 0 && !written.proteins, 'fragments', 'the row has no file', 'give either fragments or a matrix'],
        [
            sources.size() == 0 && written.proteins,
            'proteins',
            'proteins are given without fragments or a matrix',
            'give the fragments or the matrix of the same cells beside them'
        ],
        [sources.size() == 2, 'matrix', 'the row has both fragments and a matrix', 'give one of them'],
        [
            written.fragments && row.modality == 'rna',
            'fragments',
            'fragments are given for RNA',
            'give the RNA sample as a matrix, or write atac as its modality'
        ],
        [
            written.gene_activity && (row.modality == 'rna' || (written.fragments && !written.matrix)),
            'gene_activity',
            'gene_activity is given without an ATAC matrix',
            'leave gene_activity empty: it goes beside the peak matrix of an ATAC sample'
        ],
        [
            written.peaks && row.modality == 'rna',
            'peaks',
            'peaks are given for RNA',
            'leave peaks empty: they go with ATAC samples'
        ],
        [row.role == 'reference' && !written.labels, 'labels', 'a reference without labels', labelling + row.swapped]
    ]
    return checks.findAll { check -> check[0] }.collect { check ->
        mistake(place(sheet, row.line, check[1]), check[2], check[3])
    }
}

// Labels are a CSV file or, where the matrix can hold columns, the name of one.
def labelsOf(row, sheet, labelling) {
    def text = row.given.labels
    if (!text) {
        return [labels: null, mistakes: []]
    }
    if ((row.given.matrix ?: '').endsWith('.h5ad') && !(text =~ /\/|\.csv(\.gz)?$/)) {
        return [labels: [column: text], mistakes: []]
    }
    def rule = [format: 'file-path', exists: true, pattern: '\\.csv(\\.gz)?$']
    def result = resolveValue(text, rule, sheet.parent)
    return result.problem
        ? [labels: null, mistakes: [mistake(place(sheet, row.line, 'labels'), "labels `${text}` ${result.problem}", labelling)]]
        : [labels: [file: result.value], mistakes: []]
}

/*
 * What must hold between the rows of a sample.
 */
def sampleMistakes(rows, sheet) {
    return rows.groupBy { row -> row.sample }.collectMany { sample, own ->
        def agreed = ['modality', 'labels', 'batch'].collectMany { name -> disagreements(own, name, sheet) }
        def byRole = own.groupBy { row -> row.role }.findAll { role, _rows -> role }
        def inRole = byRole.values().collectMany { same ->
            repeatedFiles(same, sheet) + disagreements(same, 'group', sheet)
        }
        def files = byRole.values().collect { same -> same.collect { row -> fileOf(row) }.toSet() }
        def differ = files.size() == 2 && files[0] != files[1]
        def roles = differ
            ? [mistake(
                "${sheet.name}, lines ${own.collect { row -> row.line }.join(', ')}",
                "sample `${sample}` is reference and query with different files",
                'give it the same files in both roles, or two names'
            )]
            : []
        agreed + inRole + mixedKinds(own, sheet) + roles
    }
}

def disagreements(rows, name, sheet) {
    def sound = rows.findAll { row -> !(name in row.faulty) }
    def first = sound ? sound[0] : null
    return sound.findAll { row -> (row.given[name] ?: '') != (first.given[name] ?: '') }.collect { row ->
        def texts = [row, first].collect { one -> "`${one.given[name] ?: ''}`" }
        mistake(
            place(sheet, row.line, name),
            "sample `${row.sample}` has ${name} ${texts[0]} here and ${texts[1]} on line ${first.line}",
            "write the same ${name} in every row of a sample, or give the samples two names"
        )
    }
}

def mixedKinds(rows, sheet) {
    def kinds = rows.groupBy { row -> row.fragments ? 'fragments' : row.matrix ? 'matrix' : null }
    if (!kinds.fragments || !kinds.matrix) {
        return []
    }
    def later = kinds.fragments[0].line > kinds.matrix[0].line ? 'fragments' : 'matrix'
    def earlier = later == 'matrix' ? 'fragments' : 'matrix'
    return [mistake(
        place(sheet, kinds[later][0].line, later),
        "sample `${rows[0].sample}` has ${later} here and ${earlier} on line ${kinds[earlier][0].line}",
        'give all files of a sample as fragments or all as matrices'
    )]
}

// Rows of one sample in one role: fragments may be lanes of a library, matrices may not, and no file comes twice.
def repeatedFiles(rows, sheet) {
    return rows.collectMany { row ->
        def earlier = rows.findAll { other -> other.line < row.line }
        def same = earlier.find { other -> sourceOf(other) && sourceOf(other) == sourceOf(row) }
        def beside = earlier.find { other -> row.matrix && other.matrix && other.library == row.library }
        def column = row.matrix ? 'matrix' : 'fragments'
        if (same) {
            return [mistake(
                place(sheet, row.line, column),
                "duplicate: sample `${row.sample}` has this file on line ${same.line} too",
                'remove one of the two rows; several groups go into one row, separated by `;`'
            )]
        }
        return beside
            ? [mistake(
                place(sheet, row.line, 'library'),
                "sample `${row.sample}` has another matrix of library `${row.library}` on line ${beside.line}",
                'give each matrix of a sample a library of its own'
            )]
            : []
    }
}

// The same file in two samples would make each of its cells two cells.
def sharedFileMistakes(rows, sheet) {
    return rows.groupBy { row -> sourceOf(row) }.findAll { source, _rows -> source }.values().collectMany { same ->
        same.collectMany { row ->
            def other = same.find { one -> one.line < row.line && one.sample != row.sample && !haveOwnBarcodes(one, row) }
            other
                ? [mistake(
                    place(sheet, row.line, row.matrix ? 'matrix' : 'fragments'),
                    "sample `${row.sample}` has the same file as sample `${other.sample}` on line ${other.line}",
                    'give each sample its own file, or its own barcodes of the shared one'
                )]
                : []
        }
    }
}

// Proteins are counted once: a file stands in one row of a sample, and in one sample of a modality.
def proteinMistakes(rows, sheet) {
    def measured = rows.findAll { row -> row.proteins }
    return measured.groupBy { row -> realPath(row.proteins).toUriString() }.values().collectMany { same ->
        same.collectMany { row ->
            def earlier = same.findAll { one -> one.line < row.line && one.modality == row.modality }
            def other = earlier.find { one ->
                one.sample == row.sample ? one.role == row.role : !haveOwnBarcodes(one, row)
            }
            other
                ? [mistake(
                    place(sheet, row.line, 'proteins'),
                    other.sample == row.sample
                        ? "duplicate: sample `${row.sample}` has these proteins on line ${other.line} too"
                        : "sample `${row.sample}` has the same proteins as sample `${other.sample}` on line ${other.line}",
                    'give a file of proteins in one row of a sample, and each sample its own'
                )]
                : []
        }
    }
}

def haveOwnBarcodes(row, other) {
    return row.barcodes && other.barcodes && realPath(row.barcodes) != realPath(other.barcodes)
}

def sourceOf(row) {
    return row.fragments || row.matrix ? realPath(row.fragments ?: row.matrix).toUriString() : null
}

// A link and what it leads to are one file. Storage of a cloud has no links, and its paths refuse the question.
def realPath(path) {
    return isLocal(path) ? path.toRealPath() : path
}

def fileOf(row) {
    return ['fragments', 'matrix', 'gene_activity', 'proteins', 'peaks', 'barcodes'].collect { name -> "${row[name]}" } + [row.library]
}

/*
 * What must hold within a group. A group with a mistake in what places its rows is not judged further.
 */
def groupMistakes(id, rows, options) {
    def sheet = options.input
    if (rows.any { row -> row.faulty.any { name -> name in ['role', 'modality', 'group'] } }) {
        return []
    }
    def references = rows.findAll { row -> row.role == 'reference' }
    def queries = rows.findAll { row -> row.role == 'query' }
    if (options.model && references) {
        return [mistake(
            place(sheet, references[0].line, 'role'),
            "group `${id}` has a reference, and --model brings one already",
            'leave references out of the sheet, or --model out of the command'
        )]
    }
    if (!queries || !(references || options.model)) {
        def lacking = queries ? 'reference' : 'query'
        return [mistake(
            "${sheet.name}, ${linesOf(rows)}",
            "group `${id}` has no ${lacking}",
            "add a row of role ${lacking} to the group${queries ? ', or give a trained model with --model' : ''}"
        )]
    }
    def mixed = [references, queries].collectMany { side -> mixedModalities(id, side, sheet) }
    def from = references ? references[0].modality : null
    def to = queries[0].modality
    return mixed ?: pairMistakes(id, rows, from, to, sheet) + scenarioMistakes(id, from, to, options) +
        geneMistakes(id, rows, from, to, options) + peakMistakes(id, rows, sheet)
}

def mixedModalities(id, rows, sheet) {
    def odd = rows.find { row -> row.modality != rows[0].modality }
    return odd
        ? [mistake(
            place(sheet, odd.line, 'modality'),
            "group `${id}` has a ${odd.role} of ${odd.modality} here and one of ${rows[0].modality} on line ${rows[0].line}",
            'put them into two groups'
        )]
        : []
}

def pairMistakes(id, rows, from, to, sheet) {
    def unsupported = from == 'atac' && to == 'rna'
        ? [mistake(
            "${sheet.name}, ${linesOf(rows)}",
            "group `${id}` goes from atac to rna, which is not supported",
            'reference and query may be rna and atac, atac and atac, or rna and rna'
        )]
        : []
    def both = rows.groupBy { row -> row.sample }.findAll { _sample, own -> own.collect { row -> row.role }.toSet().size() > 1 }
    return unsupported + both.collect { sample, own ->
        mistake(
            "${sheet.name}, ${linesOf(own)}",
            "sample `${sample}` is reference and query in group `${id}`",
            'a sample cannot annotate itself: give the two rows different groups'
        )
    }
}

def scenarioMistakes(id, from, to, options) {
    def fitting = [matched: ['rna', 'atac'], unmatched: ['rna', 'atac'], atac: ['atac', 'atac'], rna: ['rna', 'rna']]
    def pair = fitting[options.scenario]
    return pair && (from ?: pair[0]) == pair[0] && to == pair[1] || !pair
        ? []
        : [mistake(
            'parameter --scenario',
            "`${options.scenario}` does not fit group `${id}`, which goes ${from ? "from ${from} " : ''}to ${to}",
            'leave --scenario out, or give the one that fits: matched or unmatched (rna to atac), atac, rna'
        )]
}

def geneMistakes(id, rows, from, to, options) {
    def crosses = from == 'rna' && to == 'atac'
    def chosen = from == 'atac' && to == 'atac' && options.features == 'gene_activity'
    def bare = rows.find { row -> row.fragments }
    return (crosses || chosen) && bare && !options.annotation
        ? [mistake(
            place(options.input, bare.line, 'fragments'),
            "group `${id}` needs gene activity from fragments, and there is no --annotation",
            'give the genes with --annotation (GTF, or BED with a gene a line)'
        )]
        : []
}

def peakMistakes(id, rows, sheet) {
    def given = rows.findAll { row -> row.peaks }
    def odd = given.find { row -> realPath(row.peaks) != realPath(given[0].peaks) }
    return odd
        ? [mistake(
            place(sheet, odd.line, 'peaks'),
            "group `${id}` has other peaks here than on line ${given[0].line}",
            'a group has one peak set: give the same BED file, or two groups'
        )]
        : []
}

/*
 * The bundle of each group: the folder given, or what the CSV says.
 */
def readBundles(model, rows) {
    def ids = rows.collectMany { row -> row.groups }.unique()
    if (model.isDirectory()) {
        def mistakes = bundleMistakes(model, 'parameter --model')
        return [of: ids.collectEntries { id -> [(id): model] }, mistakes: mistakes]
    }
    def table = readTable(model, ['group', 'bundle'], ['group', 'bundle'])
    def results = table.rows.collect { row ->
        def where = place(model, row.line, 'bundle')
        def result = resolveValue(row.cells.bundle, [format: 'directory-path', exists: true], model.parent)
        def remedy = 'give the folder of a bundle (it holds bundle.json)'
        def mistakes = result.problem
            ? [mistake(where, "bundle `${row.cells.bundle}` ${result.problem}", remedy)]
            : bundleMistakes(result.value, where)
        def twice = table.rows.find { other -> other.line < row.line && other.cells.group == row.cells.group }
        def again = "group `${row.cells.group}` is on line ${twice ? twice.line : null} too"
        def repeated = twice ? [mistake(place(model, row.line, 'group'), again, 'remove one of the two rows')] : []
        [group: row.cells.group, bundle: result.value, mistakes: mistakes + repeated]
    }
    def lacking = ids.findAll { id -> table.rows && !(id in results.collect { one -> one.group }) }.collect { id ->
        mistake(model.name, "group `${id}` of the sample sheet has no bundle", "add a row for `${id}`")
    }
    return [
        of: results.collectEntries { one -> [(one.group): one.bundle] },
        mistakes: table.mistakes + results.collectMany { one -> one.mistakes } + lacking
    ]
}

// What can be told of a bundle before anything runs; its checksums are compared when it is read.
def bundleMistakes(folder, where) {
    if (!folder.resolve('bundle.json').exists()) {
        return [mistake(where, "`${folder}` holds no bundle.json", 'give the folder of a bundle, such as results/groups/all/model')]
    }
    def lacking = ['weights.safetensors', 'features.csv', 'training_log.csv'].findAll { name -> !folder.resolve(name).exists() }
    def info = null
    if (folder.resolve('bundle.json').size() > 16000000) {
        return [mistake(where, "bundle.json of `${folder}` is larger than 16 MB", 'give the folder of a bundle, such as results/groups/all/model')]
    }
    try {
        info = new groovy.json.JsonSlurper().parseText(new String(folder.resolve('bundle.json').bytes, 'UTF-8'))
    }
    catch (groovy.json.JsonException _error) {
        lacking = lacking + ['bundle.json']
    }
    // The kind of the features becomes part of a command: it is one of our own words, or the bundle is none of ours.
    def kind = info instanceof Map && info.recipe instanceof Map ? info.recipe.kind : null
    return lacking || !(kind in ['genes', 'peaks', 'windows', 'gene_activity'])
        ? [mistake(where, "the bundle `${folder}` is damaged: ${(lacking ?: ['bundle.json']).join(', ')}", 'copy the bundle again')]
        : []
}

// The list of markers as EXPLAIN will read it: its first mistake, as one may stand in every line of it.
def markerMistakes(path) {
    def columns = ['cell_type', 'gene']
    def table = path ? readTable(path, columns, columns) : [rows: [], mistakes: []]
    def lacking = table.rows.collectMany { row ->
        columns.findAll { name -> !row.cells[name] }.collect { name ->
            mistake(place(path, row.line, name), "${name} is empty", 'write a cell type and one gene in every row')
        }
    }
    return (table.mistakes + lacking).take(1)
}

/*
 * A CSV file as rows of [line:, cells: [column: text]]. Takes CRLF, a byte-order mark, blank lines and quotes.
 */
def readTable(path, columns, required) {
    def text = path.size() > 16000000 ? null : new String(path.bytes, 'UTF-8').replaceFirst('^\uFEFF', '')
    if (text == null || text =~ /[\u0000\uFFFD]/) {
        def what = text == null ? 'the table is larger than 16 MB' : 'the table is no UTF-8 text'
        return [rows: [], mistakes: [mistake(path.name, what, "give a CSV file in UTF-8 with the columns ${columns.join(', ')}")]]
    }
    def lines = text.split(/\r\n|\n|\r/, -1).toList().withIndex(1).findAll { one -> one[0].replace(',', '').trim() }
    def endless = lines.find { one -> one[0].size() > 8000 }
    if (endless) {
        def remedy = 'give a CSV file with a line end after every row'
        return [rows: [], mistakes: [mistake(place(path, endless[1], null), 'a line of more than 8,000 characters', remedy)]]
    }
    if (lines.size() < 2) {
        def what = lines ? 'the sheet has a header and no row' : 'the sheet is empty'
        def remedy = "write a header line (${columns.join(',')}) and a row for each file"
        return [rows: [], mistakes: [mistake(path.name, what, remedy)]]
    }
    def header = cellsOf(lines[0][0]) ?: []
    def separator = header.size() == 1 ? header[0].find(/[;\t]/) : null
    if (separator) {
        def name = separator == ';' ? 'semicolons' : 'tabs'
        def where = place(path, lines[0][1], null)
        return [rows: [], mistakes: [mistake(where, "columns are separated by ${name}", 'separate them by commas')]]
    }
    def named = headerOf(header, columns)
    def wrong = headerMistakes(named, columns, required, "${path.name}, line ${lines[0][1]}")
    def rows = lines.tail().collect { one ->
        def cells = cellsOf(one[0])
        def extra = cells ? cells.drop(header.size()).any { cell -> cell } : false
        def where = place(path, one[1], null)
        def unquoted = 'a quote is not closed, or stands inside a cell'
        def uneven = cells ? "the row has ${cells.size()} cells, the header ${header.size()}" : null
        def odd = cells == null
            ? [mistake(where, unquoted, 'quote whole cells, within one line, as in "a, b"')]
            : extra || cells.size() < header.size() ? [mistake(where, uneven, 'write one cell a column, empty ones too')] : []
        def pairs = odd ? [:] : [named.collect { column -> column.name }, cells].transpose().collectEntries { pair -> pair }
        [line: one[1], cells: pairs, mistakes: odd]
    }
    def lacking = required.any { name -> !(name in named.collect { column -> column.name }) }
    return [
        rows: lacking ? [] : rows.findAll { row -> !row.mistakes },
        mistakes: wrong + rows.collectMany { row -> row.mistakes }
    ]
}

// A misspelt column is read as the one it resembles, so that it is told once and not in every row.
def headerOf(header, columns) {
    return header.collect { written ->
        def near = written in columns ? null : nearest(written, columns.findAll { name -> !(name in header) })
        [written: written, name: near ?: written, near: near]
    }
}

def headerMistakes(named, columns, required, where) {
    def unknown = named.findAll { column -> !(column.written in columns) }.collect { column ->
        mistake(
            "${where}, column ${column.written ?: '(no name)'}",
            'there is no such column',
            column.near ? "did you mean ${column.near}?" : "the columns are ${columns.join(', ')}"
        )
    }
    def present = named.collect { column -> column.name }
    def missing = required.findAll { name -> !(name in present) }.collect { name ->
        mistake("${where}, column ${name}", "column ${name} is missing", "add it: the sheet needs ${required.join(', ')}")
    }
    def twice = present.countBy { name -> name }.findAll { _name, count -> count > 1 }.collect { name, _count ->
        mistake("${where}, column ${name}", "column ${name} comes twice", 'remove one of the two')
    }
    return unknown + missing + twice
}

// The cells of a line; null where its quotes do not fit, or are so many that the pattern's stack would not do.
def cellsOf(line) {
    if (line.count('"') > 1000) {
        return null
    }
    def parts = ",${line}".toString().findAll(/,\s*(?:"(?:[^"]++|"")*"|[^",]*)\s*(?=,|$)/)
    return parts.join('') == ",${line}".toString()
        ? parts.collect { part -> part.substring(1).trim().replaceAll(/^"|"$/, '').replace('""', '"').trim() }
        : null
}

/*
 * A value under a schema's rule: [value:] or [problem:]. `kind` marks a file where a folder is meant, or the reverse.
 */
def resolveValue(given, rule, folder) {
    def text = given.toString().trim()
    if (rule.anyOf) {
        def results = rule.anyOf.collect { one -> resolveValue(given, one, folder) }
        return results.find { result -> !result.problem } ?: results.find { result -> !result.kind } ?: results[0]
    }
    if (rule.type == 'boolean') {
        return text in ['true', 'false'] ? [value: text == 'true'] : [problem: 'is neither true nor false']
    }
    if (rule.type in ['integer', 'number']) {
        return resolveNumber(text, rule)
    }
    if (rule['enum'] && !(text in rule['enum'])) {
        return [problem: "is not one of ${rule['enum'].join(', ')}"]
    }
    if (rule.format) {
        return resolvePath(text, rule, folder)
    }
    return !rule.pattern || text =~ rule.pattern ? [value: text] : [problem: 'is not of the right form']
}

def resolveNumber(text, rule) {
    if (!(text ==~ /[+-]?(\d{1,15}(\.\d{0,15})?|\.\d{1,15})([eE][+-]?\d{1,2})?/)) {
        return [problem: "is not ${rule.type == 'integer' ? 'a whole number' : 'a number'}"]
    }
    def number = text.toBigDecimal()
    if (rule.type == 'integer' && number.stripTrailingZeros().scale() > 0) {
        return [problem: 'is not a whole number']
    }
    def low = rule.minimum != null && number < rule.minimum || rule.exclusiveMinimum != null && number <= rule.exclusiveMinimum
    def high = rule.maximum != null && number > rule.maximum || rule.exclusiveMaximum != null && number >= rule.exclusiveMaximum
    if (low || high) {
        return [problem: "is too ${low ? 'small' : 'large'}"]
    }
    return [value: rule.type == 'integer' ? number.toLong() : number.toDouble()]
}

// A relative path starts at the folder of the launch or, where it leads nowhere, at the folder of the sheet.
def resolvePath(text, rule, folder) {
    try {
        def launch = file(text, glob: false)
        def relative = !(text =~ /^([\/~]|\w+:\/\/)/)
        def beside = folder && relative && !launch.exists() ? folder.resolve(text) : launch
        def path = beside.exists() ? beside : launch
        if (rule.exists && !path.exists()) {
            def link = [beside, launch].any { one -> isLocal(one) && java.nio.file.Files.isSymbolicLink(one) }
            def hint = relative ? ' (a relative path starts at the folder of the launch or of the sheet)' : ''
            return [problem: link ? 'is a link that leads nowhere' : "does not exist${hint}"]
        }
        return pathProblem(path, rule) ?: [value: rule.exists ? path : text]
    }
    catch (Exception e) {
        return [problem: "cannot be opened: ${e.message}"]
    }
}

def pathProblem(path, rule) {
    if (unfitForShell(path)) {
        return [problem: 'has a `$`, a backtick or a line end in its path, which the engine cannot handle: rename it']
    }
    // The name of an image is written into a script as it stands.
    if (rule.bare && !(path.toString() ==~ /[\p{L}\p{N}._\/:@+=~-]+/)) {
        return [problem: 'has other characters than letters, digits and `._/:@+=~-` in its path: container engines do not take it']
    }
    if (path.exists() && path.isDirectory() != (rule.format == 'directory-path')) {
        return [problem: path.isDirectory() ? 'is a folder, not a file' : 'is a file, not a folder', kind: true]
    }
    if (rule.exists && isLocal(path) && !java.nio.file.Files.isReadable(path)) {
        return [problem: 'cannot be read: you have no permission']
    }
    if (rule.exists && (path.isDirectory() ? !path.list() : path.size() == 0)) {
        return [problem: 'is empty']
    }
    return !rule.pattern || path.name =~ rule.pattern ? null : [problem: 'is not a file of the right kind']
}

def isLocal(path) {
    return path.fileSystem == java.nio.file.FileSystems.default
}

// The engine writes paths into a shell script and leaves these characters as they are.
def unfitForShell(path) {
    return path.toString() =~ /[$`\p{Cntrl}]/
}

def expected(rule) {
    def limits = [minimum: 'at least', exclusiveMinimum: 'more than', maximum: 'at most', exclusiveMaximum: 'less than']
    def range = limits.findAll { key, _words -> rule[key] != null }.collect { key, words -> "${words} ${rule[key]}" }.join(' and ')
    def kinds = [boolean: 'true or false', integer: 'a whole number', number: 'a number', string: 'a text']
    def paths = ['file-path': 'the path of a file', 'directory-path': 'the path of a folder']
    def words = rule['enum'] ? "one of ${rule['enum'].join(', ')}" : paths[rule.format] ?: kinds[rule.type]
    return range ? "${words}, ${range}" : words
}

def mistake(where, what, remedy) {
    return [where: where.toString(), what: what, remedy: remedy]
}

def place(path, line, column) {
    return column ? "${path.name}, line ${line}, column ${column}" : "${path.name}, line ${line}"
}

def linesOf(rows) {
    def lines = rows.collect { row -> row.line }.unique()
    return lines.size() == 1 ? "line ${lines[0]}" : "lines ${lines.join(', ')}"
}

// The known name that a misspelt one resembles, if any.
def nearest(word, names) {
    def best = names.min { name -> distance(plain(word), plain(name)) }
    return best && distance(plain(word), plain(best)) <= [1, word.size().intdiv(3)].max() ? best : null
}

def plain(name) {
    return name.toString().toLowerCase().replaceAll(/[^a-z0-9]/, '')
}

// Levenshtein's distance, a row of its table at a time.
def distance(word, other) {
    def first = (0..other.size()).toList()
    def table = word.toList().inject(first) { above, letter ->
        other.toList().withIndex().inject([above[0] + 1]) { row, pair ->
            def (character, i) = pair
            row + [[row.last() + 1, above[i + 1] + 1, above[i] + (character == letter ? 0 : 1)].min()]
        }
    }
    return table.last()
}
