include { ANNOTATE         } from '../modules/local/annotate'
include { BASELINES        } from '../modules/local/baselines'
include { CALL_PEAKS       } from '../modules/local/call_peaks'
include { CHECK_INPUTS     } from '../modules/local/check_inputs'
include { CHECK_SETTINGS   } from '../modules/local/check_settings'
include { COUNT_FEATURES   } from '../modules/local/count_features'
include { EMBED            } from '../modules/local/embed'
include { EVALUATE         } from '../modules/local/evaluate'
include { EXPLAIN          } from '../modules/local/explain'
include { FIGURES          } from '../modules/local/figures'
include { FIT_QUERY        } from '../modules/local/fit_query'
include { GENE_ACTIVITY    } from '../modules/local/gene_activity'
include { INGEST_FRAGMENTS } from '../modules/local/ingest_fragments'
include { LABELS           } from '../modules/local/labels'
include { MERGE_PEAKS      } from '../modules/local/merge_peaks'
include { MULTIQC          } from '../modules/local/multiqc'
include { PAIR             } from '../modules/local/pair'
include { PREDICT          } from '../modules/local/predict'
include { PREFLIGHT        } from '../modules/local/preflight'
include { PREFLIGHT_TRAINING } from '../modules/local/preflight_training'
include { PROTEINS         } from '../modules/local/proteins'
include { REFERENCE_MARKERS } from '../modules/local/reference_markers'
include { REPORT           } from '../modules/local/report'
include { RETRAIN          } from '../modules/local/retrain'
include { STANDARDISE      } from '../modules/local/standardise'
include { TRAIN            } from '../modules/local/train'
include { bundlesOf ; crossesToGenes ; mistakesOf ; needsOf ; scenariosOf } from '../subworkflows/local/plan_matrices'
include { mistakesText     } from '../subworkflows/local/check_sheet'
include { engineVersion ; gpuText ; inImages ; preflightMistakes ; preflightsOf ; siteOf ; siteText } from '../subworkflows/local/check_site'

