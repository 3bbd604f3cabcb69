"""Counts of surface proteins (antibody-derived tags) of the cells of a sample."""

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellpredx.core.spec import Row, SampleSpec
from cellpredx.matrix.sample_matrix import sample_matrix
from cellpredx.matrix.values import counts_of
from cellpredx.samplesheet.headers import holds_proteins, read_header
from cellpredx.samplesheet.proteins import strangers

PREFIX = "adt:"
# Antibodies that mark the sample that a cell was in, and say nothing of its type.
HASHTAG = r"(?i)hashtag|^(?:adt:)?hto(?![a-z])"


def protein_files(spec: SampleSpec) -> list[tuple[Row, Path]]:
    """Return the files of proteins of a sample: those given, else the 10x matrices of RNA that hold some."""
    found = []
    for row in spec.rows:
        if row.proteins is not None:
            found.append((row, row.proteins))
        elif row.matrix is not None and spec.modality == "rna" and holds_proteins(read_header(row.matrix, "rna")):
            found.append((row, row.matrix))
    return found


def protein_names(var: pd.DataFrame) -> list[str]:
    """Return `adt:<name>` of every feature; a name that comes again gets a number."""
    names = [PREFIX + str(name).removeprefix(PREFIX) for name in var.index]
    return [str(name) for name in ad.utils.make_index_unique(pd.Index(names, dtype=object))]


def protein_matrix(
    spec: SampleSpec, files: list[tuple[Row, Path]], cells: list[str], library: list[str], batch: list[str]
) -> ad.AnnData:
    """Return the proteins of `cells`, (cells, proteins) counts: the union of the files, zero where a cell has none.

    Hashtags are left out. Raises UserError for values that are no counts, and for a file that shares no cell with the
    sample.
    """
    index = pd.Index(cells, dtype=object)
    numbers: dict[str, int] = {}
    parts = []
    for row, path in files:
        header = read_header(path, "protein")
        named = [spec.cell_name(row.library, barcode) for barcode in header.obs.index]
        place = index.get_indexer(pd.Index(named, dtype=object))
        rows = np.flatnonzero(place >= 0)
        if len(rows) == 0:
            raise strangers(named, cells, path, f"the cells of sample {spec.sample}")
        kept = ~header.var.index.astype(str).str.contains(HASHTAG, regex=True)
        values = sp.coo_matrix(counts_of(header, rows, "protein")[0][:, np.flatnonzero(kept)])
        columns = np.array([numbers.setdefault(name, len(numbers)) for name in protein_names(header.var[kept])], int)
        parts.append((values.data, place[rows][values.row], columns[values.col]))
    data, at, column = (np.concatenate(values) for values in zip(*parts, strict=True))
    counts = sp.csr_matrix((data, (at, column)), shape=(len(cells), len(numbers)))
    features = pd.DataFrame(index=pd.Index(list(numbers), dtype=object))
    return sample_matrix(
        counts, cells, library, batch, features, sample=spec.sample, modality=spec.modality, kind="proteins"
    )
