"""What the members of `tuned` are worth, and how it stands where queries are shifted: the tables of docs/tuned.md.

    benchmarks/tuned.py --results tuned.jsonl [--ablation] [--shifts] [--landmarks] [--seeds 1 2 3]
    benchmarks/tuned.py --results tuned.jsonl --render docs/tuned.md

Single fits without calibration, by the package's own functions. Every result is a line appended to --results, and
what is there is not computed again. The data are ../shared/data beside the checkout.
"""

import argparse
import contextlib
import io
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

# As in `cellpredx train`, before torch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

import numpy as np
import torch
from labels import ROOT, baseline, modalities_of, sides_of, table_of
from real_tasks import Matrices, Task, load, sampled
from shifts import KEPT, PROTOCOLS, STUDIED, protocols

from cellpredx.evaluate.metrics import evaluate
from cellpredx.model import spectral
from cellpredx.model.fit import train_model
from cellpredx.model.members import ensemble
from cellpredx.model.normalise import model_input
from cellpredx.model.presets import Hyperparameters
from cellpredx.model.presets import load as preset_of

ABLATED = ("archr", "snare_unmatched", "bm", "snare_atac", "symphony_3pv1", "snare_rna")
ACROSS: dict[str, dict[str, Any]] = {
    "tuned": {},
    "without the network": {"network_share": 0.0, "network_share_sure": 0.0},
    "network at a quarter": {"network_share": 0.25, "network_share_sure": 0.25},
    "one graph, 15 components, k 15": {"graph_components": (15,), "graph_neighbours": (15,)},
    "without smoothing": {"smoothing": 0.0},
    "smoothed once": {"smoothing_steps": 1},
    "without class weights": {"class_balance": 0.0},
}
WITHIN: dict[str, dict[str, Any]] = {
    "tuned": {},
    "without the network": {"network_share": 0.0, "network_share_sure": 0.0},
    "network at a quarter": {"network_share": 0.25, "network_share_sure": 0.25},
    "without the joint embedding": {"embedded_share": 0.0},
    "the joint embedding alone, and the network": {"embedded_share": 1.0},
    "one prefix of 30": {"spectral_components": (30,)},
    "without smoothing": {"smoothing": 0.0},
    "without class weights": {"class_balance": 0.0},
}
LANDMARKED = ("snare_atac", "bm", "snare_rna", "symphony_5p")
SHARES = (1.0, 0.5, 0.2, 0.1)


def scores(task: Task, table: Any, types: list[str]) -> dict[str, Any]:
    """Return accuracy and macro-F1."""
    found = evaluate(table, task.truth, types)
    return {name: found[name] for name in ("accuracy", "macro_f1")}


class Fitted:
    """A task with its network trained once, to put members of other numbers beside it."""

    def __init__(self, task: Task, seed: int, preset: str = "tuned") -> None:
        self.task, self.h = task, preset_of(preset, task.scenario)
        self.reference, query, self.types = sides_of(task)
        alone = replace(self.h, network_share=1.0)
        training, *_ = train_model(self.reference, [query], modalities_of(task), alone, seed)
        self.network = training.weights.folded()
        sides = (task.reference, task.query)
        self.x = [model_input(side.X, side.uns["cellpredx"], vars(self.h)) for side in sides]
        self.graph = task.graph.X if task.graph is not None else None

    def measured(self, h: Hyperparameters) -> dict[str, Any]:
        """Return the scores of a preset's numbers, and the share that the network got."""
        own = self.reference.labels
        both = ensemble(self.network, self.x[0], own, len(self.types), self.x[1], h, modalities_of(self.task))
        logits = both.logits(self.x[1], both.place(self.x[1], self.graph, within=True))
        table = table_of(self.task, logits, self.types, 1.0, 0.0)
        return {**scores(self.task, table, self.types), "share": both.network_share}

    def by_landmarks(self, share: float) -> dict[str, Any]:
        """Return the scores where the spectral map is made from a share of the cells."""
        whole = spectral.LANDMARKS
        spectral.LANDMARKS = int(share * sum(x.shape[0] for x in self.x))
        try:
            return self.measured(self.h)
        finally:
            spectral.LANDMARKS = whole