workflow CELLPREDX {
    take:
    plan    // map: samples, groups and transfers, as check_sheet plans them, and the images that are needed
    options // map: every parameter of the schema, resolved

    main:
    def annotation = options.annotation ?: []
    def chrom_sizes = options.chrom_sizes ?: []
    def label_map = options.label_map ?: []
    def blacklist = options.blacklist ?: []
    def wishes = options + [can_call_peaks: canCallPeaks(options)]

    // What all samples share and the headers of every sample are read, and the images and a GPU looked at, before
    // anything else runs.
    CHECK_SETTINGS(
        annotation,
        chrom_sizes,
        blacklist,
        label_map,
        bundlesOf(plan),
        options.subMap(['genome', 'preset', 'hyperparameters']) + [scenarios: scenariosOf(plan, options)]
    )
    CHECK_INPUTS(
        channel.fromList(plan.samples.collect { sample -> checkInput(sample, plan, options) }),
        chrom_sizes,
        label_map,
        options.subMap(['genome']) + [has_annotation: options.annotation != null]
    )
    def looks = preflightsOf(plan.images)
    def training = 'torch' in plan.images ? [options.device] : []
    PREFLIGHT(channel.fromList(looks))
    PREFLIGHT_TRAINING(channel.fromList(training))
    // Where a task fails, the lists end early: then the engine tells why.
    ch_preflight = PREFLIGHT.out.json
        .mix(PREFLIGHT_TRAINING.out.json)
        .map { images, container, json -> [images, container, readJson(json)] }
        .toList()
        .filter { reports -> reports.size() == looks.size() + training.size() }
    ch_preflight
        .map { reports -> groovy.json.JsonOutput.prettyPrint(groovy.json.JsonOutput.toJson(siteOf(reports))) + '\n' }
        .collectFile(name: 'preflight.json', storeDir: "${options.outdir}/pipeline_info")
    ch_found = CHECK_INPUTS.out.json
        .map { _meta, json -> readJson(json) }
        .toList()
        .filter { checks -> checks.size() == plan.samples.size() }
        .map { checks -> [checks] }
        .combine(CHECK_SETTINGS.out.json)
        .combine(ch_preflight.map { reports -> [reports] })
        .map { checks, json, reports ->
            def settings = readJson(json)
            def mistakes = preflightMistakes(reports) + mistakesOf(checks, settings, plan, wishes)
            if (mistakes) {
                error(mistakesText(mistakes))
            }
            log.info(siteText(reports))
            takenAsActivity(checks, plan).each { text -> log.warn(text) }
            [
                kinds: checks.collectEntries { check -> [(check.sample): check.kind] },
                proteins: checks.findAll { check -> check.proteins }.collect { check -> check.sample }.sort()
            ]
        }
    ch_checked = ch_found
        .flatMap { found ->
            plan.samples.collect { sample -> [[id: sample.id, kind: found.kinds[sample.id], proteins: sample.id in found.proteins], sample] }
        }
        .branch { meta, _sample ->
            fragments: meta.kind == 'fragments'
            matrix: true
        }

    // Labels travel apart from the data from here on.
    def labelled = plan.samples.findAll { sample -> sample.labels }.collect { sample -> sample.id }
    LABELS(
        ch_checked.fragments
            .mix(ch_checked.matrix)
            .filter { meta, _sample -> meta.id in labelled }
            .map { meta, sample -> [[id: meta.id]] + sampleInput(sample, sample.labels.file ? [] : ['matrix', 'barcodes'], sample.subMap(['roles', 'labels'])) },
        label_map
    )
    ch_labels = LABELS.out.csv.map { meta, csv -> [meta.id, csv] }
    LABELS.out.unused
        .map { _meta, json -> readJson(json) }
        .toList()
        .subscribe { unused -> unusedNames(unused).each { text -> log.warn(text) } }

    STANDARDISE(
        ch_checked.matrix.map { meta, sample ->
            [meta] + sampleInput(sample, ['matrix', 'gene_activity', 'proteins', 'barcodes'], [batch: sample.batch, peak_gene_link: options.peak_gene_link])
        }
    )
    INGEST_FRAGMENTS(
        ch_checked.fragments.map { meta, sample -> [[id: meta.id]] + sampleInput(sample, ['fragments', 'barcodes'], [batch: sample.batch]) },
        annotation,
        chrom_sizes,
        blacklist,
        options.subMap(['genome', 'cell_calling', 'min_fragments', 'min_tss', 'remove_doublets'])
    )

    // What every transfer needs: [key of a matrix, id of the transfer, part, position].
    ch_needs = ch_found.flatMap { found ->
        plan.transfers.collectMany { transfer -> needsOf(transfer, found.kinds, plan, wishes + [proteins: found.proteins]) }
    }

    // Matrices by their key, [sample, kind, peak set and counting].
    ch_standard = STANDARDISE.out.matrices.transpose().map { meta, file -> [[meta.id, file.baseName, ''], file] }
    ch_derived = ch_needs
        .filter { need -> need.made_from == 'peaks' }
        .map { need -> [[need.key[0], 'peaks', ''], need.key[0]] }
        .unique()
        .combine(ch_standard, by: 0)
        .map { _key, sample, file -> [[id: sample], file] }
    GENE_ACTIVITY(ch_derived, annotation, chrom_sizes, options.subMap(['genome']))

    ch_counts = ch_needs
        .filter { need -> need.made_from == 'fragments' }
        .map { need -> [need.key[0], need.count, need.peaks] }
        .unique()
    ch_given_peaks = ch_counts
        .filter { _sample, _count, peaks -> !peaks.sample && !peaks.called }
        .map { sample, count, peaks -> [sample, count, peaks.file ?: []] }
    ch_peaks_of_matrix = ch_counts
        .filter { _sample, _count, peaks -> peaks.sample }
        .map { sample, count, peaks -> [[peaks.sample, 'peaks', ''], sample, count] }
        .combine(ch_standard, by: 0)
        .map { _key, sample, count, file -> [sample, count, file] }
    ch_stores = INGEST_FRAGMENTS.out.store.map { meta, store -> [meta.id, store] }
    PROTEINS(
        ch_checked.fragments
            .filter { meta, _sample -> meta.proteins }
            .map { meta, sample -> [meta.id] + sampleInput(sample, ['proteins'], [:]) }
            .join(ch_stores)
            .map { id, spec, files, store -> [[id: id], spec, files, store] }
    )

    // A sample's peaks are called once, and merged into one set for each group that has no other: [group, its samples].
    ch_without_peaks = ch_counts
        .filter { _sample, _count, peaks -> peaks.called }
        .map { _sample, _count, peaks -> [peaks.group, peaks.called] }
        .unique()
    ch_members = ch_without_peaks.flatMap { group, samples -> samples.collect { sample -> [sample, groupKey(group, samples.size())] } }
    CALL_PEAKS(
        ch_members
            .map { sample, _group -> [sample] }
            .unique()
            .combine(ch_stores, by: 0)
            .map { sample, store -> [[id: sample], store] },
        chrom_sizes,
        blacklist,
        options.subMap(['genome', 'peak_q'])
    )
    MERGE_PEAKS(
        ch_members
            .combine(CALL_PEAKS.out.peaks.map { meta, calls -> [meta.id, calls] }, by: 0)
            .map { _sample, group, calls -> [group, calls] }
            .groupTuple()
            .map { group, calls -> [[id: group.target], calls.sort { file -> file.name }] },
        chrom_sizes,
        blacklist,
        options.subMap(['genome'])
    )
    ch_called_peaks = ch_counts
        .filter { _sample, _count, peaks -> peaks.called }
        .map { sample, count, peaks -> [peaks.group, sample, count] }
        .combine(MERGE_PEAKS.out.peaks.map { meta, peaks -> [meta.id, peaks] }, by: 0)
        .map { _group, sample, count, peaks -> [sample, count, peaks] }
    COUNT_FEATURES(
        ch_given_peaks
            .mix(ch_peaks_of_matrix)
            .mix(ch_called_peaks)
            .combine(ch_stores, by: 0)
            .map { sample, count, peaks, store ->
                // A task gets what its counts depend on, so that a change of the rest runs nothing again.
                def genes = count.kind == 'gene_activity' ? annotation : []
                def left_out = count.kind == 'windows' ? blacklist : []
                [[id: sample] + count, store, peaks, genes, left_out]
            },
        chrom_sizes,
        options.subMap(['genome'])
    )
    ch_matrices = ch_standard
        .mix(GENE_ACTIVITY.out.matrix.map { meta, file -> [[meta.id, 'gene_activity', ''], file] })
        .mix(COUNT_FEATURES.out.matrix.map { meta, file -> [[meta.id, meta.kind, meta.set], file] })
        .mix(PROTEINS.out.matrix.map { meta, file -> [[meta.id, 'proteins', ''], file] })

    // References and queries of a transfer on common features.
    ch_pairs = ch_needs
        .map { need -> [need.key, need] }
        .combine(ch_matrices, by: 0)
        .map { _key, need, file -> [groupKey(need.transfer, need.parts), need, file] }
        .groupTuple()
        .map { key, needs, files -> pairInput(plan.transfers.find { one -> one.id == key.target }, needs, files) }
    PAIR(ch_pairs, annotation, options.scenario)
    ch_described = PAIR.out.json.map { meta, json -> [meta, readJson(json)] }
    ch_described.subscribe { meta, pair -> log.info(scenarioText(meta, pair)) }

    // Only the labels of a transfer's references reach its training.
    def references = plan.transfers.collectMany { transfer ->
        transfer.bundle ? [] : transfer.references.collect { sample -> [sample, transfer.id, transfer.references.size()] }
    }
    ch_reference_labels = channel.fromList(references)
        .combine(ch_labels, by: 0)
        .map { _sample, transfer, size, csv -> [groupKey(transfer, size), csv] }
        .groupTuple()
        .map { key, csvs -> [key.target, csvs.sort { csv -> csv.name }] }
    ch_joined = PAIR.out.pair
        .filter { meta, _pair -> !meta.bundle }
        .join(ch_described)
        .map { meta, pair, described -> [meta.id, meta + [size: described.sizes?.reference], pair, described.sizes] }
        .join(ch_reference_labels)
    ch_to_train = ch_joined.map { _id, meta, pair, sizes, csvs -> [meta + [size: trainedSize(sizes, options.max_train_cells)], pair, csvs] }
    TRAIN(
        ch_to_train,
        options.subMap(
            ['preset', 'hyperparameters', 'target_error', 'unknown_threshold', 'max_train_cells', 'seed', 'threads', 'device']
        )
    )

    // The same data and the same labels: what plain classifiers make of them. A bundle comes without its reference.
    def compared = plan.transfers.findAll { transfer -> options.baselines != 'none' && !transfer.bundle }.collect { transfer -> transfer.id }
    BASELINES(
        ch_to_train.filter { meta, _pair, _csvs -> meta.id in compared },
        options.subMap(['baselines', 'max_train_cells', 'seed', 'threads'])
    )
    BASELINES.out.json.subscribe { meta, json ->
        readJson(json).left_out.each { method, reason -> log.warn("${meta.id}: baseline ${method} was left out: ${reason}") }
    }

    // What determinant features are worth: the same training by other seeds and on shuffled labels, and what the reference shows by itself.
    def retrainings = retrainingsOf(options)
    def untrained = plan.transfers.findAll { transfer -> transfer.bundle }.collect { transfer -> transfer.id }
    if (untrained && retrainings) {
        log.info("${untrained.join(', ')}: with --model nothing is trained again, and determinants.csv has neither stability nor q")
    }
    RETRAIN(
        ch_to_train.combine(channel.fromList(retrainings)),
        options.subMap(['preset', 'hyperparameters', 'max_train_cells', 'threads', 'device'])
    )
    ch_retrained = RETRAIN.out.weights
        .map { meta, weights -> [groupKey(meta.id, retrainings.size()), weights] }
        .groupTuple()
        .map { key, weights -> [key.target, weights.sort(false) { file -> file.name }] }
        .mix(channel.fromList(plan.transfers.findAll { transfer -> !retrainings || transfer.bundle }.collect { transfer -> [transfer.id, []] }))
    REFERENCE_MARKERS(ch_joined.map { _id, meta, pair, _sizes, csvs -> [meta, pair, csvs] })
    ch_reference_markers = REFERENCE_MARKERS.out.csv
        .map { meta, csv -> [meta.id, csv] }
        .mix(channel.fromList(untrained.collect { id -> [id, []] }))
    ch_bundles = TRAIN.out.bundle
        .map { meta, bundle -> [meta.id, bundle] }
        .mix(channel.fromList(plan.transfers.findAll { transfer -> transfer.bundle }.collect { transfer -> [transfer.id, transfer.bundle] }))

    // A query, and the peaks or windows that give its neighbours where its features are gene activity.
    ch_queries = PAIR.out.queries
        .join(PAIR.out.graphs)
        .flatMap { meta, files, graphs -> files.collect { file -> [meta, file, graphs.find { graph -> graph.name == file.name } ?: []] } }
        .combine(ch_described, by: 0)
        .map { meta, file, graph, described ->
            def query = [id: "${meta.id}/${file.baseName}".toString(), transfer: meta.id, group: meta.group, query: file.baseName]
            [meta.id, query + [size: described.sizes?.queries?.get(file.baseName)], file, graph]
        }
    ch_to_fit = ch_queries
        .combine(ch_bundles, by: 0)
        .map { _id, meta, query, graph, bundle -> [meta, query, graph, bundle] }
    ch_to_annotate = ch_to_fit.map { meta, query, _graph, bundle -> [meta, query, bundle] }
    FIT_QUERY(ch_to_fit, options.subMap(['target_error', 'unknown_threshold']))
    ch_fitted = ch_to_annotate.join(FIT_QUERY.out.fit)

    // Blocks of cells are predicted apart, on as many nodes as there are.
    ch_blocks = FIT_QUERY.out.json
        .map { meta, json -> [meta, readJson(json).cells] }
        .map { meta, cells -> [meta, (0..<cells).step(options.predict_cells.intValue()).toList()] }
    PREDICT(ch_fitted.join(ch_blocks).transpose(by: 4), options.predict_cells)
    ch_parts = PREDICT.out.part
        .combine(ch_blocks, by: 0)
        .map { meta, part, begins -> [groupKey(meta, begins.size()), part] }
        .groupTuple()
        .map { key, parts -> [key.target, parts.sort(false) { part -> part.name.tokenize('_').last().toInteger() }] }
    ANNOTATE(ch_fitted.join(ch_parts))
    ch_annotated = ANNOTATE.out.annotated.join(ch_to_fit.map { meta, _query, graph, _bundle -> [meta, graph] })
    EXPLAIN(
        ch_annotated
            .map { meta, annotated, graph -> [meta.transfer, meta, annotated, graph] }
            .combine(ch_bundles, by: 0)
            .combine(ch_retrained, by: 0)
            .combine(ch_reference_markers, by: 0)
            // Genes of the features' own need no annotation.
            .combine(ch_described.map { meta, pair -> [meta.id, pair.features in ['peaks', 'windows'] ? annotation : []] }, by: 0)
            .map { row -> row.tail() },
        options.markers ?: []
    )

    ch_baselines = BASELINES.out.csv
        .transpose()
        .map { meta, csv -> ["${meta.id}/${csv.name - '.baselines.csv'}".toString(), csv] }
        .mix(ch_queries.filter { id, _meta, _file, _graph -> !(id in compared) }.map { _id, meta, _file, _graph -> [meta.id, []] })

    // A query's labels reach its evaluation and nothing else.
    ch_evaluated = ANNOTATE.out.predictions
        .join(FIT_QUERY.out.domain_gap)
        .join(EXPLAIN.out.csv)
        .join(EXPLAIN.out.json)
        .map { row -> [row[0].id] + row }
        .join(ch_baselines)
        .map { row -> [row[1].query] + row.tail() }
        .branch { row ->
            labelled: row[0] in labelled
            unlabelled: true
        }
    EVALUATE(
        ch_evaluated.labelled
            .combine(ch_labels, by: 0)
            .mix(ch_evaluated.unlabelled.map { row -> row + [[]] })
            .map { row -> row.tail() }
    )

    EMBED(
        ch_annotated
            .filter { _meta, _annotated, _graph -> options.umap_cells > 0 }
            .map { meta, annotated, graph -> [meta.transfer, meta, annotated, graph] }
            .combine(ch_bundles, by: 0)
            .map { row -> row.tail() },
        options.umap_cells
    )
    ch_maps = EMBED.out.csv.mix(
        ANNOTATE.out.annotated.filter { _meta, _annotated -> options.umap_cells == 0 }.map { meta, _annotated -> [meta, []] }
    )
    FIGURES(
        ANNOTATE.out.annotated
            .join(EXPLAIN.out.csv)
            .join(EVALUATE.out.json)
            .join(ch_maps)
    )

    ch_versions = channel.topic('versions')
        .unique()
        .toSortedList { a, b -> a.toString() <=> b.toString() }
        .map { rows -> rows.collectEntries { process, versions -> [(process.tokenize(':').last()): versions] } }
        // Of a run that is being stopped there may be none, and nothing is to be written then.
        .filter { versions -> versions }
    ch_versions
        .map { versions -> versions.collect { process, text -> "${process}: ${text}" }.join('\n') + '\n' }
        .collectFile(name: 'versions.yml', storeDir: "${options.outdir}/pipeline_info")
    REPORT(
        ch_versions
            .map { versions -> [versions] }
            .combine(ch_preflight.map { reports -> [reports] })
            .map { versions, reports -> parametersText(options, versions, reports) },
        STANDARDISE.out.json.mix(INGEST_FRAGMENTS.out.json).map { _meta, json -> json }.toSortedList(),
        COUNT_FEATURES.out.json.map { _meta, json -> json }.toSortedList(),
        PAIR.out.json.map { _meta, json -> json }.toSortedList(),
        TRAIN.out.json.map { _meta, json -> json }.toSortedList(),
        BASELINES.out.json.map { _meta, json -> json }.toSortedList(),
        EVALUATE.out.json.map { _meta, json -> json }.toSortedList(),
        FIGURES.out.figures.map { _meta, folder -> folder }.toSortedList()
    )
    MULTIQC(REPORT.out.content, file("${projectDir}/assets/multiqc_config.yml"))
}

