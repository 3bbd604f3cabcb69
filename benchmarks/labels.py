"""How well the model labels real cells, beside simple classifiers: the table of docs/labels.md.

    benchmarks/labels.py --results labels.jsonl [--tasks archr bm] [--seeds 1 2 3] [--ablation] [--sensitivity]
    benchmarks/labels.py --results labels.jsonl --render docs/labels.md

Matrices are made by the package's own commands, joined, trained on and predicted by its own functions; the query's
labels enter its evaluation alone. Every result is a line appended to --results, and what is there is not computed
again: a new file for new code. The data are ../shared/data beside the checkout.
"""

import argparse
import contextlib
import hashlib
import io
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

# As in `cellpredx train`, before torch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

import numpy as np
import pandas as pd
from labels_table import BASELINES, PRESETS, render
from numpy.typing import NDArray
from real_tasks import REMOVED, STUDIED, TASKS, Matrices, Task, load, sampled, scenario_of

ROOT = Path(__file__).parents[1]
TARGET_ERROR = 0.05
# Early stop watches the sparse centre loss: almost no weight keeps it at work, none would switch it off.
NO_WEIGHT = 1e-6
ABLATIONS: dict[str, dict[str, float]] = {
    "all losses": {},
    "cross-entropy only": {"projection_weight": 0, "alpha": 0, "beta": 0, "gamma": NO_WEIGHT, "l1_weight": 0},
    "without projection (PR)": {"projection_weight": 0},
    "without contrastive (CL)": {"alpha": 0},
    "without alignment (FA)": {"beta": 0},
    "without sparse centre (SC)": {"gamma": NO_WEIGHT},
    "without L1": {"l1_weight": 0},
}
FACTORS = (0.25, 4.0)
PARAMETERS = ("alpha", "beta", "gamma", "tau", "aligned_share", "dimensions")
SHARES = (0.2, 0.4, 1.0)  # of query cells that are aligned: at most 1, and 0.8 in `paper`


def table_of(
    task: Task,
    scores: NDArray[np.float64],
    types: list[str],
    temperature: float,
    threshold: float,
    threshold_on: str = "confidence",
) -> pd.DataFrame:
    """Return what `cellpredx predict` writes of a query."""
    from cellpredx.model.commands import prediction_table
    from cellpredx.model.prediction import predict

    result = predict(scores, temperature)
    known = getattr(result, threshold_on) >= threshold
    return prediction_table(result, types, task.query.obs_names.astype(str), known)


def sides_of(task: Task) -> tuple[Any, Any, list[str]]:
    """Return reference and query as `fit` takes them, and the types."""
    from cellpredx.model.fit import Query, Reference
    from cellpredx.model.normalise import is_log1p

    types, y = np.unique(task.labels, return_inverse=True)
    batches = np.unique(task.reference.obs["batch"].astype(str), return_inverse=True)[1]
    is_log = [is_log1p(side.uns["cellpredx"]) for side in (task.reference, task.query)]
    reference = Reference(task.reference.X, y.astype(np.int64), len(types), batches, is_log[0])
    return reference, Query(task.query.X, task.graph.X if task.graph is not None else None, is_log[1]), types.tolist()


def modalities_of(task: Task) -> tuple[str, str]:
    return task.reference.uns["cellpredx"]["modality"], task.query.uns["cellpredx"]["modality"]


def ours(task: Task, preset: str, seed: int) -> tuple[pd.DataFrame, list[str], dict[str, Any]]:
    """Fit with calibration and predict, as `train` and `predict` do. Returns predictions, types and the training."""
    from cellpredx.model.fit import fit
    from cellpredx.model.normalise import model_input
    from cellpredx.model.prediction import logits as linear
    from cellpredx.model.presets import load as preset_of

    h = preset_of(preset, task.scenario)
    reference, query, types = sides_of(task)
    fitted = fit(reference, [query], modalities_of(task), h, target_error=TARGET_ERROR, threshold=None, seed=seed)
    x = model_input(task.query.X, task.query.uns["cellpredx"], vars(h))
    graph = task.graph.X if task.graph is not None else None
    both = fitted.ensemble
    placed = both.place(x, graph, within=True)
    scores = linear(x, both.weight, both.bias) + both.beyond(x, placed)
    novelty = both.members.novelty(placed) if both.members is not None and placed is not None else None
    calibration = fitted.calibration
    on, threshold = "confidence", calibration.threshold
    if h.unknown_below > 0:
        on, threshold = "paper_confidence", h.unknown_below
    about = {
        "iterations": fitted.training.iterations,
        "temperature": calibration.temperature,
        "threshold": threshold,
        "held_out_accuracy": calibration.held_out_accuracy,
    }
    table = table_of(task, scores, types, calibration.temperature, threshold, on)
    return table if novelty is None else table.assign(novelty=novelty), types, about


