/*
 * What is said of parameters that a test writes: `--cases` is a JSON list of parameters and, where CHECK_SETTINGS is to have
 * found something, its `settings`. Prints the message of each as JSON.
 */

include { mistakesOf } from '../../subworkflows/local/plan_matrices'
include {
    mistakesText
    planOf
    readSchema
    readSheet
    resolveOptions
} from '../../subworkflows/local/check_sheet'

workflow {
    main:
    def schema = readSchema("${projectDir}/../../nextflow_schema.json")
    def columns = readSchema("${projectDir}/../../assets/schema_input.json")
    def given = new groovy.json.JsonSlurper().parseText(file(params.cases).text)
    def texts = given.collect { one ->
        def checked = resolveOptions(one.findAll { name, _value -> name != 'settings' }, schema)
        def sheet = checked.options.input ? readSheet(checked.options.input, columns) : [rows: [], mistakes: []]
        def result = planOf(sheet.rows, checked.options)
        def found = one.settings ? mistakesOf([], one.settings, result.plan, checked.options) : []
        mistakesText(checked.mistakes + sheet.mistakes + result.mistakes + found)
    }
    println("MISTAKES ${groovy.json.JsonOutput.toJson(texts)}")
}