// What a task found. Several operators read it at a time, and the maps of JsonSlurper itself are filled at their first use.
def readJson(path) {
    return new groovy.json.JsonSlurperClassic().parseText(path.getText('UTF-8'))
}

def checkInput(sample, plan, options) {
    def keys = ['fragments', 'matrix', 'gene_activity', 'proteins', 'peaks', 'barcodes']
    def meta = [id: sample.id, modality: sample.modality, needs_genes: crossesToGenes(sample.id, plan, options)]
    return [meta] + sampleInput(sample, keys, sample.subMap(['roles', 'labels']) + [peak_gene_link: options.peak_gene_link])
}

// What a task reads of a sample: its description as JSON, and the files in the order of their folders. The rest of its rows, and
// their lines, stay out of both, so that a change of them runs nothing again.
def sampleInput(sample, keys, about) {
    def given = sample.rows.collectMany { row -> keys.collect { key -> row[key] } } + [about.labels?.file]
    def files = given.findAll { file -> file }.unique()
    def folders = files.withIndex(1).collectEntries { file, number -> [(file): "in${number}".toString()] }
    def rows = sample.rows.collect { row ->
        [library: row.library] + keys.collectEntries { key -> [(key): folders[row[key]]] }
    }
    def labels = about.labels ? [column: about.labels.column, file: folders[about.labels.file]] : null
    def description = [sample: sample.id, modality: sample.modality] + about + [labels: labels, rows: rows]
    // In base64, no text that a user chose is ever part of a command.
    return ["base64:${groovy.json.JsonOutput.toJson(description).bytes.encodeBase64()}".toString(), files]
}

