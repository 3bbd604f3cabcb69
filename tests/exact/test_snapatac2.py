"""SnapATAC2 2.9.0 on identical input: no value may differ."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from cellpredx.core.files import read_csv
from tests.exact.conftest import Record
from tests.exact.inputs import DATA, INPUTS, Input

PEER = "SnapATAC2 2.9.0"
SIDE = Path(__file__).with_name("snapatac2_side.py")
STRATEGIES = ("paired-insertion", "insertion", "fragment")


@dataclass(frozen=True)
class Sides:
    """An input, the folder of what SnapATAC2 made of it, and ours: barcodes.csv, fragment_sizes.csv and the store."""

    given: Input
    theirs: Path
    ours: Path


@pytest.fixture(scope="module", params=list(INPUTS))
def sides(request: pytest.FixtureRequest, peers: Path, tmp_path_factory: pytest.TempPathFactory) -> Sides:
    """Run both sides once."""
    if request.param != "hard" and not (DATA / request.param).is_dir():
        pytest.skip(f"no {request.param}: ../shared/data is not beside the checkout")
    folder = tmp_path_factory.mktemp("sides")
    given: Input = INPUTS[request.param](folder)
    theirs = folder / "theirs"
    theirs.mkdir()
    # Its gene intervals end one base early.
    lines = [line.split("\t") for line in given.genes.read_text().splitlines()]
    longer = folder / "longer.gtf"
    longer.write_text("".join("\t".join([*f[:4], str(int(f[4]) + 1), *f[5:]]) + "\n" for f in lines))
    described = {**{name: str(path) for name, path in asdict(given).items()}, "genes": str(longer)}
    (folder / "input.json").write_text(json.dumps(described))
    done = subprocess.run([peers, SIDE, folder / "input.json", theirs], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    return Sides(given, theirs, folder / "ours")


@pytest.fixture
def ingested(sides: Sides, spec_text: Callable[..., str], run_verb: Callable[..., None]) -> Sides:
    """Read the fragments on our side, once."""
    if not sides.ours.is_dir():
        given = sides.given
        spec = spec_text({"fragments": given.fragments, "barcodes": given.barcodes})
        arguments = ["--annotation", given.tss, "--chrom-sizes", given.sizes]
        run_verb(
            "ingest-fragments", "--spec", spec, *arguments, "--store", sides.ours / "store", "--outdir", sides.ours
        )
    return sides


def test_quality_of_every_barcode(ingested: Sides, record: Record) -> None:
    ours = read_csv(ingested.ours / "barcodes.csv", texts=("barcode",)).set_index("barcode")
    theirs = pd.read_csv(ingested.theirs / "qc.csv", index_col="barcode").loc[ours.index]
    assert len(ours) == len(pd.read_csv(ingested.theirs / "qc.csv"))
    # Its count of fragments leaves the mitochondrion out.
    mitochondrial = ours["fragments"] * ours["mitochondrial_fraction"]
    np.testing.assert_allclose(ours["fragments"] - mitochondrial, theirs["n_fragment"], atol=0.01, rtol=0)
    record(PEER, ingested.given.name, "fragments a barcode, without chrM", len(ours), "0 differ")
    for name, peer in (
        ("duplicate_fraction", "frac_dup"),
        ("mitochondrial_fraction", "frac_mito"),
        ("tss_enrichment", "tsse"),
    ):
        # The table has six significant digits.
        expected = [float(f"{value:.6g}") for value in theirs[peer]]
        np.testing.assert_array_equal(ours[name], expected, err_msg=name)
        record(PEER, ingested.given.name, name.replace("_", " "), len(ours), "0 differ")
    assert theirs["tsse"].nunique() > 10


def test_fragment_lengths(ingested: Sides, record: Record) -> None:
    ours = pd.read_csv(ingested.ours / "fragment_sizes.csv")["fragments"].to_numpy()
    theirs = np.load(ingested.theirs / "sizes.npy")
    # It counts those over 1,000 bp at 0; ours are with those of 1,000.
    np.testing.assert_array_equal(ours, np.r_[0, theirs[1:1000], theirs[1000] + theirs[0]])
    record(PEER, ingested.given.name, "fragments by length", len(ours), "0 differ")


CASES = [(kind, strategy) for kind in ("peaks", "genes", "windows") for strategy in STRATEGIES]


@pytest.mark.parametrize(("kind", "strategy"), [case for case in CASES if case != ("windows", "fragment")])
def test_matrix(
    ingested: Sides, tmp_path: Path, run_verb: Callable[..., None], record: Record, kind: str, strategy: str
) -> None:
    given, out = ingested.given, tmp_path / "matrix.h5ad"
    own = {
        "peaks": ["--kind", "peaks", "--peaks", given.peaks],
        "genes": ["--kind", "gene_activity", "--annotation", given.genes],
        "windows": ["--kind", "windows", "--window-size", 500],
    }[kind]
    run_verb(
        "count", "--store", ingested.ours / "store", *own, "--counting", strategy,
        "--chrom-sizes", given.sizes, "--out", out,
    )  # fmt: skip
    ours = ad.read_h5ad(out)
    theirs = sp.csc_matrix(sp.load_npz(ingested.theirs / f"{kind}_{strategy}.npz"))
    names = json.loads((ingested.theirs / f"{kind}_{strategy}.json").read_text())
    columns = pd.Index(names["columns"])
    if kind == "windows":
        # It has every window of the genome, the last cut at the chromosome's end: by their starts.
        used = np.flatnonzero(theirs.getnnz(axis=0))
        theirs, columns = theirs[:, used], columns[used].str.replace(r"-\d+$", "", regex=True)
        ours.var_names = ours.var_names.str.replace(r"-\d+$", "", regex=True)
    assert sorted(columns) == sorted(ours.var_names)
    assert sorted(names["rows"]) == sorted(ours.obs_names)
    placed = theirs[:, columns.get_indexer(ours.var_names)].tocsr()[pd.Index(names["rows"]).get_indexer(ours.obs_names)]
    assert ours.X.nnz > 1000
    assert (sp.csr_matrix(placed, dtype=np.float32) != ours.X).nnz == 0
    record(PEER, given.name, f"{kind}, `{strategy}`", ours.n_obs * ours.n_vars, "0 differ")
    if kind == "peaks":
        frip = read_csv(tmp_path / "frip.csv", texts=("barcode",)).set_index("barcode")["frip"]
        expected = pd.read_csv(ingested.theirs / "qc.csv", index_col="barcode").loc[frip.index, "frip"]
        np.testing.assert_array_equal(frip, [float(f"{value:.6g}") for value in expected])
        record(PEER, given.name, "FRiP", len(frip), "0 differ")
