"""CellTypist's side of `classifiers.celltypist`: run by the interpreter of its own environment, not of this package's.

It is given a folder with reference.npz, query.npz (CSR matrices of log1p values, 1e4 a cell), y.npy (a type a
reference cell), seed and the cells that are made dense at a time; it leaves scores.npy there, a column a type of y in
order. Models are never fetched or written.
"""

import sys
from pathlib import Path

import anndata as ad
import celltypist
import numpy as np
import scipy.sparse as sp


def main(folder: Path, seed: int, block: int) -> None:
    """Train with CellTypist's defaults and score the query, a block of cells at a time."""
    reference = sp.csr_matrix(sp.load_npz(folder / "reference.npz"))
    query = sp.csr_matrix(sp.load_npz(folder / "query.npz"))
    y = np.load(folder / "y.npy")
    # Numbers of one width, so that CellTypist's order of texts is that of the numbers.
    names = np.array([f"f{i}" for i in range(reference.shape[1])])
    labels = np.char.zfill(y.astype(str), 6)
    model = celltypist.train(reference, labels, genes=names, check_expression=True, random_state=seed)
    scores = []
    for begin in range(0, query.shape[0], block):
        cells = ad.AnnData(query[begin : begin + block])
        cells.var_names = names
        scores.append(celltypist.annotate(cells, model=model).decision_matrix.to_numpy())
    np.save(folder / "scores.npy", np.concatenate(scores))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