// The files of a transfer's parts, each in the order of the sheet.
def pairInput(transfer, needs, files) {
    def parts = [needs, files].transpose().groupBy { need, _file -> need.part }
    def ordered = ['reference', 'query', 'graph', 'proteins'].collect { part ->
        (parts[part] ?: []).sort { pair -> pair[0].position }.collect { pair -> pair[1] }
    }
    def meta = [
        id: transfer.id,
        group: transfer.group,
        references: transfer.references,
        queries: transfer.queries,
        bundle: transfer.bundle != null,
        folder: transfer.id == transfer.group ? transfer.group : "${transfer.group}/${transfer.queries[0]}".toString(),
        peak_source: ['bundle', 'reference', 'given', 'query', 'called'].find { source -> needs.any { need -> need.peak_source == source } } ?: 'none',
        without_peaks: needs.any { need -> need.without_peaks }
    ]
    return [meta] + ordered + [transfer.bundle ?: []]
}

// How many cells and stored values a model is trained on: [cells:, values:] of both sides, each of at most so many cells.
def trainedSize(sizes, most) {
    def sides = sizes ? [[sizes.reference]] + [sizes.queries.values().toList()] : []
    def drawn = sides.collect { side ->
        def cells = side.sum { one -> one.cells }
        def values = side.sum { one -> one.values }
        def share = cells > most ? most / cells : 1
        [cells: (cells * share).toLong(), values: (values * share).toLong()]
    }
    return sizes ? [cells: drawn.sum { one -> one.cells }, values: drawn.sum { one -> one.values }] : null
}

