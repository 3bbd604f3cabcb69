"""Cuts runs off at every stage and in every way, resumes them, and compares what they leave with an undisturbed run.

    python -m tests.interruptions.interrupt --page docs/nothing_lost.md

prints the table of stages and disturbances and writes it; --only renews the columns that it names. It needs the
environment of `make test`, and macs3 on PATH. As root it also mounts a small disk to fill; where sbatch is on PATH and
--slurm-restart tells how the daemons are started again, it kills those too. It ends with 1 where anything was lost.
"""

import argparse
import csv
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tests.interruptions.data import write_data
from tests.interruptions.engine import Engine, Task, kill, output_in_part, processes_in

ARGUMENTS = [
    *("--input", "data/sheet.csv", "--annotation", "data/genes.gtf.gz", "--chrom_sizes", "data/genome.sizes"),
    *("--hyperparameters", "iterations=50", "--baselines", "logistic_regression"),
    *("--explain_seeds", "2", "--null_permutations", "1", "--umap_cells", "1000"),
]
SUMS = "pipeline_info/SHA256SUMS"
PAGE = "multiqc/multiqc_report.html"
BROKEN = "broken:"
HANGS = 300.0  # seconds without room on the disk, after which a run is killed
STANDS = 45.0  # seconds without a process of any task, after which a run waits for jobs that Slurm forgot
# A page and its figures carry the time of the run; what they show is in the tables beside them.
REPORTS = ("multiqc/", "pipeline_info/")


def digest(path: Path) -> str:
    """The SHA-256 of a file's bytes; of an .h5ad, whose layout is free, of its content, and of one that is broken no
    digest that a whole one has."""
    if path.suffix != ".h5ad":
        return hashlib.sha256(path.read_bytes()).hexdigest()
    import h5py

    content = hashlib.sha256()

    def add(name: str, part: Any) -> None:
        values = part[()] if isinstance(part, h5py.Dataset) else None
        raw = values.tobytes() if isinstance(values, np.ndarray) and values.dtype != object else repr(values).encode()
        about = sorted((key, str(value)) for key, value in part.attrs.items())
        content.update(repr((name, getattr(part, "dtype", ""), getattr(part, "shape", ""), about)).encode() + raw)

    try:
        with np.printoptions(threshold=sys.maxsize), h5py.File(path, "r") as handle:
            handle.visititems(add)
    except (OSError, RuntimeError, KeyError):
        return f"{BROKEN} {hashlib.sha256(path.read_bytes()).hexdigest()}"
    return content.hexdigest()


