"""SnapATAC2's side of the comparison, run in the peers' environment: `python snapatac2_side.py input.json folder`.

Writes qc.csv (every barcode), sizes.npy (fragments by length), and <kind>_<strategy>.npz with <kind>_<strategy>.json
(row and column names) of the called cells.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
import snapatac2 as snap

STRATEGIES = ("paired-insertion", "insertion", "fragment")


def main(source: Path, out: Path) -> None:
    """Compute and write."""
    assert snap.__version__ == "2.9.0", snap.__version__
    given: dict[str, Any] = json.loads(source.read_text())
    sizes = {
        name: int(size) for name, size in (line.split("\t") for line in Path(given["sizes"]).read_text().splitlines())
    }
    settings = {"min_num_fragments": 0, "sorted_by_barcode": False, "tempdir": out}

    every = snap.pp.import_fragments(given["fragments"], sizes, **settings)
    snap.metrics.tsse(every, given["tss"])
    snap.metrics.frip(every, {"frip": given["peaks"]})
    obs = every.obs[["n_fragment", "frac_dup", "frac_mito", "tsse", "frip"]]
    pd.DataFrame({name: np.asarray(obs[name]) for name in obs.columns}, index=list(every.obs_names)).to_csv(
        out / "qc.csv", index_label="barcode"
    )
    snap.metrics.frag_size_distr(every, max_recorded_size=1000)
    np.save(out / "sizes.npy", np.asarray(every.uns["frag_size_distr"]))

    cells = Path(given["barcodes"]).read_text().split()
    data = snap.pp.import_fragments(given["fragments"], sizes, whitelist=cells, **settings)
    for strategy in STRATEGIES:
        peaks = snap.pp.make_peak_matrix(data, peak_file=given["peaks"], counting_strategy=strategy)
        genes = snap.pp.make_gene_matrix(data, given["genes"], counting_strategy=strategy)
        matrices = {"peaks": peaks, "genes": genes}
        if strategy != "fragment":
            snap.pp.add_tile_matrix(data, bin_size=500, exclude_chroms=["chrM"], counting_strategy=strategy)
            matrices["windows"] = data
        for kind, matrix in matrices.items():
            name = f"{kind}_{strategy}"
            sp.save_npz(out / f"{name}.npz", sp.csr_matrix(matrix.X[:]))
            names = {"rows": list(matrix.obs_names), "columns": list(matrix.var_names)}
            (out / f"{name}.json").write_text(json.dumps(names))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