// The trainings that are done again: the model itself is the first of --explain_seeds.
def retrainingsOf(options) {
    def others = (0..<options.explain_seeds.intValue()).toList().drop(1).collect { number -> options.seed + number }
    def shuffled = (0..<options.null_permutations.intValue()).toList().collect { number -> options.seed + number + 1 }
    return others.collect { seed -> [name: "seed_${seed}".toString(), seed: seed, shuffled: false] } +
        shuffled.collect { seed -> [name: "shuffled_${seed}".toString(), seed: seed, shuffled: true] }
}

// The images have MACS3; without containers, tasks find what is on PATH.
def canCallPeaks(options) {
    def folders = (System.getenv('PATH') ?: '').tokenize(':')
    def found = inImages() || folders.any { folder -> new java.io.File(folder, 'macs3').canExecute() }
    return options.call_peaks == 'auto' && found
}

// Genes of a sample that the sheet calls ATAC cannot be told from those of RNA by their names.
def takenAsActivity(checks, plan) {
    def modality = plan.samples.collectEntries { sample -> [(sample.id): sample.modality] }
    return checks.findAll { check -> modality[check.sample] == 'atac' && check.kind == 'gene_activity' }.collect { check ->
        "sample ${check.sample}: its features are genes, which are taken as gene activity of ATAC; write rna where they are RNA"
    }
}

