/*
 * What the run needs of the machines that it runs on: images, disk, memory and time. Plain functions on plain data.
 */

// The images that a run will use.
def imagesOf(options, callsPeaks) {
    def training = options.model ? [] : ['torch'] + (options.baselines == 'none' ? [] : ['baselines'])
    return ['core', 'report'] + (callsPeaks ? ['peaks'] : []) + training
}

def imageFile(image) {
    return "cellpredx-${image}-${workflow.manifest.version}.sif".toString()
}

def imageName(image) {
    return "cellpredx-${image}:${workflow.manifest.version}".toString()
}

// Whether tasks run in images: clouds and Kubernetes do so with no engine named.
def inImages() {
    return workflow.containerEngine || workflow.session.config.process.executor in ['awsbatch', 'azurebatch', 'google-batch', 'k8s']
}

// The images that one task each looks at; without containers, all tools are in one place.
def preflightsOf(images) {
    def own = images.findAll { image -> image != 'torch' }
    return inImages() ? own.collect { image -> [image] } : [['core', 'report']]
}

// What can be told of images before any task. Whether one of a registry or of Docker is there, its first task tells.
def imageMistakes(images, options) {
    def engine = workflow.containerEngine
    if (!options.image_dir) {
        return []
    }
    if (!(engine in ['singularity', 'apptainer'])) {
        return [[
            where: 'parameter --image_dir',
            what: engine ? "a folder of .sif files is given, and ${engine} cannot run them" : 'images are given, and -profile names nothing that runs them',
            remedy: 'add singularity or apptainer to -profile, or leave --image_dir out',
            site: true
        ]]
    }
    def folder = file(options.image_dir, glob: false)
    return images.findAll { image -> !folder.resolve(imageFile(image)).exists() }.collect { image ->
        [
            where: 'parameter --image_dir',
            what: "the folder has no ${imageFile(image)}",
            remedy: "`make images sifs IMAGE_DIR=${folder}` makes those that are missing, where Docker is; docs/sites.md tells more".toString(),
            site: true
        ]
    }
}

// Bytes of a file, or of the files that lie in a folder: no deeper, as links may lead in a circle.
def bytesOf(path) {
    def files = path.isDirectory() ? (path.list() ?: []).collect { name -> path.resolve(name) } : [path]
    return files.findAll { one -> one.exists() && !one.isDirectory() }.sum { one -> one.size() } ?: 0
}

/*
 * What the run will need, from the sizes of its files alone: memory of its largest task, disk, hours of one core.
 * The numbers are those of docs/scaling.md, for data of usual depth: they tell a laptop's work from a cluster's.
 */
def needOf(plan, options) {
    def bytes = { samples, names ->
        samples.collectMany { sample -> sample.rows }.collectMany { row -> names.collect { name -> row[name] } }
            .findAll { path -> path }.unique().sum { path -> bytesOf(path) } ?: 0
    }
    def fragments = bytes.call(plan.samples, ['fragments'])
    def matrices = bytes.call(plan.samples, ['matrix', 'gene_activity', 'proteins'])
    def largest = plan.samples.collect { sample -> bytes.call([sample], ['fragments']) }.max()
    // Ten bytes a fragment and two a stored value; one fragment in two is in a feature.
    def values = (matrices.intdiv(2) + fragments.intdiv(20)).intdiv(plan.transfers.size())
    def cells = values.intdiv(1500)
    def again = [options.explain_seeds - 1, 0].max() + options.null_permutations
    def across = options.preset != 'tuned' && plan.transfers.any { one -> one.reference_modality != one.query_modality }
    def training = options.model ? 0 : ((across ? 600 : 20) + [cells, 2 * options.max_train_cells].min() * 0.004) * (1 + again / 3)
    return [
        input: fragments + matrices,
        memory: [6.GB, 1.GB + 50.KB * cells + 60.B * values, 1.GB + 1.B * largest.intdiv(2)].max(),
        disk: nextflow.util.MemoryUnit.of(500_000_000 + fragments * 2 + matrices * 6),
        hours: (training * plan.transfers.size() + cells * plan.transfers.size() * 0.01 + fragments / 2e7) / 3600
    ]
}

def needText(need) {
    def hours = need.hours < 1 ? 'less than an hour' : "about ${Math.round(need.hours)} h"
    def there = machineMemory()
    def above = there && withinLimits(need.memory) > there
        ? ". This machine has ${there} of memory: process.resourceLimits cuts requests to it (docs/scaling.md, Limits)"
        : ''
    return "Estimated from the size of the input (${nextflow.util.MemoryUnit.of(need.input)}): up to ${need.memory} of memory a task, " +
        "${need.disk} of disk, ${hours} of one core${above}"
}

/*
 * The scope `executor` where this machine runs the tasks itself: a request above what it has ends a run, hours later, unless
 * resourceLimits cut it. Null where tasks go elsewhere, or a site gives a process an executor by its name.
 */
