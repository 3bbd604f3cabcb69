"""Fragments to QC, cells, a peak matrix and gene activity: this pipeline's commands against SnapATAC2's functions.

Both sides run in turn on the same files, as whole processes, and are measured by the kernel: wall time, CPU time (user
and system, all threads) and peak memory (the largest process). Ours is the sum over the commands that the workflow
starts for a sample of fragments. The floor is what it takes to decompress the file and throw it away.

    benchmarks/fragments.py FOLDER [FOLDER ...] [--alone FOLDER ...] --peer .venv-peers/bin/python --out docs/speed

A FOLDER holds fragments.tsv.gz, peaks.bed, genes.gtf and hg38.chrom.sizes; `--generator` is a script that makes one
which is not there, from a name such as data/20M (fragments) or data/60M_20000 (fragments, cells). OUT.md and OUT.svg
are written.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

MIN_FRAGMENTS = 1000
HEAD = """# Fragments to matrices: time and memory

Made by `benchmarks/fragments.py`: fragments -> QC, cells, peak matrix (100,000 peaks), gene activity (20,000 genes) and
.h5ad files, on {cores} cores, both sides in turn on the same synthetic files, each command a whole process measured by
the kernel. Median (range) of the runs; memory is the largest of any process. `cellpredx, all` is the sum of the
commands that the workflow starts for a sample, doublets and FRiP included. 20M: 20 million fragments, 10,000 cells;
60M_20000: 60 million, 20,000 cells; 200M_50000: 200 million, 50,000 cells (ours alone).

![Wall time, CPU time and peak memory]({figure})

"""
FLOOR = """
import sys
from isal import igzip
with igzip.open(sys.argv[1], "rb") as handle:
    while handle.read(1 << 20):
        pass
