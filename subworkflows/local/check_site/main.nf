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

// The images that one task each looks at; without containers, all tools are in one place.
def preflightsOf(images) {
    def own = images.findAll { image -> image != 'torch' }
    return workflow.containerEngine ? own.collect { image -> [image] } : [['core', 'report']]
}

// What can be told of images before any task. Whether one of a registry or of Docker is there, its first task tells.
def imageMistakes(images, options) {
    def engine = workflow.containerEngine
    if (!options.image_dir) {
        return []
    }
    if (!engine || engine in ['docker', 'podman']) {
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
            remedy: "make it: `make images`, `docker save ${imageName(image)} -o ${image}.tar`, `${engine} build ${imageFile(image)} docker-archive:${image}.tar`",
            site: true
        ]
    }
}

// What PREFLIGHT found: [images, container, the content of its file].
def preflightMistakes(reports) {
    return reports.collectMany { _images, container, found ->
        def places = [workflow.containerEngine ? "image ${container}" : null, found.node ? "node ${found.node}" : null]
        def here = found.problems.collect { problem ->
            problem + [where: (places + [problem.where]).findAll { place -> place }.join(', '), site: true]
        }
        here + (found.reference_problems ?: []).collect { problem -> problem + [where: problem.where ?: 'reference files'] }
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
        def running = [command, '--version'].execute()
        def said = "${running.text}\n${running.err.text}".toString().readLines().find { line -> line.trim() } ?: ''
        return said.find(/\d+(\.\d+)+/) ?: said
    }
    catch (java.io.IOException _error) {
        return "(no ${command} on this machine's PATH)".toString()
    }
}

// The same for pipeline_info/preflight.json.
def siteOf(reports) {
    def run = [cellpredx: workflow.manifest.version, nextflow: workflow.nextflow.version.toString(), engine: workflow.containerEngine, engine_version: engineVersion()]
    def tasks = reports.collect { images, container, found -> [images: images, container: workflow.containerEngine ? container : null] + found }
    return run + [tasks: tasks.sort(false) { one -> one.images.join() }]
}

// A few lines on where the run is.
def siteText(reports) {
    def engine = workflow.containerEngine ? "${workflow.containerEngine} ${engineVersion()}" : 'no containers'
    def names = reports.collectMany { images, _container, _found -> images }.unique().sort()
    def nodes = reports.collect { _images, _container, found -> found.node ?: 'no node' }.unique().sort(false)
    def gpu = reports.findResult { _images, _container, found -> found.gpu }
    def version = workflow.manifest.version
    def lines = [
        "  Nextflow ${workflow.nextflow.version}, ${engine}; ${workflow.containerEngine ? 'images' : 'tools of'} ${names.join(', ')}: all of version ${version}",
        "  looked at on ${nodes.join(', ')}; ${'torch' in names ? "training on ${gpuText(gpu)}" : 'nothing is trained'}"
    ]
    return "Preflight:\n${lines.join('\n')}"
}

def gpuText(gpu) {
    return gpu ? "${gpu.name} (${gpu.memory_gb} GB, driver ${gpu.driver}, CUDA ${gpu.cuda})" : 'the CPU'
}

// Why a run ended before its work: an image that could not be started. Null where it was something else.
def imageText(images) {
    def said = workflow.errorReport ?: ''
    if (!workflow.containerEngine || !(said =~ /Error executing process > '[^']*PREFLIGHT/)) {
        return null
    }
    def names = images.collect { image -> imageName(image) }.join(', ')
    def gpu = said.contains('PREFLIGHT_TRAINING') ? ' With -profile gpu, docker and podman need the NVIDIA Container Toolkit on the node.' : ''
    return "An image could not be started: ${workflow.containerEngine} says why above.\n" +
        "`make images` builds what this run needs (${names}); --registry or --image_dir says where they are.${gpu}"
}