def variants(task: str, h: Hyperparameters) -> Iterator[tuple[str, Hyperparameters]]:
    """Yield the ablations that change something."""
    for name, changes in (ACROSS if h.graph_components else WITHIN).items():
        changed = replace(h, **changes)
        if name == "tuned" or changed != h:
            yield name, changed


def against(task: Task, seed: int) -> dict[str, dict[str, Any]]:
    """Return the scores of `tuned`, of `paper`, and of the linear baseline."""
    fitted = Fitted(task, seed)
    # Within a modality `paper` is the same network; across, it trains for longer.
    alone = replace(fitted.h, network_share=1.0)
    paper = fitted if task.scenario in ("rna", "atac") else Fitted(task, seed, "paper")
    table, types, _ = baseline(task, "logistic_regression", seed)
    return {
        "tuned": fitted.measured(fitted.h),
        "paper": paper.measured(alone),
        "logistic_regression": scores(task, table, types),
    }


def jobs(args: argparse.Namespace, matrices: Matrices) -> Iterator[tuple[str, str, str, int, Any]]:
    """Yield (kind, task, shift, seed, what makes the task)."""
    for seed in args.seeds:
        for kind, names in (("ablation", ABLATED), ("landmarks", LANDMARKED)):
            for name in names if getattr(args, kind) else ():
                yield kind, name, "", seed, lambda name=name, seed=seed: load(matrices, name, seed)
        if args.shifts:
            for kind, shifts in (("studied", STUDIED), ("kept", KEPT)):
                for number, ((name, shift), make) in enumerate(shifts.items()):
                    rng = np.random.default_rng([seed, number])
                    made = lambda name=name, make=make, seed=seed, rng=rng: make(load(matrices, name, seed), rng)  # noqa: E731
                    yield kind, name, shift, seed, made
            for pair, kept in PROTOCOLS.items():
                ends = pair.split(">")
                made = lambda ends=ends, seed=seed: protocols(load(matrices, "symphony_5p", seed), *ends)  # noqa: E731
                yield "kept" if kept else "studied", "symphony", pair, seed, made


def read(path: Path) -> list[dict[str, Any]]:
    """Return the results that are there."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def run(args: argparse.Namespace) -> None:
    """Make every result that is not there yet."""
    torch.set_num_threads(args.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    if not args.data.is_dir():
        sys.exit(f"no real data: {args.data} is not there; give --data")
    done = {(r["kind"], r["task"], r["shift"], r["seed"]) for r in read(args.results)}
    with tempfile.TemporaryDirectory() as scratch:
        matrices = Matrices(args.data, Path(scratch))
        for kind, name, shift, seed, make in jobs(args, matrices):
            if (kind, name, shift, seed) in done:
                continue
            task = sampled(make(), seed)
            with contextlib.redirect_stderr(io.StringIO()):
                if kind == "ablation":
                    fitted = Fitted(task, seed)
                    found = {what: fitted.measured(h) for what, h in variants(name, fitted.h)}
                elif kind == "landmarks":
                    fitted = Fitted(task, seed)
                    found = {f"{share:.0%}": fitted.by_landmarks(share) for share in SHARES}
                else:
                    found = against(task, seed)
            line = {"kind": kind, "task": name, "shift": shift, "seed": seed, "found": found}
            with open(args.results, "a", encoding="utf-8") as handle:
                handle.write(json.dumps(line) + "\n")
            print(kind, name, shift, seed, {k: round(v["accuracy"], 4) for k, v in found.items()}, file=sys.stderr)


def cell(values: list[float]) -> str:
    """Return the mean and the range of the seeds."""
    spread = f" ({min(values):.3f}-{max(values):.3f})" if max(values) - min(values) >= 0.0005 else ""
    return f"{mean(values):.3f}{spread}" + ("*" if len(values) < 3 else "")


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


HEAD = """# What `tuned` is made of, and how it stands under shifts

