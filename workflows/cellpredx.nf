workflow CELLPREDX {
    take:
    plan
    options

    main:
    println(groovy.json.JsonOutput.prettyPrint(groovy.json.JsonOutput.toJson(plainData([plan: plan, options: options]))))
}

def plainData(value) {
    if (value instanceof Map) {
        return value.collectEntries { key, one -> [(key): plainData(one)] }
    }
    return value instanceof List ? value.collect { one -> plainData(one) } : value instanceof java.nio.file.Path ? value.toString() : value
}
