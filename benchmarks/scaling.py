"""How training and prediction grow with cells and features: time and peak memory of the commands, a table and a figure.

    benchmarks/scaling.py --out docs/scaling_model [--preset tuned] [--cache FOLDER] [--max-cells 50000]
        [--results FILE]

Simulated cells, half of them reference and half query, are written once to the cache, as `cellpredx pair` leaves them.
Each command is a whole process measured by the kernel. A point is a line of --results (in the cache, if not given) and
is not measured again; the table and the figure show what is there.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from fragments import Cost, measure, total

CELLS = (10_000, 50_000, 100_000, 200_000)
TYPES = 20
BLOCK = 50_000
COMMAND = (sys.executable, "-c", "import sys; from cellpredx.cli import main; sys.exit(main())")
HEAD = """# How training and prediction grow

Made by `benchmarks/scaling.py`, version {versions}, on {cores} cores: simulated cells of {types} types, half of them
reference and half query. Each command is a whole process, reading and writing its files, measured by the kernel.
Training is `cellpredx train`, preset `{preset}` with its {iterations} iterations at most for one modality: graph,
training, and calibration by two more trainings. Prediction is of the whole query: `fit-query`, then `predict` in blocks
of {block:,} cells one after the other, then `annotate`. Memory is the largest of any process.

The figure has CPU seconds of all threads, which other work on the machine moves less than the clock.

![Time and peak memory against cells]({figure})

"""


@dataclass(frozen=True)
class Features:
    """What is measured: how many features of which kind, and their density."""

    kind: str
    number: int
    density: float

    def __str__(self) -> str:
        return f"{self.number:,} {self.kind}"


FEATURES = (Features("genes", 5_000, 0.05), Features("genes", 20_000, 0.05), Features("peaks", 50_000, 0.02))
POINTS = {
    "paper": [(features, cells) for cells in CELLS for features in FEATURES],
    "tuned": [(FEATURES[1], 20_000), *((FEATURES[0], cells) for cells in CELLS)],
}


def _matrix(sample: str, counts: Any, features: Features) -> Any:
    """Return an AnnData of counts as the package's commands write it."""
    import pandas as pd

    from cellpredx.matrix.sample_matrix import sample_matrix

    numbers = pd.RangeIndex(features.number)
    if features.kind == "genes":
        names = "gene" + numbers.astype(str)
        table = pd.DataFrame({"gene_id": names, "gene_name": names}, index=names)
    else:
        starts = 1000 * numbers.to_numpy()
        names = pd.Index([f"chr1:{start}-{start + 500}" for start in starts])
        table = pd.DataFrame({"chrom": "chr1", "start": starts, "end": starts + 500}, index=names)
    cells = counts.shape[0]
    barcodes = [f"cell{i}" for i in range(cells)]
    modality = "rna" if features.kind == "genes" else "atac"
    one = [sample] * cells
    return sample_matrix(counts, barcodes, one, one, table, sample=sample, modality=modality, kind=features.kind)


