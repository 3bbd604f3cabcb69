/*
 * pipeline_info/SHA256SUMS: there once a run has ended well and everything it leaves is in place, and only then. The engine
 * copies results under their final names: of a run that was cut off, a file may be there in part. A preview, which runs no
 * task, leaves it as it is.
 */

// Taken away before the first task of a run.
def takeAwaySums(outdir) {
    if (!workflow.preview) {
        java.nio.file.Files.deleteIfExists(sumsOf(outdir))
    }
}

// Every result of the plan's samples and groups, as `sha256sum --check` reads it; it appears whole.
def writeSums(outdir, plan) {
    if (workflow.preview) {
        return null
    }
    def root = file(outdir, glob: false)
    def places = plan.samples.collect { sample -> "samples/${sample.id}" } + plan.groups.collect { group -> "groups/${group.id}" }
    def found = ['summary.csv', 'composition.csv', 'cells_lost.csv'].collect { name -> root.resolve(name) }
    (places + ['multiqc']).collect { place -> root.resolve(place.toString()) }.findAll { folder -> folder.exists() }.each { folder ->
        folder.eachFileRecurse(groovy.io.FileType.FILES) { path -> found << path }
    }
    def lines = found.collect { path -> "${sha256(path)}  ${root.relativize(path)}\n".toString() }
    def part = root.resolve('pipeline_info/.SHA256SUMS.part')
    part.text = lines.sort { line -> line.drop(66) }.join()
    return java.nio.file.Files.move(part, sumsOf(outdir), java.nio.file.StandardCopyOption.REPLACE_EXISTING)
}

def sumsOf(outdir) {
    return file("${outdir}/pipeline_info/SHA256SUMS", glob: false)
}

def sha256(path) {
    def digest = java.security.MessageDigest.getInstance('SHA-256')
    path.eachByte(1048576) { bytes, length -> digest.update(bytes, 0, length) }
    return digest.digest().encodeHex().toString()
}