"""


@dataclass(frozen=True)
class Cost:
    """Seconds of wall and CPU time, and peak memory in MB."""

    wall: float
    cpu: float
    memory: float


def measure(*command: object, cwd: Path) -> Cost:
    """Run a command to its end."""
    start = perf_counter()
    process = subprocess.Popen(
        [str(part) for part in command], cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall = perf_counter() - start
    if process.returncode:
        sys.exit(f"{' '.join(map(str, command))} ended with {process.returncode}:\n{said[-2000:]}")
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def total(costs: list[Cost]) -> Cost:
    """Add up commands that run one after the other."""
    return Cost(sum(c.wall for c in costs), sum(c.cpu for c in costs), max(c.memory for c in costs))


def ours(folder: Path, scratch: Path) -> dict[str, Cost]:
    """Run what the workflow runs for one sample, each task with the line of versions that it asks for."""
    (scratch / "in1").mkdir()
    (scratch / "in1" / "fragments.tsv.gz").symlink_to(folder / "fragments.tsv.gz")
    rows = [{"library": "s", "fragments": "in1"}]
    spec = {"sample": "s", "modality": "atac", "roles": ["query"], "batch": None, "rows": rows}
    (scratch / "spec.json").write_text(json.dumps(spec))
    genome = ("--chrom-sizes", folder / "hg38.chrom.sizes")
    genes = ("--annotation", folder / "genes.gtf")
    cells = ("--min-fragments", MIN_FRAGMENTS, "--min-tss", 0)
    found = {
        "check": measure("cellpredx", "check", "--spec", "spec.json", "--needs-genes", "--has-annotation", cwd=scratch),
        "ingest-fragments": measure(
            "cellpredx", "ingest-fragments", "--spec", "spec.json", *genes, *genome, *cells, cwd=scratch
        ),
    }
    counts = {"peaks": ("--peaks", folder / "peaks.bed"), "gene_activity": genes}
    for kind, more in counts.items():
        command = ("cellpredx", "count", "--store", "store", "--kind", kind, *more, *genome, "--out", f"{kind}.h5ad")
        found[f"count {kind}"] = measure(*command, cwd=scratch)
    found["versions, four times"] = total([measure("cellpredx", "versions", cwd=scratch) for _ in range(4)])
    return found


def theirs(peer: Path, folder: Path, scratch: Path) -> Cost:
    """Run SnapATAC2 on the same files with the same threshold of fragments."""
    return measure(peer, Path(__file__).with_name("snapatac2_side.py"), folder, scratch, MIN_FRAGMENTS, cwd=scratch)


def floor(folder: Path, scratch: Path) -> Cost:
    """Decompress the file."""
    return measure(sys.executable, "-c", FLOOR, folder / "fragments.tsv.gz", cwd=scratch)


def made(folder: Path, generator: Path | None) -> Path:
    """Return a folder of input, made where it is not there."""
    if not (folder / "peaks.bed").is_file() and generator is not None:
        name = re.fullmatch(r"(\d+)M(?:_(\d+))?", folder.name)
        if name is None:
            sys.exit(f"{folder.name}: write fragments in millions, and cells: 60M_20000")
        subprocess.run([sys.executable, generator, folder, f"{name[1]}e6", name[2] or "10000"], check=True)
    return folder.resolve()


@dataclass
class Runs:
    """What was measured on one input: ours (each command, and all), theirs and the floor, a value a repeat."""

    name: str
    commands: dict[str, list[Cost]]
    ours: list[Cost]
    theirs: list[Cost]
    floor: list[Cost]


def run(folder: Path, repeats: int, peer: Path | None, where: Path) -> Runs:
    """Run both sides in turn."""
    runs = Runs(folder.name, {}, [], [], [])
    for repeat in range(repeats):
        scratch = Path(tempfile.mkdtemp(dir=where))
        costs = ours(folder, scratch)
        shutil.rmtree(scratch)
        for name, cost in costs.items():
            runs.commands.setdefault(name, []).append(cost)
        runs.ours.append(total(list(costs.values())))
        scratch = Path(tempfile.mkdtemp(dir=where))
        runs.floor.append(floor(folder, scratch))
        if peer is not None:
            runs.theirs.append(theirs(peer, folder, scratch))
        shutil.rmtree(scratch)
        print(f"{folder.name}, run {repeat + 1} of {repeats}: {runs.ours[-1]} {runs.theirs[-1:]}", file=sys.stderr)
    return runs


def _range(values: list[float], digits: int = 1) -> str:
    low, high = (f"{value:,.{digits}f}" for value in (min(values), max(values)))
    return f"{median(values):,.{digits}f}" + (f" ({low}-{high})" if low != high else "")


def table(every: list[Runs]) -> str:
    """Return the costs and the ratios, run by run, as Markdown: median and range."""
    lines = ["| input | | wall s | CPU s | peak MB |", "|---|---|---|---|---|"]
    for runs in every:
        sides = {
            **runs.commands,
            "cellpredx, all": runs.ours,
            "SnapATAC2": runs.theirs,
            "decompression alone": runs.floor,
        }
        for name, costs in sides.items():
            if costs:
                cells = (_range([getattr(c, what) for c in costs]) for what in ("wall", "cpu"))
                memory = f"{max(c.memory for c in costs):,.0f}"
                lines.append(f"| {runs.name} | {name} | {' | '.join(cells)} | {memory} |")
    lines += [
        "",
        "| input | wall, theirs / ours | CPU, ours / theirs | memory, ours / theirs | wall, ours / decompression |",
    ]
    lines += ["|---|---|---|---|---|"]
    for runs in every:
        pairs = list(zip(runs.ours, runs.theirs, strict=bool(runs.theirs)))
        ratios = [
            [b.wall / a.wall for a, b in pairs],
            [a.cpu / b.cpu for a, b in pairs],
            [a.memory / b.memory for a, b in pairs],
            [a.wall / b.wall for a, b in zip(runs.ours, runs.floor, strict=True)],
        ]
        lines.append(f"| {runs.name} | " + " | ".join(_range(r, 2) if r else "-" for r in ratios) + " |")
    return "\n".join(lines) + "\n"


def figure(every: list[Runs], path: Path) -> None:
    """Draw wall time, CPU time and peak memory of both sides."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "cellpredx"
    import matplotlib.pyplot as plt

    shown = {"wall": "Wall time (s)", "cpu": "CPU time (s)", "memory": "Peak memory (MB)"}
    drawn, axes = plt.subplots(1, len(shown), figsize=(11, 3.6), layout="constrained")
    for axis, (what, label) in zip(axes, shown.items(), strict=True):
        for offset, side, colour in ((-0.2, "ours", "#0072B2"), (0.2, "theirs", "#E69F00")):
            bars = [(i, [getattr(c, what) for c in getattr(runs, side)]) for i, runs in enumerate(every)]
            bars = [(i, values) for i, values in bars if values]
            name = "cellpredx" if side == "ours" else "SnapATAC2"
            axis.bar([i + offset for i, _ in bars], [median(v) for _, v in bars], 0.38, color=colour, label=name)
        axis.set_xticks(range(len(every)), [runs.name for runs in every])
        axis.set_xlabel("Input (fragments)")
        axis.set_ylabel(label)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False)
    drawn.savefig(path, metadata={"Date": None})


def main() -> None:
    """Measure, and write the table and the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, help="inputs for both sides")
    parser.add_argument("--alone", nargs="*", type=Path, default=[], help="inputs for our side alone")
    parser.add_argument("--peer", type=Path, help="the Python that has SnapATAC2")
    parser.add_argument("--generator", type=Path, help="the script that makes an input")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--out", type=Path, required=True, help="path of the results, without a suffix")
    args = parser.parse_args()
    peer = args.peer.absolute() if args.peer else None
    every = [run(made(folder, args.generator), args.repeats, peer, args.scratch) for folder in args.folders]
    every += [run(made(folder, args.generator), 1, None, args.scratch) for folder in args.alone]
    head = HEAD.format(cores=os.cpu_count(), figure=f"{args.out.name}.svg")
    args.out.with_suffix(".md").write_text(head + table(every), encoding="utf-8")
    figure(every, args.out.with_suffix(".svg"))
    print(table(every))


if __name__ == "__main__":
    main()
