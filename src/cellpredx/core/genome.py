"""Chromosome sizes: those of the shipped genomes, or a file's."""

from collections.abc import Iterable
from importlib import resources
from pathlib import Path

from cellpredx.core.errors import UserError
from cellpredx.core.text import open_text

GENOMES = ("hg38", "hg19", "mm10", "mm39")
# Enough to tell how chromosomes are named.
_SOME = 100
MITOCHONDRIAL = ("chrM", "MT", "chrMT", "M")

# The share of the shipped chromosomes that is known sequence: deepTools' genome sizes without N, over their sum.
KNOWN_SHARE = {"hg38": 0.943, "hg19": 0.925, "mm10": 0.973, "mm39": 0.975}


def read_sizes(genome: str | None, chrom_sizes: str | Path | None) -> dict[str, int]:
    """Return {chromosome: length in bp}: those of `chrom_sizes` (name, tab, length), else a shipped genome's, else {}.

    A shipped genome answers to UCSC's names and, without `chr`, to Ensembl's.
    """
    if chrom_sizes is not None:
        where = Path(chrom_sizes).name
        with open_text(Path(chrom_sizes), "the file of chromosome sizes") as lines:
            text = lines.read()
    elif genome is not None:
        text = resources.files("cellpredx.core").joinpath(f"sizes/{genome}.tsv").read_text(encoding="utf-8")
        where = genome
    else:
        return {}
    sizes: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        fields = line.split("\t")
        if len(fields) < 2 or not fields[0] or not fields[1].strip().isdecimal() or len(fields[1]) > 12:
            raise UserError(
                "not a line of chromosome sizes", f"{where}, line {number}", "write: name, tab, length in bp"
            )
        sizes[fields[0]] = int(fields[1])
    if not sizes:
        raise UserError("the file of chromosome sizes has no line", where, "write: name, tab, length in bp")
    if chrom_sizes is None:
        ensembl = {"MT" if name == "chrM" else name.removeprefix("chr"): size for name, size in sizes.items()}
        sizes.update(ensembl)
    return sizes


def some_chromosomes(names: Iterable[str]) -> list[str]:
    """Return some names of chromosomes, each once, the short ones of whole chromosomes first."""
    return sorted(set(names), key=lambda name: (len(name), name))[:_SOME]