Made by `benchmarks/tuned.py` from public data with known labels: single fits without calibration by the package's own
functions, each on a random 85 % of the reference. Mean (range) of three seeds, an asterisk where there are fewer. The
query's labels serve the evaluation alone. How it labels the sets as they are, with its confidence, stands in
[labels.md](labels.md).

## What each part is worth

Accuracy / macro-F1 with one part changed, the same network beside it.

"""
LANDMARKS = """## What landmarks cost

More than 50,000 cells are put through a spectral map that 50,000 of them made. Accuracy / macro-F1 where the map of
these sets is made from a share of their cells. It costs RNA nothing, and sparse peaks of a few thousand cells two or
three points of a hundred at a half. No set here is large enough to tell what it costs where 50,000 cells make the map.

"""
SHIFTS = """
## Shifted queries

Real queries made harder: `treated` changes 30 % of the features of all cells by log-normal factors of that deviation,
`by type` 20 % of each type's; `thinned` keeps counts by chance; `rebalanced` keeps 15 % of the cells of half of the
types; a `panel` keeps that many of the most common features, each seen by the query with a factor of its own. The share
of the network and the rule that raises it were chosen on those marked `studied`; the others were kept for the end.
Accuracy; the last column is `tuned` minus the better of `paper` and logistic regression, and where that is below
-0.02 it is **bold**: panels of 100 features, where convex members and joint embeddings have little to go by and
the network adapts, want more of it than the rule gives.

"""


def render(results: list[dict[str, Any]], path: Path) -> None:
    """Write the tables of what is there."""
    parts = [HEAD]
    for name in ABLATED:
        own = [r["found"] for r in results if r["kind"] == "ablation" and r["task"] == name]
        if own:
            rows = [[what, *(cell([f[what][m] for f in own]) for m in ("accuracy", "macro_f1"))] for what in own[0]]
            parts += [f"### {name}\n\n", table(["", "accuracy", "macro-F1"], rows), "\n"]
    landmarks = [
        (name, [r["found"] for r in results if (r["kind"], r["task"]) == ("landmarks", name)]) for name in LANDMARKED
    ]
    columns = [f"{share:.0%}" for share in SHARES]
    rows = [
        [name, *(" / ".join(cell([f[c][m] for f in own]) for m in ("accuracy", "macro_f1")) for c in columns)]
        for name, own in landmarks
        if own
    ]
    if rows:
        parts += [LANDMARKS, table(["task", *columns], rows)]
    parts.append(SHIFTS)
    rows = []
    methods = ("tuned", "paper", "logistic_regression")
    for kind in ("studied", "kept"):
        for task, shift in dict.fromkeys((r["task"], r["shift"]) for r in results if r["kind"] == kind):
            own = [r["found"] for r in results if (r["kind"], r["task"], r["shift"]) == (kind, task, shift)]
            means = [mean(f[m]["accuracy"] for f in own) for m in methods]
            less = means[0] - max(means[1:])
            shares = "/".join(dict.fromkeys(f"{f['tuned']['share']:g}" for f in own))
            f1 = cell([f["tuned"]["macro_f1"] for f in own])
            told = f"**{less:+.3f}**" if less < -0.02 else f"{less:+.3f}"
            rows.append(
                [task, shift, kind, *(cell([f[m]["accuracy"] for f in own]) for m in methods), f1, shares, told]
            )
    head = ["task", "shift", "", "`tuned`", "`paper`", "logistic regression", "macro-F1 of `tuned`", "network", ""]
    parts.append(table(head, rows))
    path.write_text("".join(parts), encoding="utf-8")


def main() -> None:
    """Make results, or the tables of those that are there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, required=True, help="JSON lines; continued where it stops")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--seeds", nargs="*", type=int, default=[1, 2, 3])
    parser.add_argument("--ablation", action="store_true")
    parser.add_argument("--shifts", action="store_true")
    parser.add_argument("--landmarks", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--render", type=Path, help="write the tables of what is in --results, and compute nothing")
    args = parser.parse_args()
    if args.render:
        render(read(args.results), args.render)
    else:
        run(args)


if __name__ == "__main__":
    main()
