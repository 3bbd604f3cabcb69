"""Genes: bodies and transcription start sites from a GTF or a BED file."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from cellpredx.core.errors import UserError
from cellpredx.core.files import sha256
from cellpredx.core.text import open_text, table_lines


@dataclass(frozen=True)
class Annotation:
    """Genes and TSSs.

    `genes`: a row a gene: chrom, start, end (bp, half-open), strand, gene_id (without version), gene_name, name
    (unique). `tss`: a row a distinct start site of its transcripts: chrom, position (bp), strand.
    """

    genes: pd.DataFrame
    tss: pd.DataFrame
    checksum: str


def unique_names(gene_name: pd.Series, gene_id: pd.Series) -> pd.Series:
    """Return names that are unique: the symbol where one gene has it, else symbol and id joined by `_`."""
    shared = gene_name.duplicated(keep=False)
    names = gene_name.where(~shared, gene_name + "_" + gene_id)
    repeat = names.groupby(names, sort=False).cumcount()
    return names.where(repeat == 0, names + "-" + repeat.astype(str))


def _position(text: str, path: Path, line: int, column: int) -> int:
    if not (text.isdecimal() and text.isascii()):
        raise UserError(
            f"{text!r} is no coordinate",
            f"{path.name}, line {line}, column {column}",
            "give a GTF, or a BED of genes: chrom, start, end, name, gene_id or score, strand (tab-separated)",
        )
    return int(text)


def _attribute(*names: str) -> Callable[[str], str]:
    """Return a function that gives the first of the attributes `names` that a GTF line has, else ''."""
    patterns = [re.compile(rf'(?:^|;)\s*{name} "?([^";]+)') for name in names]

    def value(text: str) -> str:
        for pattern in patterns:
            if found := pattern.search(text):
                return found[1]
        return ""

    return value


def _without_version(gene_id: str) -> str:
    return re.sub(r"\.\d+$", "", gene_id) if "." in gene_id else gene_id


_GENE_ID, _GENE_NAME = _attribute("gene_id"), _attribute("gene_name", "gene")
_GENE_TYPE = _attribute("gene_type", "gene_biotype")


def _from_gtf(path: Path, gene_types: tuple[str, ...]) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows = []
    # Name and type of a gene, from its first line.
    told: dict[str, tuple[str, str]] = {}
    with open_text(path, "the annotation") as lines:
        for number, line in enumerate(lines, start=1):
            # Most lines are exons: they are passed over before they cost anything.
            if ("\tgene\t" not in line and "\ttranscript\t" not in line) or line.startswith("#"):
                continue
            fields = line.rstrip("\r\n").split("\t")
            if len(fields) < 9 or fields[2] not in ("gene", "transcript"):
                continue
            gene_id = _without_version(_GENE_ID(fields[8]))
            if not gene_id:
                raise UserError(
                    "a line of a gene without gene_id",
                    f"{path.name}, line {number}, column 9",
                    "give a GTF, not a GFF3",
                )
            start, end = _position(fields[3], path, number, 4), _position(fields[4], path, number, 5)
            if gene_id not in told:
                told[gene_id] = (_GENE_NAME(fields[8]) or gene_id, _GENE_TYPE(fields[8]))
            rows.append((fields[0], start - 1, end, fields[6], fields[2], gene_id, *told[gene_id]))
    if not rows:
        raise UserError(
            "the GTF has no gene and no transcript line",
            path.name,
            "give the full annotation (GENCODE or Ensembl), with `gene` or `transcript` in column 3",
        )
    columns = ["chrom", "start", "end", "strand", "feature", "gene_id", "gene_name", "gene_type"]
    lines_of_genes = pd.DataFrame(rows, columns=columns)
    if (lines_of_genes["gene_type"] != "").any():
        lines_of_genes = lines_of_genes[lines_of_genes["gene_type"].isin(gene_types)]
        if lines_of_genes.empty:
            raise UserError(
                f"no gene of type {', '.join(gene_types)} in the GTF", path.name, "give the full annotation"
            )
    # Pseudo-autosomal genes stand on two chromosomes with one id.
    genes = (
        lines_of_genes.groupby(["chrom", "gene_id"], sort=False)
        .agg(start=("start", "min"), end=("end", "max"), strand=("strand", "first"), gene_name=("gene_name", "first"))
        .reset_index()
    )
    transcripts = lines_of_genes[lines_of_genes["feature"] == "transcript"]
    return genes, transcripts if len(transcripts) else genes


def _from_bed(path: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows = []
    with open_text(path, "the annotation") as lines:
        for number, fields in table_lines(lines):
            if len(fields) < 6 or fields[5] not in ("+", "-") or not fields[3]:
                raise UserError(
                    "not a line of a gene BED: it needs a name in column 4 and a strand (+ or -) in column 6",
                    f"{path.name}, line {number}",
                    "write: chrom, start, end, name, gene_id or score, strand (tab-separated), or give a GTF",
                )
            start, end = (_position(fields[i], path, number, i + 1) for i in (1, 2))
            gene_id = _without_version(fields[4]) if re.search("[A-Za-z]", fields[4]) else fields[3]
            rows.append((fields[0], start, end, fields[5], gene_id, fields[3]))
    if not rows:
        raise UserError("the annotation has no line", path.name, "give a GTF or a BED of genes")
    genes = pd.DataFrame(rows, columns=["chrom", "start", "end", "strand", "gene_id", "gene_name"])
    return genes, genes


def read_annotation(path: str | Path, gene_types: tuple[str, ...] = ("protein_coding",)) -> Annotation:
    """Read a GTF (.gtf, .gtf.gz; GENCODE or Ensembl style) or a BED of genes (six columns).

    A gene is the union of its transcripts; of a GTF that names gene types, those in `gene_types` are kept.
    Raises UserError with file and line for what cannot be read.
    """
    path = Path(path)
    is_gtf = path.name.removesuffix(".gz").endswith((".gtf", ".gff", ".gff2"))
    genes, transcripts = _from_gtf(path, gene_types) if is_gtf else _from_bed(path)
    genes = genes.assign(name=unique_names(genes["gene_name"], genes["gene_id"]))
    forward = transcripts["strand"] != "-"
    tss = pd.DataFrame(
        {
            "chrom": transcripts["chrom"],
            "position": transcripts["start"].where(forward, transcripts["end"] - 1),
            "strand": transcripts["strand"].where(~forward, "+"),
        }
    ).drop_duplicates(ignore_index=True)
    columns = ["chrom", "start", "end", "strand", "gene_id", "gene_name", "name"]
    return Annotation(genes[columns].reset_index(drop=True), tss, sha256(path))