def single(task: Task, changes: dict[str, float], seed: int) -> tuple[pd.DataFrame, list[str], dict[str, Any]]:
    """Train `paper` with changed numbers once, without calibration, and predict."""
    import scipy.sparse as sp

    from cellpredx.model.device import CPU
    from cellpredx.model.features import Cells
    from cellpredx.model.fit import query_neighbours
    from cellpredx.model.normalise import model_input
    from cellpredx.model.prediction import logits
    from cellpredx.model.presets import load as preset_of
    from cellpredx.model.training import train

    h = replace(preset_of("paper", task.scenario), **changes)  # type: ignore[arg-type]
    reference, query, types = sides_of(task)
    near = query_neighbours([query], modalities_of(task)[1], h)
    sides = (task.reference, task.query)
    x_reference, x_query = (model_input(side.X, side.uns["cellpredx"], vars(h)) for side in sides)
    cells = Cells(sp.vstack([x_reference, x_query], format="csr"), CPU)
    training = train(cells, len(task.labels), reference.labels, len(types), near, h, seed)
    table = table_of(task, logits(x_query, *training.weights.folded()), types, 1.0, 0.0)
    return table, types, {"iterations": training.iterations}


class NotThereError(Exception):
    """A baseline that cannot be run here."""


def baseline(task: Task, name: str, seed: int) -> tuple[pd.DataFrame, list[str], dict[str, Any]]:
    """Fit one of the package's baselines on the same normalised features. Raises NotThereError."""
    from cellpredx.model.normalise import model_input
    from cellpredx.model.presets import load as preset_of

    try:
        from cellpredx.baselines import classifiers

        function = getattr(classifiers, name)
    except (ImportError, AttributeError) as error:
        raise NotThereError(str(error)) from error
    h = vars(preset_of("paper", task.scenario))
    types, y = np.unique(task.labels, return_inverse=True)
    x_reference, x_query = (model_input(m.X, m.uns["cellpredx"], h) for m in (task.reference, task.query))
    try:
        p = np.asarray(function(x_reference, y.astype(np.int64), len(types), x_query, seed))
    except classifiers.LeftOutError as error:
        raise NotThereError(str(error)) from error
    return table_of(task, np.log(np.maximum(p, 1e-300)), types.tolist(), 1.0, 0.0), types.tolist(), {}


def measured(task: Task, table: pd.DataFrame, types: list[str]) -> dict[str, Any]:
    """Return the metrics of predictions and each cell's verdict, in hex."""
    from cellpredx.evaluate.metrics import evaluate

    found = evaluate(table, task.truth, types)
    known = task.truth["cell_type"].isin(types).to_numpy()
    correct = (table["predicted"] == task.truth["cell_type"]).to_numpy()
    confidence = table["confidence"].to_numpy(float)[known]
    names = (
        "accuracy",
        "macro_f1",
        "coverage",
        "selective_accuracy",
        "ece",
        "ece_perfect",
        "ece_perfect_95",
        "novelty_auroc",
        "oscr",
        "shared_type_cells",
    )
    return {
        **{name: found[name] for name in names},
        "mean_confidence": float(confidence.mean()),
        "correct": np.packbits(correct[known]).tobytes().hex(),
    }


def sources() -> str:
    """Return a checksum of the package's model, baselines and evaluation: what a result depends on."""
    files = sorted(
        p
        for stage in ("matrix", "reference", "model", "baselines", "evaluate")
        for p in (ROOT / "src" / "cellpredx" / stage).glob("*.*")
    )
    return hashlib.sha256(b"".join(p.read_bytes() for p in files)).hexdigest()[:12]


@dataclass(frozen=True)
class Job:
    """One result to be made."""

    kind: str  # labels, ablation, sensitivity
    task: str
    without: str
    method: str
    seed: int
    changes: tuple[tuple[str, float], ...] = ()

    def key(self) -> tuple[str, ...]:
        return self.kind, self.task, self.without, self.method, str(self.seed)


def _ablations(scenario: str) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield what leaves out losses; not the alignment where `paper` has none."""
    from cellpredx.model.presets import load as preset_of

    aligned = preset_of("paper", scenario).beta > 0
    yield from ((name, changes) for name, changes in ABLATIONS.items() if aligned or set(changes) != {"beta"})


def _sensitivity(scenario: str) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield the changes of one number each; a loss without weight has none to change."""
    from cellpredx.model.presets import load as preset_of

    h = preset_of("paper", scenario)
    for name in PARAMETERS:
        value = getattr(h, name)
        if name == "aligned_share":
            yield from ((f"{name} = {share:g}", {name: share}) for share in SHARES if h.beta > 0)
        elif value > 0:
            yield from ((f"{name} x {factor:g}", {name: type(value)(factor * value)}) for factor in FACTORS)


