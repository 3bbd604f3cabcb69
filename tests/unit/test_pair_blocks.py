"""References and queries put on shared features in blocks of cells: as the whole would be, in little memory."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from cellpredx.matrix.h5ad import write_blocks
from cellpredx.matrix.sample_matrix import sample_matrix, write_h5ad
from cellpredx.reference import proteins

PEAK = """
import json, resource, sys
from cellpredx.cli import main
assert main(sys.argv[1:]) == 0
print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))
"""


def sample(name: str, genes: list[str], cells: int, seed: int, kind: str = "genes") -> ad.AnnData:
    rng = np.random.default_rng(seed)
    counts = sp.random(cells, len(genes), 0.3, "csr", np.float32, rng, lambda n: rng.integers(1, 9, n))
    table = pd.DataFrame({"gene_id": [f"id_{g}" for g in genes], "gene_name": genes}, index=genes)
    batch = [f"b{i % 3}" for i in range(cells)]
    return sample_matrix(
        counts, [f"{name}{i}" for i in range(cells)], ["lib"] * cells, batch, table, sample=name, modality="rna",
        kind=kind, recipe={"genome": "hg38"},
    )  # fmt: skip


@pytest.mark.parametrize("entries", [1, 700, 1 << 30])
def test_blocks_give_what_the_whole_gives(
    tmp_path: Path, run_verb: Callable[..., None], monkeypatch: pytest.MonkeyPatch, entries: int
) -> None:
    monkeypatch.setattr(proteins, "ENTRIES", entries)
    names = [f"G{i}" for i in range(60)]
    shuffled = list(np.random.default_rng(0).permutation([*names[5:], "X1", "X2"]))
    made = {"r1": sample("r1", names, 40, 1), "r2": sample("r2", names[::-1], 30, 2), "q": sample("q", shuffled, 90, 3)}
    for name, matrix in made.items():
        write_h5ad(matrix, tmp_path / f"{name}.h5ad")
    graph = sample("q", [f"P{i}" for i in range(20)], 90, 4, "genes")
    write_h5ad(graph, tmp_path / "graph.h5ad")
    run_verb(
        "pair", "--transfer", "t", "--group", "t", "--references", tmp_path / "r1.h5ad", tmp_path / "r2.h5ad",
        "--queries", tmp_path / "q.h5ad", "--graphs", tmp_path / "graph.h5ad", "--outdir", tmp_path / "pair",
    )  # fmt: skip
    query = ad.read_h5ad(tmp_path / "pair/queries/q.h5ad")
    shared = [name for name in names if name in shuffled]
    assert list(query.var_names) == shared
    np.testing.assert_array_equal(query.X.toarray(), made["q"][:, shared].X.toarray())
    assert query.X.dtype == np.float32
    assert query.X.has_sorted_indices
    assert query.obs.astype(str).equals(made["q"].obs.astype(str))
    assert dict(query.uns["cellpredx"]) == made["q"].uns["cellpredx"]
    reference = ad.read_h5ad(tmp_path / "pair/reference.h5ad")
    whole = sp.vstack([made[name][:, shared].X for name in ("r1", "r2")])
    np.testing.assert_array_equal(reference.X.toarray(), whole.toarray())
    cells = [*made["r1"].obs_names, *made["r2"].obs_names]
    assert list(reference.obs["barcode"]) == cells
    assert list(reference.obs_names) == [f"{cell[:2]}:{cell}" for cell in cells]
    assert list(reference.obs["batch"]) == [f"b{i % 3}" for i in [*range(40), *range(30)]]
    assert list(reference.var["gene_id"]) == [f"id_{name}" for name in shared]
    found = ad.read_h5ad(tmp_path / "pair/graphs/q.h5ad")
    np.testing.assert_array_equal(found.X.toarray(), graph.X.toarray())
    assert (tmp_path / "pair/graphs/q.h5ad").read_bytes() == (tmp_path / "graph.h5ad").read_bytes()


def test_a_matrix_without_entries_or_cells_is_written(tmp_path: Path) -> None:
    var = pd.DataFrame({"gene_id": ["g1", "g2"]}, index=["A", "B"])
    for cells in (3, 0):
        obs = pd.DataFrame({"batch": ["b"] * cells}, index=[f"c{i}" for i in range(cells)])
        blocks = [sp.csr_matrix((cells, 2), dtype=np.float32)] if cells else []
        write_blocks(tmp_path / "none.h5ad", blocks, obs, var, {"sample": "s"})
        found = ad.read_h5ad(tmp_path / "none.h5ad")
        assert found.shape == (cells, 2)
        assert found.X.nnz == 0


def write_many(path: Path, cells: int, features: int, name: str) -> int:
    """Write a matrix of `cells`, 250 entries each, block by block; return its size in memory in bytes."""

    def blocks() -> Iterator[sp.csr_matrix]:
        rng = np.random.default_rng(ord(name[0]))
        for begin in range(0, cells, 2000):
            rows = min(2000, cells - begin)
            columns = np.sort(rng.integers(0, features // 250, (rows, 250)) + np.arange(0, features, features // 250))
            yield sp.csr_matrix(
                (
                    np.ones(columns.size, np.float32),
                    columns.ravel().astype(np.int32),
                    np.arange(0, columns.size + 1, 250),
                ),
                shape=(rows, features),
            )

    names = [f"G{i}" for i in range(features)]
    var = pd.DataFrame({"gene_id": names, "gene_name": names}, index=names)
    obs = pd.DataFrame({"library": "l", "batch": "b"}, index=[f"{name}{i}" for i in range(cells)])
    write_blocks(path, blocks(), obs, var, {"sample": name, "modality": "rna", "kind": "genes"})
    return cells * 250 * 8


def test_memory_does_not_grow_with_the_cells_of_a_query(tmp_path: Path) -> None:
    features = 5000
    write_many(tmp_path / "r.h5ad", 200, features, "r")
    sizes, peaks = [], []
    for cells in (10_000, 40_000):
        sizes.append(write_many(tmp_path / f"q{cells}.h5ad", cells, features, "q"))
        command = [
            sys.executable, "-c", PEAK, "pair", "--transfer", "t", "--group", "t", "--references",
            str(tmp_path / "r.h5ad"), "--queries", str(tmp_path / f"q{cells}.h5ad"), "--outdir", str(tmp_path / "pair"),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ))
        peaks.append(json.loads(done.stdout.splitlines()[-1]) * 1024)
    # Names and pointers grow with the cells; the 60 MB of entries, of which the whole needed several copies, do not.
    assert sizes[1] - sizes[0] == 60_000_000
    assert peaks[1] - peaks[0] < 30_000_000