// What --label_map renames and no sample has; of each sample, such names with the label that is spelled most like each.
def unusedNames(samples) {
    def everywhere = samples ? samples.collect { unused -> unused.keySet() }.inject { a, b -> a.intersect(b) } : []
    return everywhere.collect { name ->
        def near = samples.findResult { unused -> unused[name] }
        "--label_map: '${name}' is a label of no sample${near ? " (near: '${near}')" : ''}"
    }
}

def scenarioText(meta, pair) {
    def overlap = pair.barcode_overlap == null ? '' : ", ${Math.round(100 * pair.barcode_overlap)} % of the query's barcodes are the reference's"
    return "${meta.id}: scenario ${pair.scenario} (${pair.chosen}${overlap})"
}

// What the report says of the run. Paths and text that a user chose reach the task by standard input.
def parametersText(options, versions, reports) {
    def shown = options.findAll { name, value -> value != null && !(name in ['help', 'version']) }.collectEntries { name, value ->
        [(name): value instanceof java.nio.file.Path ? value.toUriString() : value]
    }
    def run = [
        version: workflow.manifest.version,
        nextflow: workflow.nextflow.version.toString(),
        engine: workflow.containerEngine ? "${workflow.containerEngine} ${engineVersion()}".toString() : 'none',
        gpu: gpuText(reports.findResult { _images, _container, found -> found.gpu }),
        profile: workflow.profile,
        packages: versions
    ]
    return groovy.json.JsonOutput.toJson(shown + run)
}
