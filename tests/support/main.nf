/*
 * What tests of later stages start from: two simulated RNA protocols, brought as far as a module needs them.
 */

include { FIT_QUERY   } from '../../modules/local/fit_query'
include { LABELS      } from '../../modules/local/labels'
include { PAIR        } from '../../modules/local/pair'
include { PREDICT     } from '../../modules/local/predict'
include { STANDARDISE } from '../../modules/local/standardise'
include { TRAIN       } from '../../modules/local/train'
include { checkInput  } from '../../workflows/cellpredx'
include {
    planOf
    readSchema
    readSheet
    resolveOptions
} from '../../subworkflows/local/check_sheet'

process SIMULATE {
    label 'process_single'
    label 'image_core'

    output:
    path 'data', emit: data

    script:
    """
    cellpredx simulate --scenario rna --cells 60 --outdir data
    """
}

// The samples `reference_rna` and `query`, as the pipeline hands them to its first tasks.
workflow SIMULATED {
    main:
    SIMULATE()
    ch_samples = SIMULATE.out.data
        .flatMap { data -> samplesOf(data) }
        .map { meta, spec, files -> [meta + [kind: 'genes'], spec, files] }

    emit:
    samples = ch_samples
}

// Both as matrices: what PAIR takes.
workflow STANDARDISED {
    main:
    SIMULATED()
    STANDARDISE(SIMULATED.out.samples)
    ch_matrices = STANDARDISE.out.matrices.branch { meta, _matrix ->
        query: meta.id == 'query'
        reference: true
    }
    ch_to_pair = ch_matrices.reference.combine(ch_matrices.query).map { _reference, matrix, _query, other ->
        [transferMeta(), [matrix], [other], [], [], []]
    }

    emit:
    samples = SIMULATED.out.samples
    to_pair = ch_to_pair
}

// Both on common features, with the reference's labels: what TRAIN takes.
workflow PAIRED {
    main:
    STANDARDISED()
    PAIR(STANDARDISED.out.to_pair, [], 'auto')
    LABELS(STANDARDISED.out.samples.filter { meta, _spec, _files -> meta.id == 'reference_rna' }, [])

    emit:
    to_train = PAIR.out.pair.combine(LABELS.out.csv.map { _meta, csv -> csv })
    queries  = PAIR.out.queries
}

// A query and a model that was trained for a moment: what PREDICT takes.
workflow TRAINED {
    main:
    PAIRED()
    TRAIN(PAIRED.out.to_train, trainSettings())
    ch_to_predict = PAIRED.out.queries.join(TRAIN.out.bundle).map { meta, query, bundle ->
        [[id: 'all.query', transfer: meta.id, group: meta.group, query: 'query'], query, bundle]
    }

    emit:
    to_predict = ch_to_predict
}

// Its cells predicted in two blocks: what ANNOTATE takes.
workflow PREDICTED {
    main:
    TRAINED()
    FIT_QUERY(TRAINED.out.to_predict.map { meta, query, bundle -> [meta, query, [], bundle] }, [target_error: 0.05, unknown_threshold: null])
    ch_fitted = TRAINED.out.to_predict.join(FIT_QUERY.out.fit)
    PREDICT(ch_fitted.map { row -> row + [[0, 40]] }.transpose(by: 4), 40)

    emit:
    to_annotate = ch_fitted.join(PREDICT.out.part.groupTuple(size: 2))
}

def samplesOf(data) {
    def options = resolveOptions([input: "${data}/sheet.csv", outdir: 'results'], readSchema("${projectDir}/nextflow_schema.json")).options
    def sheet = readSheet(options.input, readSchema("${projectDir}/assets/schema_input.json"))
    def plan = planOf(sheet.rows, options).plan
    return plan.samples.collect { sample -> checkInput(sample, plan, options) }
}

def transferMeta() {
    return [id: 'all', group: 'all', references: ['reference_rna'], queries: ['query'], bundle: false, folder: 'all', peak_source: 'none', without_peaks: false]
}

def trainSettings() {
    return [
        preset: 'paper',
        hyperparameters: 'iterations=30',
        target_error: 0.05,
        unknown_threshold: null,
        max_train_cells: 100000,
        seed: 1,
        threads: 2,
        device: 'auto'
    ]
}
