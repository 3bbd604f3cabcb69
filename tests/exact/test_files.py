"""The same fragments in any order, in one file or several, compressed in any way: the same bytes."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pysam
import pytest

from tests.exact.conftest import Record
from tests.exact.inputs import DATA, INPUTS, Input

KINDS: dict[str, Callable[[Input], list[Any]]] = {
    "peaks": lambda given: ["--peaks", given.peaks],
    "windows": lambda given: ["--window-size", 500],
    "gene_activity": lambda given: ["--annotation", given.genes],
    "archr": lambda given: ["--annotation", given.genes, "--gene-model", "archr"],
}


def layouts(lines: list[str], folder: Path) -> dict[str, list[Path]]:
    """Write the lines of a sorted fragment file in every layout; each is the files of one library."""
    rng = np.random.default_rng(5)
    shuffled = [lines[i] for i in rng.permutation(len(lines))]
    third = len(lines) // 3
    texts = {
        "plain": lines,
        "shuffled": shuffled,
        "lane1": sorted(shuffled[:third]),
        "lane2": shuffled[third:],
        "with_head": ["# fragments\n", *lines],
        "windows_ends": [line.replace("\n", "\r\n") for line in lines],
    }
    paths = {}
    for name, text in texts.items():
        paths[name] = folder / f"{name}.tsv"
        paths[name].write_bytes("".join(text).encode())
    for name in ("plain", "shuffled", "lane1"):
        paths[f"{name}.gz"] = folder / f"{name}_gzip.tsv.gz"
        paths[f"{name}.gz"].write_bytes(gzip.compress(paths[name].read_bytes()))
    for name in ("plain", "shuffled", "lane2"):
        paths[f"{name}.bgz"] = folder / f"{name}_bgzf.tsv.gz"
        pysam.tabix_compress(str(paths[name]), str(paths[f"{name}.bgz"]))
    paths["indexed"] = folder / "indexed.tsv.gz"
    paths["indexed"].write_bytes(paths["plain.bgz"].read_bytes())
    pysam.tabix_index(str(paths["indexed"]), preset="bed")
    alone = ["plain", "shuffled", "with_head", "windows_ends", "plain.gz", "shuffled.gz", "plain.bgz", "shuffled.bgz"]
    return {
        **{name: [paths[name]] for name in [*alone, "indexed"]},
        "lanes": [paths["lane1"], paths["lane2"]],
        "lanes in the other order, compressed": [paths["lane2.bgz"], paths["lane1.gz"]],
    }


@pytest.mark.parametrize("name", list(INPUTS))
def test_every_layout_gives_the_same_bytes(
    tmp_path: Path, spec_text: Callable[..., str], run_verb: Callable[..., None], record: Record, name: str
) -> None:
    if name != "hard" and not (DATA / name).is_dir():
        pytest.skip(f"no {name}: ../shared/data is not beside the checkout")
    given: Input = INPUTS[name](tmp_path)
    opener = gzip.open if given.fragments.suffix == ".gz" else open
    with opener(given.fragments, "rt") as handle:
        lines = sorted(handle, key=lambda line: (line.split("\t")[0], *map(int, line.split("\t")[1:3])))
    first: dict[str, bytes] = {}
    found = layouts(lines, tmp_path)
    for number, (layout, files) in enumerate(found.items()):
        folder = tmp_path / f"out{number}"
        spec = spec_text(*({"fragments": path, "barcodes": given.barcodes} for path in files))
        genome = ["--chrom-sizes", given.sizes]
        run_verb(
            "ingest-fragments", "--spec", spec, "--annotation", given.tss, *genome,
            "--store", folder / "store", "--outdir", folder,
        )  # fmt: skip
        for kind, arguments in KINDS.items():
            own = ["--kind", "gene_activity" if kind == "archr" else kind, *arguments(given)]
            run_verb("count", "--store", folder / "store", *own, *genome, "--out", folder / f"{kind}.h5ad")
        result = {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}
        assert {"barcodes.csv", "sample.json", "peaks.h5ad", "archr.h5ad"} < set(result)
        for file, content in result.items():
            assert content == first.setdefault(file, content), f"{file} of the layout `{layout}` differs"
    what = f"{', '.join(sorted(first))}: bytes in {len(found)} layouts of the file"
    record("itself", name, what, sum(map(len, first.values())), "0 differ")
