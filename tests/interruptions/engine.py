"""A run of the pipeline that can be watched and cut off at a stage."""

import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_SUBMITTED = re.compile(r"\[(\w\w/\w{6})\] (?:Re-s|S)ubmitted process > CELLPREDX:(\w+)")
PATIENCE = 1800.0  # seconds for a run


@dataclass
class Task:
    """A task that the engine submitted: its stage, and the start of the name of its work folder."""

    stage: str
    prefix: str

    def folder(self, work: Path) -> Path | None:
        """Its work folder, once it is there."""
        start, name = self.prefix.split("/")
        return next(iter((work / start).glob(f"{name}*")), None)


def processes_in(folder: Path) -> list[int]:
    """The processes that work in `folder` or below it."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                where = os.readlink(entry / "cwd")
            except OSError:
                continue
            if where == str(folder) or where.startswith(f"{folder}/"):
                found.append(int(entry.name))
    return found


def kill(pids: list[int]) -> None:
    """Kill processes at once, without a chance to tidy up."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def output_in_part(folder: Path) -> str | None:
    """The name of what a task has begun to write, or has just written; its inputs are links and folders."""
    try:
        entries = list(os.scandir(folder))
    except FileNotFoundError:
        return None
    for entry in entries:
        own = not entry.is_symlink() and not entry.name.startswith((".command", ".exitcode"))
        if own and (".part" in entry.name or entry.name == "multiqc_report_data" or entry.is_file()):
            return entry.name
    return None


class Engine:
    """A run of main.nf in `folder`, its work folder and results there too."""

    def __init__(self, folder: Path, arguments: list[str], *, profile: str = "test", results: str = "results") -> None:
        self.folder, self.work, self.results = folder, folder / "work", folder / results
        self.tasks: list[Task] = []
        self.said: list[str] = []
        nextflow = os.environ.get("NEXTFLOW") or shutil.which("nextflow")
        assert nextflow, "no `nextflow` on PATH"
        command = [nextflow, "run", str(ROOT), "-ansi-log", "false", "-profile", profile, *arguments]
        self.process = subprocess.Popen(
            [*command, "--outdir", results],
            cwd=folder,
            env={**os.environ, "NXF_OFFLINE": "true"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.began = time.monotonic()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.said.append(line)
            if found := _SUBMITTED.search(line):
                self.tasks.append(Task(found[2], found[1]))

    def running(self) -> bool:
        """Whether the run goes on; raises where it takes too long."""
        if time.monotonic() - self.began > PATIENCE:
            self.stop()
            raise TimeoutError("".join(self.said[-40:]))
        return self.process.poll() is None

    def new_tasks(self) -> Iterator[Task]:
        """Every task as it is submitted, until the run ends."""
        seen = 0
        while self.running() or seen < len(self.tasks):
            if seen < len(self.tasks):
                yield self.tasks[seen]
                seen += 1
            else:
                time.sleep(0.002)

    def wait_until(self, moment: Callable[[], object]) -> bool:
        """Wait for a moment; returns False where the run ended before it."""
        while self.running():
            if moment():
                return True
            time.sleep(0.001)
        return bool(moment())

    def stop(self, *, tasks: bool = True) -> None:
        """Kill the engine, and its tasks too or not."""
        kill([self.process.pid])
        if tasks:
            kill(processes_in(self.work))
        self.process.wait()

    def interrupt(self) -> None:
        """Stop the engine as Ctrl-C does: it cancels its jobs."""
        self.process.terminate()
        self.wait_to_stop(60)

    def wait_to_stop(self, seconds: float) -> bool:
        """Wait for a run to stop by itself; kill it where it does not."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.stop()
            return False
        return True

    def end(self) -> int:
        """Wait for the end; returns the exit code."""
        while self.running():
            time.sleep(0.05)
        self._reader.join(10)
        return self.process.returncode