def simulated_pair(folder: Path, features: Features, cells: int) -> Path:
    """Write a pair's folder and the reference's labels, where they are not there."""
    import pandas as pd
    from simulated import counts_of, profiles_of

    from cellpredx.core.files import atomic, write_json
    from cellpredx.matrix.sample_matrix import write_h5ad

    if folder.is_dir():
        return folder
    print(f"simulating {cells:,} cells, {features}", file=sys.stderr, flush=True)
    profiles = profiles_of(TYPES, features.number, 1)
    with atomic(folder) as part:
        counts, labels = counts_of(cells // 2, profiles, features.density, 2)
        reference = _matrix("reference", counts, features)
        reference.obs = reference.obs.assign(sample="reference", barcode=reference.obs_names)
        table = pd.DataFrame({"barcode": reference.obs_names, "cell_type": [f"type{k}" for k in labels]})
        reference.obs_names = "reference:" + reference.obs_names
        write_h5ad(reference, part / "reference.h5ad")
        table.to_csv(part / "labels.csv", index=False)
        del reference
        counts, _ = counts_of(cells - cells // 2, profiles, features.density, 3)
        write_h5ad(_matrix("query", counts, features), part / "queries" / "query.h5ad")
        modality = "rna" if features.kind == "genes" else "atac"
        about = {"transfer": "g", "group": "g", "scenario": modality, "references": ["reference"], "queries": ["query"]}
        write_json({**about, "reference_modality": modality, "query_modality": modality}, part / "pair.json")
    return folder


def train(pair: Path, preset: str, threads: int, cwd: Path) -> Cost:
    """Train as the workflow does."""
    labels = f"reference={pair / 'labels.csv'}"
    more = ("--preset", preset, "--threads", threads, "--device", "cpu")
    to = ("--training", "training.json", "--bundle", "model")
    return measure(*COMMAND, "train", "--pair", pair, "--labels", labels, *more, *to, cwd=cwd)


def predict(pair: Path, cells: int, cwd: Path) -> dict[str, Cost]:
    """Annotate the query as the workflow does, one block after the other."""
    of = ("--bundle", "model", "--query", pair / "queries" / "query.h5ad")
    costs = {"fit-query": measure(*COMMAND, "fit-query", *of, "--outdir", ".", cwd=cwd)}
    begins = range(0, cells, BLOCK)
    fitted = (*of, "--fit", "query_fit")
    blocks = [
        measure(*COMMAND, "predict", *fitted, "--begin", begin, "--cells", BLOCK, "--out", f"part_{begin}", cwd=cwd)
        for begin in begins
    ]
    parts = [f"part_{begin}" for begin in begins]
    costs["predict"] = total(blocks)
    costs["annotate"] = measure(*COMMAND, "annotate", *fitted, "--parts", *parts, cwd=cwd)
    return costs


def point(features: Features, cells: int, preset: str, cache: Path, threads: int) -> dict[str, Any]:
    """Measure one size."""
    from cellpredx import __version__

    # In a process of its own: the kernel counts what a parent holds as the peak of its children.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        folder = cache / f"{features.kind}_{features.number}_{cells}"
        pair = pool.submit(simulated_pair, folder, features, cells).result()
    scratch = Path(tempfile.mkdtemp(dir=cache))
    try:
        costs = {"train": train(pair, preset, threads, scratch), **predict(pair, cells - cells // 2, scratch)}
        training = json.loads((scratch / "training.json").read_text())
    finally:
        shutil.rmtree(scratch)
    about = {"kind": features.kind, "features": features.number, "density": features.density, "cells": cells}
    load = round(os.getloadavg()[1], 1)
    return {
        **about,
        "version": __version__,
        "iterations": training["iterations"],
        "most_iterations": training["hyperparameters"]["iterations"],
        "load": load,
        **{name: asdict(cost) for name, cost in costs.items()},
    }


def _predicting(line: dict[str, Any]) -> Cost:
    return total([Cost(**line[name]) for name in ("fit-query", "predict", "annotate")])


def table(lines: list[dict[str, Any]]) -> str:
    """Return every size as Markdown."""
    header = ["cells", "features", "density", "iterations", "training, s", "training, CPU s", "training, MB"]
    header += ["fit-query, s", "predict, s", "annotate, s", "prediction, MB", "load of the machine"]
    rows = [header, ["---"] * len(header)]
    for line in lines:
        training = Cost(**line["train"])
        rows.append(
            [
                f"{line['cells']:,}",
                f"{line['features']:,} {line['kind']}",
                f"{line['density']:.0%}",
                f"{line['iterations']:,}",
                f"{training.wall:,.0f}",
                f"{training.cpu:,.0f}",
                f"{training.memory:,.0f}",
                *(f"{line[name]['wall']:,.1f}" for name in ("fit-query", "predict", "annotate")),
                f"{_predicting(line).memory:,.0f}",
                f"{line['load']:.1f}",
            ]
        )
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def figure(lines: list[dict[str, Any]], path: Path) -> None:
    """Draw time of training and prediction, and peak memory, against the cells."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "cellpredx"
    import matplotlib.pyplot as plt

    drawn, axes = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained")
    for features, colour in zip(FEATURES, ("#0072B2", "#E69F00", "#009E73"), strict=True):
        own = [line for line in lines if (line["kind"], line["features"]) == (features.kind, features.number)]
        if not own:
            continue
        cells = [line["cells"] for line in own]
        training, predicting = [Cost(**line["train"]) for line in own], [_predicting(line) for line in own]
        axes[0].plot(cells, [c.cpu for c in training], "o-", color=colour, label=str(features))
        axes[1].plot(cells, [c.cpu for c in predicting], "s--", color=colour)
        axes[2].plot(cells, [c.memory / 1024 for c in training], "o-", color=colour)
        axes[2].plot(cells, [c.memory / 1024 for c in predicting], "s--", color=colour)
    for axis, label in zip(axes, ("Training (CPU s)", "Prediction (CPU s)", "Peak memory (GB)"), strict=True):
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xticks(CELLS, [f"{cells // 1000}k" for cells in CELLS])
        axis.minorticks_off()
        axis.set_xlabel("Cells (half reference, half query)")
        axis.set_ylabel(label)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False)
    axes[2].plot([], [], "o-", color="grey", label="training")
    axes[2].plot([], [], "s--", color="grey", label="prediction")
    axes[2].legend(frameon=False)
    drawn.savefig(path, metadata={"Date": None})


def read(path: Path) -> list[dict[str, Any]]:
    """Return the points that are there, by features and cells."""
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    return sorted(lines, key=lambda line: (line["kind"], line["features"], line["cells"]))


def main() -> None:
    """Measure, and write the table and the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "cellpredx-scaling")
    parser.add_argument("--results", type=Path, help="JSON lines, one a point; continued where it stops")
    parser.add_argument("--preset", choices=sorted(POINTS), default="paper")
    parser.add_argument("--max-cells", type=int, default=max(CELLS), help="leave out what has more")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True, help="path of the results, without a suffix")
    args = parser.parse_args()
    args.cache.mkdir(parents=True, exist_ok=True)
    cache = args.cache.resolve()
    results = args.results or cache / f"{args.preset}.jsonl"
    done = {(line["kind"], line["features"], line["cells"]) for line in read(results)}
    for features, cells in POINTS[args.preset]:
        if cells > args.max_cells or (features.kind, features.number, cells) in done:
            continue
        line = point(features, cells, args.preset, cache, args.threads)
        with open(results, "a", encoding="utf-8") as handle:
            handle.write(json.dumps(line) + "\n")
        print(line, file=sys.stderr, flush=True)
    lines = read(results)
    head = HEAD.format(
        versions=", ".join(sorted({line["version"] for line in lines})),
        cores=os.cpu_count(),
        types=TYPES,
        preset=args.preset,
        iterations=" or ".join(map(str, sorted({line["most_iterations"] for line in lines}))),
        block=BLOCK,
        figure=f"{args.out.name}.svg",
    )
    args.out.with_suffix(".md").write_text(head + table(lines), encoding="utf-8")
    figure(lines, args.out.with_suffix(".svg"))
    print(table(lines))


if __name__ == "__main__":
    main()