def results_of(folder: Path) -> dict[str, str]:
    """The digest of every result, by its path."""
    return {
        str(path.relative_to(folder)): digest(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not str(path.relative_to(folder)).startswith(REPORTS)
    }


def trace_of(folder: Path) -> list[dict[str, str]]:
    """The tasks of a run that left its results in `folder`."""
    with open(folder / "pipeline_info/trace.txt", newline="") as handle:
        return list(csv.DictReader(handle, delimiter="\t"))


def stage_of_task(row: dict[str, str]) -> str:
    """The process of a row of the trace."""
    return row["name"].split(" ")[0].split(":")[-1]


def without_times(path: Path) -> list[list[str]]:
    """The rows of a table of the report, but for how long a training took."""
    rows = [line.split("\t") for line in path.read_text().splitlines()]
    kept = [number for number, name in enumerate(rows[0]) if name != "seconds"]
    return [[row[number] for number in kept if number < len(row)] for row in rows]


def work_of_report(folder: Path) -> Path:
    """The work folder of the task that made a run's report."""
    ended = [row for row in trace_of(folder) if row["status"] in ("COMPLETED", "CACHED")]
    (made,) = (row for row in ended if stage_of_task(row) == "MULTIQC")
    work = Task("MULTIQC", made["hash"]).folder(folder.parent / "work")
    assert work
    return work


def report_of(folder: Path) -> dict[str, list[list[str]]]:
    """The tables behind the report, and the versions."""
    work = work_of_report(folder)
    tables = sorted((work / "multiqc_report_data").glob("multiqc_*.txt"))
    return {path.name: without_times(path) for path in [*tables, folder / "pipeline_info/versions.yml"]}


def whole_by_sums(folder: Path) -> bool:
    """Whether SHA256SUMS is there, names every result, and every file is as it says."""
    if not (folder / SUMS).is_file():
        return False
    named = {line[66:] for line in (folder / SUMS).read_text().splitlines()}
    checked = subprocess.run(["sha256sum", "--check", "--quiet", SUMS], cwd=folder, capture_output=True)
    return checked.returncode == 0 and set(results_of(folder)) <= named and PAGE in named


class Runs:
    """Runs on the same data: one that nothing disturbed, and others."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stages: list[str] = []
        self.seconds: dict[str, float] = {}
        self.stage_of: dict[str, str] = {}  # of a published file, by its path
        self.expected: dict[str, str] = {}

    def new_folder(self, name: str) -> Path:
        """A folder to run in, with the data."""
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "data").symlink_to(self.folder / "data")
        return folder

    def undisturbed(self) -> None:
        """Run, where a folder has no such run yet; note what is left, and by which stage."""
        folder = self.folder / "undisturbed"
        results = folder / "results"
        if not (results / SUMS).exists():
            write_data(self.folder)
            engine = Engine(self.new_folder("undisturbed"), ARGUMENTS)
            assert engine.end() == 0, "".join(engine.said)
        self.expected = results_of(results)
        assert not [path for path, found in self.expected.items() if found.startswith(BROKEN)]
        self.report = report_of(results)
        made: dict[str, list[tuple[str, str]]] = {}
        for row in trace_of(results):
            stage = stage_of_task(row)
            if stage not in self.stages:
                self.stages.append(stage)
            task = Task(stage, row["hash"])
            work = task.folder(folder / "work")
            assert work
            begun, ended = ((work / name).stat().st_mtime for name in (".command.begin", ".exitcode"))
            self.seconds[stage] = max(self.seconds.get(stage, 0), ended - begun)
            for path in work.rglob("*"):
                if path.is_file() and not path.is_symlink():
                    made.setdefault(digest(path), []).append((f"/{path.relative_to(work)}", stage))
        for result, found in self.expected.items():
            # Some files are copied from task to task: the last that has it under this name publishes it. Under another
            # name, the task that made it does.
            named = [stage for name, stage in made[found] if result.endswith(name)]
            self.stage_of[result] = named[-1] if named else made[found][0][1]
        self.stage_of[PAGE] = "MULTIQC"
        assert whole_by_sums(results), "SHA256SUMS of the undisturbed run"

    def in_part(self, results: Path) -> list[str]:
        """The results that can be seen and are not whole."""
        return [path for path, found in results_of(results).items() if self.expected.get(path) != found]

    def lost(self, engine: Engine) -> list[str]:
        """What a run that came to its end lacks, or has otherwise than the undisturbed one."""
        found = results_of(engine.results)
        lost = [path for path in self.expected.keys() | found.keys() if self.expected.get(path) != found.get(path)]
        report = report_of(engine.results)
        lost += [name for name in self.report.keys() | report.keys() if self.report.get(name) != report.get(name)]
        page = work_of_report(engine.results) / Path(PAGE).name
        lost += [] if (engine.results / PAGE).read_bytes() == page.read_bytes() else [PAGE]
        return sorted(lost) + ([] if whole_by_sums(engine.results) else [SUMS])


def doing(folder: Path) -> str:
    """What a task that has begun is doing."""
    if (folder / ".exitcode").exists():
        return "ended"
    name = output_in_part(folder)
    return f"writing {name.rsplit('.part', 1)[0].lstrip('.')}" if name else "computing"


class Chain:
    """One run that is cut off at stage after stage, and what came of it."""

    def __init__(self, runs: Runs, name: str, folder: Path | None = None, profile: str = "test") -> None:
        self.runs, self.name, self.profile = runs, name, profile
        self.folder = folder or runs.new_folder(name)
        self.cuts: dict[str, str] = {}  # when, by stage
        self.in_part: set[str] = set()  # results that were seen in part
        self.early_sums = 0
        self.stood = 0  # how often it waited for jobs that Slurm had forgotten
        self.lost: list[str] = []

    def start(self) -> Engine:
        """Start, or resume where there has been a start."""
        resume = ["-resume"] if (self.folder / ".nextflow").exists() else []
        return Engine(self.folder, [*ARGUMENTS, *resume], profile=self.profile)

    def look(self, engine: Engine) -> None:
        """Note what a user would see now, that the run is cut off."""
        if engine.results.exists():
            self.in_part.update(self.runs.in_part(engine.results))
            self.early_sums += (engine.results / SUMS).exists()

    def begun(self, engine: Engine, task: Task) -> Path:
        """The folder of a task that has begun."""
        engine.wait_until(lambda: (folder := task.folder(engine.work)) and (folder / ".command.begin").exists())
        folder = task.folder(engine.work)
        assert folder, "".join(engine.said)
        return folder

    def writing(self, engine: Engine, task: Task, patience: float) -> str:
        """Wait until a task writes, has ended, or has run for a while; returns which."""
        folder = self.begun(engine, task)
        began = time.monotonic()

        def moment() -> bool:
            return doing(folder) != "computing" or time.monotonic() - began > patience

        engine.wait_until(moment)
        return doing(folder)

    def next_to_cut(self, engine: Engine, ready: Callable[[str], bool]) -> list[Task]:
        """Wait until tasks of stages that were not cut yet do what is asked; none is there at the run's end."""

        def at_work() -> list[Task]:
            return [
                task
                for task in engine.tasks[:]
                if task.stage not in self.cuts
                and (folder := task.folder(engine.work))
                and (folder / ".command.begin").exists()
                and ready(doing(folder))
            ]

        engine.wait_until(at_work)
        return at_work()

    def cut_at_every_stage(self, ready: Callable[[str], bool], cut: Callable[[Engine, list[Task]], None]) -> None:
        """Run, cut at stages that were not cut yet, resume, until there is none left."""
        while True:
            engine = self.start()
            tasks = self.next_to_cut(engine, ready)
            if not tasks:
                self.finish(engine)
                return
            cut(engine, tasks)
            self.look(engine)
            self.tell(tasks)

    def note(self, engine: Engine, tasks: list[Task]) -> None:
        """Note what tasks are doing."""
        for task in tasks:
            folder = task.folder(engine.work)
            self.cuts[task.stage] = doing(folder) if folder else ""

    def tell(self, tasks: list[Task]) -> None:
        """Print the stages that were cut."""
        for task in tasks:
            print(f"{self.name}: {task.stage}, {self.cuts[task.stage]}", flush=True)

    def finish(self, engine: Engine) -> None:
        """Let the run come to its end and compare what it leaves."""
        code = engine.end()
        self.lost = self.runs.lost(engine) if code == 0 else [f"everything, as the run ended with {code}"]
        print("".join(engine.said[-30:]) if code else f"{self.name}: lost {self.lost or 'nothing'}", flush=True)


def kill_tasks(chain: Chain) -> None:
    """kill -9 of the first task of every stage, in one run."""
    engine = chain.start()

    def strike(task: Task) -> None:
        said = chain.writing(engine, task, 0.6 * chain.runs.seconds[task.stage])
        folder = task.folder(engine.work)
        struck = processes_in(folder) if folder else []
        kill(struck)
        chain.cuts[task.stage] = said if struck else "missed"

    strikes: dict[str, threading.Thread] = {}
    for task in engine.new_tasks():
        if task.stage not in strikes:
            strikes[task.stage] = threading.Thread(target=strike, args=(task,), daemon=True)
            strikes[task.stage].start()
    chain.look(engine)
    chain.early_sums = 0
    chain.finish(engine)


def writes(said: str) -> bool:
    """Whether a task that is doing this has something to lose."""
    return said != "computing"


def kill_engine(chain: Chain, *, tasks: bool) -> None:
    """kill -9 of the engine at every stage, its tasks with it or not."""

    def cut(engine: Engine, at_work: list[Task]) -> None:
        chain.note(engine, at_work)
        engine.stop(tasks=tasks)

    chain.cut_at_every_stage(writes, cut)


def cut_publishing(chain: Chain) -> None:
    """kill -9 of the engine when a result of a stage appears, and half of that file taken away.

    So a copy looks that was cut off: these files are too small to be met half copied.
    """

    def appeared(engine: Engine) -> str | None:
        others = (path for path, stage in chain.runs.stage_of.items() if stage not in chain.cuts)
        return next((path for path in others if (engine.results / path).exists()), None)

    while True:
        engine = chain.start()
        if not engine.wait_until(partial(appeared, engine)):
            chain.finish(engine)
            return
        found = appeared(engine)
        assert found
        engine.stop()
        half = engine.results / found
        os.truncate(half, half.stat().st_size // 2)
        chain.cuts[chain.runs.stage_of[found]] = f"half of {half.name}"
        print(f"{chain.name}: half of {found}", flush=True)
        chain.look(engine)


def fill_disk(chain: Chain) -> None:
    """A disk that is full from the start of a task of every stage until the run has stopped."""
    filler = chain.folder / "filler"

    def cut(engine: Engine, at_work: list[Task]) -> None:
        with suppress(OSError), open(filler, "wb", buffering=0) as handle:
            while handle.write(b"\0" * 65536):
                pass
        stopped = engine.wait_to_stop(HANGS)
        filler.unlink()
        for task in at_work:
            chain.cuts[task.stage] = f"stopped with {engine.process.returncode}" if stopped else "hung, and was killed"

    chain.cut_at_every_stage(lambda said: said != "ended", cut)


def kill_daemons(chain: Chain, restart: str) -> None:
    """kill -9 of Slurm's daemons at every stage, then their start; a run that stops or stands still is resumed."""

    def watch(engine: Engine) -> None:
        last = time.monotonic()
        while engine.process.poll() is None:
            if not engine.tasks or processes_in(engine.work):
                last = time.monotonic()
            elif time.monotonic() - last > STANDS:
                chain.stood += 1
                engine.interrupt()
            time.sleep(1)

    while True:
        engine = chain.start()
        threading.Thread(target=watch, args=(engine,), daemon=True).start()
        while at_work := chain.next_to_cut(engine, writes):
            chain.note(engine, at_work)
            pids = subprocess.run(["pidof", "slurmctld", "slurmd"], capture_output=True, text=True).stdout.split()
            kill([int(pid) for pid in pids])
            time.sleep(2)
            subprocess.run(restart, shell=True, check=True)
            chain.tell(at_work)
        if engine.end() == 0:
            chain.finish(engine)
            return
        chain.look(engine)
        print(f"{chain.name}: the run stopped or stood still, and is resumed", flush=True)


CHAINS = {
    "task": "the task killed",
    "engine": "Nextflow and tasks killed",
    "engine_alone": "Nextflow alone killed",
    "publish": "copy cut off",
    "disk": "disk full",
    "slurm": "Slurm's daemons killed",
}


# The last rows of the table.
ENDS = ("**results afterwards**", "seen in part meanwhile", "SHA256SUMS too early")


def run_chain(runs: Runs, name: str, slurm_restart: str | None) -> Chain | str:
    """One chain, or why it was left out."""
    if name == "slurm" and not (slurm_restart and shutil.which("sbatch")):
        return "there is no sbatch on PATH, or no --slurm-restart was given"
    if name == "disk" and os.geteuid() != 0:
        return "it takes root to mount a disk"
    if name == "disk":
        folder = runs.folder / name
        folder.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=800m", "none", str(folder)], check=True)
        try:
            (folder / "data").symlink_to(runs.folder / "data")
            chain = Chain(runs, name, folder)
            fill_disk(chain)
        finally:
            subprocess.run(["umount", "-l", str(folder)], check=True)
        return chain
    chain = Chain(runs, name, profile="test,slurm" if name == "slurm" else "test")
    if name == "task":
        kill_tasks(chain)
    elif name == "publish":
        cut_publishing(chain)
    elif name == "slurm":
        assert slurm_restart
        kill_daemons(chain, slurm_restart)
    else:
        kill_engine(chain, tasks=name == "engine")
    return chain


def column_of(runs: Runs, chain: Chain) -> dict[str, str]:
    """The column of a chain, by the names of the rows."""
    ends = ("**LOST**" if chain.lost else "equal", str(len(chain.in_part)), str(chain.early_sums))
    return {stage: chain.cuts.get(stage, "") for stage in runs.stages} | dict(zip(ENDS, ends, strict=True))


def notes_of(name: str, chain: Chain | str) -> list[str]:
    """What is to be said of a chain below the table."""
    if isinstance(chain, str):
        return [f"{CHAINS[name]}: not tried here, as {chain}."]
    lost = [f"{CHAINS[name]}: lost {', '.join(chain.lost)}"] if chain.lost else []
    said = f"{CHAINS[name]}: the run stood still {chain.stood} times, as Slurm had forgotten jobs, and was resumed."
    return lost + ([said] if chain.stood else [])


def table_of(runs: Runs, chains: dict[str, Chain | str], before: str = "") -> str:
    """The table of stages and disturbances, with notes below it; of chains that were not tried now as `before`."""
    old = [[cell.strip() for cell in line.split("|")[1:-1]] for line in before.splitlines() if line.startswith("|")]
    columns: dict[str, dict[str, str]] = {}
    notes: list[str] = []
    for name, title in CHAINS.items():
        chain = chains.get(name)
        if isinstance(chain, Chain):
            columns[title] = column_of(runs, chain)
        elif old and title in old[0]:
            place = old[0].index(title)
            columns[title] = {row[0]: row[place] for row in old}
        if isinstance(chain, Chain) or (chain and title not in columns):
            notes += notes_of(name, chain)
        else:
            notes += [line for line in before.splitlines() if line.startswith(f"{title}: ")]
    lines = ["| stage | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    lines += [
        f"| {row} | " + " | ".join(column.get(row, "") for column in columns.values()) + " |"
        for row in (*runs.stages, *ENDS)
    ]
    return "\n".join([*lines, "", *notes]) + "\n"


def between_marks(page: str) -> tuple[str, str, str]:
    """A page before its table, the table, and the page behind it."""
    begin, end = "<!-- stages: begin -->\n", "<!-- stages: end -->"
    first, last = page.index(begin) + len(begin), page.index(end)
    return page[:first], page[first:last], page[last:]


def main() -> int:
    """Read the command line and run; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--folder", type=Path, help="a folder to work in that stays, its undisturbed run for later calls"
    )
    parser.add_argument("--only", default=",".join(CHAINS), help=f"some of {', '.join(CHAINS)}, separated by commas")
    parser.add_argument("--slurm-restart", help="the command that starts slurmctld and slurmd again")
    parser.add_argument("--page", type=Path, help="the Markdown page whose table is renewed")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        return interrupt(args, Runs((args.folder or Path(scratch)).resolve()))


def interrupt(args: argparse.Namespace, runs: Runs) -> int:
    """Run the chains, write the table; returns the exit code."""
    runs.undisturbed()
    print(f"undisturbed: {len(runs.expected)} results of {len(runs.stages)} stages", flush=True)
    chains: dict[str, Chain | str] = {}
    for name in args.only.split(","):
        chains[name] = run_chain(runs, name, args.slurm_restart)
        print(table_of(runs, chains), flush=True)
        if args.page:
            head, before, tail = between_marks(args.page.read_text())
            args.page.write_text(head + table_of(runs, chains, before) + tail)
    early = any(chain.early_sums for chain in chains.values() if isinstance(chain, Chain))
    return 1 if early or any(chain.lost for chain in chains.values() if isinstance(chain, Chain)) else 0


if __name__ == "__main__":
    sys.exit(main())