def jobs(args: argparse.Namespace) -> Iterator[Job]:
    """Yield what is asked for, cheap tasks first."""
    for task in [t for t in TASKS if t in args.tasks]:
        for seed in args.seeds:
            if args.ablation or args.sensitivity:
                if task not in STUDIED:
                    continue
                for name, changes in _ablations(scenario_of(task)) if args.ablation else ():
                    yield Job("ablation", task, "", name, seed, tuple(changes.items()))
                for name, changes in _sensitivity(scenario_of(task)) if args.sensitivity else ():
                    yield Job("sensitivity", task, "", name, seed, tuple(changes.items()))
                continue
            for without in ("", *(REMOVED.get(task, ()) if not args.whole else ())):
                for method in args.methods:
                    yield Job("labels", task, without, method, seed)


def compute(job: Job, task: Task) -> dict[str, Any]:
    """Make one result."""
    if job.without:
        task = task.without(job.without)
    task = sampled(task, job.seed)
    begin = perf_counter()
    if job.kind != "labels":
        table, types, about = single(task, dict(job.changes), job.seed)
    elif job.method in PRESETS:
        table, types, about = ours(task, job.method, job.seed)
    else:
        table, types, about = baseline(task, job.method, job.seed)
    spent = perf_counter() - begin
    return {"scenario": task.scenario, "seconds": round(spent, 1), **about, **measured(task, table, types)}


def read(path: Path) -> dict[tuple[str, ...], dict[str, Any]]:
    """Return the results that are there, by job."""
    if not path.is_file():
        return {}
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {tuple(str(r[k]) for k in ("kind", "task", "without", "method", "seed")): r for r in lines}


def run(args: argparse.Namespace) -> None:
    """Make every result that is not there yet."""
    import torch

    from cellpredx import __version__

    torch.set_num_threads(args.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    if not args.data.is_dir():
        sys.exit(f"no real data: {args.data} is not there; give --data")
    code, done, failed = sources(), read(args.results), set()
    with tempfile.TemporaryDirectory() as scratch:
        matrices = Matrices(args.data, Path(scratch))
        loaded: dict[tuple[str, int], Task] = {}
        for job in jobs(args):
            if job.key() in done or job.method in failed:
                continue
            if (job.task, job.seed) not in loaded:
                loaded = {(job.task, job.seed): load(matrices, job.task, job.seed)}
            try:
                with contextlib.redirect_stderr(io.StringIO()):
                    result = compute(job, loaded[job.task, job.seed])
            except NotThereError as error:
                print(f"{job.method} is not there, and is left out: {error}", file=sys.stderr)
                failed.add(job.method)
                continue
            about = {"kind": job.kind, "task": job.task, "without": job.without, "method": job.method, "seed": job.seed}
            line = {**about, "version": __version__, "sources": code, **result}
            with open(args.results, "a", encoding="utf-8") as handle:
                handle.write(json.dumps(line) + "\n")
            said = {name: result[name] for name in ("accuracy", "macro_f1", "novelty_auroc", "seconds")}
            print(*about.values(), said, file=sys.stderr, flush=True)


def main() -> None:
    """Make results, or the table of those that are there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--results", type=Path, required=True, help="JSON lines, one a result; continued where it stops"
    )
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--tasks", nargs="*", default=TASKS, choices=TASKS)
    parser.add_argument("--methods", nargs="*", default=(*PRESETS, *BASELINES), choices=(*PRESETS, *BASELINES))
    parser.add_argument("--seeds", nargs="*", type=int, default=[1, 2, 3])
    parser.add_argument("--whole", action="store_true", help="no types taken out of the reference")
    parser.add_argument("--ablation", action="store_true", help="single trainings without each of the losses")
    parser.add_argument("--sensitivity", action="store_true", help="single trainings with other hyper-parameters")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--render", type=Path, help="write the tables of what is in --results, and compute nothing")
    args = parser.parse_args()
    if args.render:
        names = list(dict.fromkeys(name for task in ("archr", "bm") for name, _ in _sensitivity(scenario_of(task))))
        render(list(read(args.results).values()), args.render, list(ABLATIONS), names)
    else:
        run(args)


if __name__ == "__main__":
    main()