def localExecutor() {
    def config = workflow.session.config
    def own = config.process.any { name, rules -> name.startsWith('with') && rules.executor }
    // The scope may be a name alone.
    def scope = config.executor instanceof Map ? config.executor : [name: config.executor]
    def executor = config.process.executor ?: scope.name ?: System.getenv('NXF_EXECUTOR') ?: 'local'
    return own || executor != 'local' ? null : scope
}

// Null where it does not count: not the local executor's, or a site gives a process memory by its name.
def machineMemory() {
    def own = workflow.session.config.process.any { name, rules -> name.startsWith('withName') && rules.memory }
    def scope = localExecutor()
    return own || scope == null ? null : memoryOf(scope.memory ?: java.lang.management.ManagementFactory.operatingSystemMXBean.totalMemorySize)
}

// Null where it does not count, as machineMemory; the rule of INGEST_FRAGMENTS is the pipeline's own.
def machineCpus() {
    def own = workflow.session.config.process.any { name, rules ->
        name.startsWith('withName') && name != 'withName:INGEST_FRAGMENTS' && rules.cpus
    }
    def scope = localExecutor()
    return own || scope == null ? null : (scope.cpus ?: Runtime.runtime.availableProcessors())
}

// What a task may ask for, once the site's limits have cut it.
def withinLimits(memory) {
    return [memory, memoryOf(workflow.session.config.process.resourceLimits?.memory)].findAll { one -> one }.min()
}

// Bytes, a text, or a closure; null where it is not known before the task.
def memoryOf(value) {
    try {
        def given = atFirst(value, [:])
        return given instanceof nextflow.util.MemoryUnit ? given : given instanceof Number ? nextflow.util.MemoryUnit.of(given.toLong()) : given ? nextflow.util.MemoryUnit.of(given) : null
    }
    catch (Exception _error) {
        return null
    }
}

// Of CPUs, as memoryOf.
def cpusOf(value, options) {
    try {
        return atFirst(value, options) as Integer
    }
    catch (Exception _error) {
        return null
    }
}

// What a directive is at a task's first attempt.
def atFirst(value, options) {
    def known = [task: [attempt: 1, ext: [:]], params: options]
    return value instanceof Closure ? value.rehydrate(known, known, null).call() : value
}

// What some task asks for whatever its input, cut to the site's limits; null where it is not known.
def leastMemory(options) {
    return withinLimits(memoryOf(ruleOf("withLabel:process_${options.model ? 'medium' : 'high'}", 'memory')))
}

// As leastMemory; sheets with mistakes have no plan.
def mostCpus(plan, options) {
    def counting = plan && plan.samples.any { sample -> sample.rows.any { row -> row.fragments } }
    def rules = (options.model ? [] : ['withLabel:process_high']) + (counting ? ['withName:INGEST_FRAGMENTS'] : [])
    def asked = rules.collect { rule -> cpusOf(ruleOf(rule, 'cpus'), options) }.findAll { cpus -> cpus }.max()
    return asked ? [asked, workflow.session.config.process.resourceLimits?.cpus].findAll { cpus -> cpus }.min() : null
}

// Less on this machine than tasks ask for whatever their input.
def machineMistakes(plan, options) {
    def memory = machineMemory()
    def least = leastMemory(options)
    def cores = machineCpus()
    def most = mostCpus(plan, options)
    def lacking = []
    if (memory && least && least > memory) {
        def task = options.model ? 'a task' : 'a training'
        lacking << [what: "${memory} of memory, and ${task} asks for ${least} at least", limit: "memory: ${memory.toMega()}.MB"]
    }
    if (cores && most && most > cores) {
        lacking << [what: "${cores} CPU${cores == 1 ? '' : 's'}, and a task asks for ${most}", limit: "cpus: ${cores}"]
    }
    return lacking
        ? [[
            where: 'this machine',
            what: "it has ${lacking.collect { one -> one.what }.join('; ')}".toString(),
            remedy: "cut requests to what there is, in a file that -c gives: process.resourceLimits = [${lacking.collect { one -> one.limit }.join(', ')}]".toString(),
            site: true
        ]]
        : []
}

def ruleOf(selector, name) {
    def rules = workflow.session.config.process[selector.toString()]
    return rules ? rules[name] : null
}

