"""Genes: bodies and transcription start sites from a GTF or a BED file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
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


def _read_table(path: Path, columns: int) -> pd.DataFrame:
    """Read the first `columns` tab-separated fields of every line that is no comment, as text, with line numbers."""
    with open_text(path, "the annotation") as lines:
        rows = [[number, *fields[:columns], *[""] * (columns - len(fields))] for number, fields in table_lines(lines)]
    return pd.DataFrame(rows, columns=["line", *map(str, range(columns))])


def _coordinates(table: pd.DataFrame, column: str, path: Path) -> pd.Series:
    values = pd.to_numeric(table[column], errors="coerce")
    if values.isna().any() or (values < 0).any():
        bad = table.loc[values.isna() | (values < 0)].iloc[0]
        raise UserError(
            f"{bad[column]!r} is no coordinate",
            f"{path.name}, line {bad['line']}, column {int(column) + 1}",
            "give a GTF, or a BED of genes: chrom, start, end, name, gene_id or score, strand (tab-separated)",
        )
    return values.astype(np.int64)


def _attribute(text: pd.Series, *names: str) -> pd.Series:
    """Return the first of the attributes `names` that a GTF line has, else ''."""
    found = pd.Series("", index=text.index)
    for name in reversed(names):
        value = text.str.extract(rf'(?:^|;)\s*{name} "?([^";]+)"?', expand=False)
        found = value.fillna(found)
    return found


def _from_gtf(path: Path, gene_types: tuple[str, ...]) -> tuple[pd.DataFrame, pd.DataFrame]:
    table = _read_table(path, 9)
    table = table[table["2"].isin(["gene", "transcript"])].reset_index(drop=True)
    if table.empty:
        raise UserError(
            "the GTF has no gene and no transcript line",
            path.name,
            "give the full annotation (GENCODE or Ensembl), with `gene` or `transcript` in column 3",
        )
    lines = pd.DataFrame(
        {
            "chrom": table["0"],
            "start": _coordinates(table, "3", path) - 1,
            "end": _coordinates(table, "4", path),
            "strand": table["6"],
            "feature": table["2"],
            "gene_id": _attribute(table["8"], "gene_id").str.replace(r"\.\d+$", "", regex=True),
            "gene_name": _attribute(table["8"], "gene_name", "gene"),
            "gene_type": _attribute(table["8"], "gene_type", "gene_biotype"),
        }
    )
    lines["gene_name"] = lines["gene_name"].where(lines["gene_name"] != "", lines["gene_id"])
    if (lines["gene_type"] != "").any():
        lines = lines[lines["gene_type"].isin(gene_types)]
        if lines.empty:
            raise UserError(
                f"no gene of type {', '.join(gene_types)} in the GTF", path.name, "give the full annotation"
            )
    # Pseudo-autosomal genes stand on two chromosomes with one id.
    genes = (
        lines.groupby(["chrom", "gene_id"], sort=False)
        .agg(start=("start", "min"), end=("end", "max"), strand=("strand", "first"), gene_name=("gene_name", "first"))
        .reset_index()
    )
    transcripts = lines[lines["feature"] == "transcript"]
    return genes, transcripts if len(transcripts) else genes


def _from_bed(path: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    table = _read_table(path, 6)
    if table.empty:
        raise UserError("the annotation has no line", path.name, "give a GTF or a BED of genes")
    bad = table[~table["5"].isin(["+", "-"]) | (table["3"] == "")]
    if len(bad):
        first = bad.iloc[0]
        raise UserError(
            "not a line of a gene BED: it needs a name in column 4 and a strand (+ or -) in column 6",
            f"{path.name}, line {first['line']}",
            "write: chrom, start, end, name, gene_id or score, strand (tab-separated), or give a GTF",
        )
    is_id = table["4"].str.contains(r"[A-Za-z]", regex=True)
    genes = pd.DataFrame(
        {
            "chrom": table["0"],
            "start": _coordinates(table, "1", path),
            "end": _coordinates(table, "2", path),
            "strand": table["5"],
            "gene_id": table["4"].str.replace(r"\.\d+$", "", regex=True).where(is_id, table["3"]),
            "gene_name": table["3"],
        }
    )
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
