"""Whether the reference files of a run can be read and are of one genome, before an hour has passed."""

from collections.abc import Callable

from cellpredx.core.errors import UserError


def check_references(
    annotation: str | None, chrom_sizes: str | None, genome: str | None, blacklist: str | None
) -> list[UserError]:
    """Return what is wrong with the annotation, the chromosomes' sizes and the blacklist, and between them."""
    from cellpredx.core.annotation import read_annotation
    from cellpredx.core.bed import read_bed
    from cellpredx.core.genome import read_sizes

    readers: dict[str, Callable[[], set[str]]] = {}
    if annotation:
        readers["--annotation"] = lambda: set(read_annotation(annotation).genes["chrom"])
    if blacklist:
        readers["--blacklist"] = lambda: set(read_bed(blacklist)["chrom"])
    sizes = "--chrom_sizes" if chrom_sizes else "--genome"
    if chrom_sizes or genome:
        readers[sizes] = lambda: set(read_sizes(genome, chrom_sizes))
    problems: list[UserError] = []
    found: dict[str, set[str]] = {}
    for name, read in readers.items():
        try:
            found[name] = read()
        except UserError as error:
            problems.append(error)
    known = found.get(sizes)
    for name in ("--annotation", "--blacklist"):
        if known and name in found and not found[name] & known:
            theirs, ours = (", ".join(sorted(names)[:3]) for names in (found[name], known))
            what = f"the one names chromosomes as {theirs}, the other as {ours}: none is the same"
            remedy = "give files of one genome, with one way of naming chromosomes"
            problems.append(UserError(what, f"parameters {name}, {sizes}", remedy))
    return problems