// Too little room for what the run will write; what an earlier run left may be a part of it, which -resume takes up.
// The question of check_sheet's isLocal, asked here anew: a module that two scripts include may, under the strict
// parser, include nothing itself ("already defined or included").
def diskMistakes(need, options) {
    if (workflow.resume) {
        return []
    }
    // Links take no room.
    def results = options.outdir && options.publish_dir_mode.startsWith('copy') ? file(options.outdir, glob: false) : null
    def places = [[name: '-work-dir', folder: workflow.workDir, share: 1], [name: '--outdir', folder: results, share: 0.4]]
    def local = places.findAll { place -> place.folder && place.folder.fileSystem == java.nio.file.FileSystems.getDefault() }
    // What lies on one disk shares its room.
    return local.groupBy { place -> diskOf(place.folder.toAbsolutePath()) }.collectMany { disk, own ->
        def free = disk.getUsableSpace()
        def needed = (need.disk.toBytes() * own.sum { place -> place.share }).toLong()
        free < needed
            ? [[
                where: own.collect { place -> "${place.name} ${place.folder}" }.join(', '),
                what: "${nextflow.util.MemoryUnit.of(free)} are free, and about ${nextflow.util.MemoryUnit.of(needed)} will be written".toString(),
                remedy: "make room there, or give another folder with ${own.collect { place -> place.name }.join(' or ')}".toString(),
                site: true
            ]]
            : []
    }
}

def diskOf(folder) {
    return java.nio.file.Files.getFileStore(([folder] + parentsOf(folder)).find { path -> path.exists() })
}

def parentsOf(path) {
    return path.parent ? [path.parent] + parentsOf(path.parent) : []
}

// The node of a task, null where a container has a name of its own.
def nodeOf(found) {
    return workflow.containerEngine in ['docker', 'podman'] ? null : found.node
}

// What PREFLIGHT found: [images, container, the content of its file].
def preflightMistakes(reports) {
    return reports.collectMany { _images, container, found ->
        def places = [inImages() ? "image ${container}" : null, nodeOf(found) ? "node ${nodeOf(found)}" : null]
        found.problems.collect { problem ->
            problem + [where: (places + [problem.where]).findAll { place -> place }.join(', '), site: true]
        }
    }
}

// The version of the container engine, as it tells it.
def engineVersion() {
    def engine = workflow.containerEngine
    if (!engine) {
        return null
    }
    def command = engine == 'charliecloud' ? 'ch-run' : engine
    try {
        def said = new java.lang.ProcessBuilder([command, '--version']).redirectErrorStream(true).start().inputStream.text.trim()
        return said.find(/\d+(\.\d+)+/) ?: said
    }
    catch (java.io.IOException _error) {
        return "(no ${command} on this machine's PATH)".toString()
    }
}

// The same for pipeline_info/preflight.json.
def siteOf(reports) {
    def run = [cellpredx: workflow.manifest.version, nextflow: workflow.nextflow.version.toString(), engine: workflow.containerEngine, engine_version: engineVersion()]
    def tasks = reports.collect { images, container, found -> [images: images, container: inImages() ? container : null] + found + [node: nodeOf(found)] }
    return run + [tasks: tasks.sort(false) { one -> one.images.join() }]
}

// A few lines on where the run is.
def siteText(reports) {
    def engine = workflow.containerEngine ? "${workflow.containerEngine} ${engineVersion()}" : inImages() ? workflow.session.config.process.executor : 'no containers'
    def names = reports.collectMany { images, _container, _found -> images }.unique().sort()
    def nodes = reports.collect { _images, _container, found -> nodeOf(found) }.findAll { node -> node }.unique().sort(false)
    def gpu = reports.findResult { _images, _container, found -> found.gpu }
    def version = workflow.manifest.version
    def tools = "${inImages() ? 'images' : 'tools of'} ${names.join(', ')}"
    def lines = [
        "  Nextflow ${workflow.nextflow.version}, ${engine}; ${tools}: all of version ${version}",
        "  ${'torch' in names ? "training on ${gpuText(gpu)}" : 'nothing is trained'}${nodes ? "; looked at on ${nodes.join(', ')}" : ''}"
    ]
    return "Preflight:\n${lines.join('\n')}"
}

def gpuText(gpu) {
    return gpu ? "${gpu.name} (${gpu.memory_gb} GB, driver ${gpu.driver}, CUDA ${gpu.cuda})" : 'the CPU'
}

// Why a run ended before its work: an image that could not be started. Null where it was something else.
def imageText(images) {
    def said = workflow.errorReport ?: ''
    // Our own command ends with 1.
    if (!workflow.containerEngine || workflow.exitStatus == 1 || !(said =~ /Error executing process > '[^']*(PREFLIGHT|CHECK_INPUTS|CHECK_SETTINGS)/)) {
        return null
    }
    def names = images.collect { image -> imageName(image) }.join(', ')
    def gpu = said.contains('PREFLIGHT_TRAINING') ? ' With -profile gpu, docker needs the NVIDIA Container Toolkit on the node, and podman a CDI specification.' : ''
    return "An image could not be started: above stands what ${workflow.containerEngine} says.\n" +
        "`make images` builds what this run needs (${names}); --registry or --image_dir tells where they are.${gpu}"
}
