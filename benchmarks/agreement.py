"""Whether the same input gives the same result: two runs, one thread and two, and the container engines.

    python -m benchmarks.agreement --engines docker,apptainer --image-dir SIFS --page docs/nothing_lost.md

Each preset runs on simulated data (and on archr-pbsmall with --archr FOLDER), and is compared with its first run
without containers. The table goes between two marks of the page; --only renews the rows that it names. It ends with 1
where a bound is passed.
"""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from tests.interruptions.interrupt import digest

ROOT = Path(__file__).parents[1]
PRESETS = ("paper", "tuned")


@dataclass(frozen=True)
class Way:
    """A way to run: its name, profile and parameters, and whether it has to give the same bytes."""

    name: str
    profile: str = "test"
    parameters: tuple[str, ...] = ()
    same_bytes: bool = False


def ways(engines: list[str], image_dir: str | None) -> list[Way]:
    """The first is what the others are compared with."""
    images = ("--image_dir", image_dir) if image_dir else ()
    in_containers = [Way(name, f"test,{name}", () if name == "docker" else images) for name in engines]
    return [Way("first"), Way("again", same_bytes=True), Way("1 thread", parameters=("--threads", "1")), *in_containers]


def simulated(folder: Path) -> list[str]:
    """Write the demo's data; returns the arguments."""
    data = folder / "data"
    command = [sys.executable, str(ROOT / "bin/cellpredx"), "simulate", "--scenario", "demo", "--outdir", str(data)]
    subprocess.run([*command, "--cells", "400"], check=True)
    genome = ["--annotation", str(data / "genes.gtf.gz"), "--chrom_sizes", str(data / "genome.sizes")]
    return ["--input", str(data / "sheet.csv"), *genome, "--hyperparameters", "iterations=500"]


def real(archr: Path) -> Callable[[Path], list[str]]:
    """A writer of the sheet of archr-pbsmall."""

    def write(folder: Path) -> list[str]:
        from tests.real import sheets

        folder.mkdir(parents=True)
        sheet, arguments = sheets.archr(archr.parent, folder)
        return ["--input", str(sheet), *arguments]

    return write


def run(folder: Path, way: Way, arguments: list[str]) -> Path:
    """Run the pipeline; returns its results."""
    folder.mkdir(parents=True)
    command = ["nextflow", "run", str(ROOT), "-ansi-log", "false", "-profile", way.profile, *arguments, *way.parameters]
    done = subprocess.run(
        [*command, "--outdir", "results"],
        cwd=folder,
        env={**os.environ, "NXF_OFFLINE": "true"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        sys.exit(f"{way.name}: {done.stdout}")
    return folder / "results"


def files_of(results: Path) -> dict[str, str]:
    """The digests of the results but for figures, the report and pipeline_info."""
    return {
        str(path.relative_to(results)): digest(path)
        for name in ("groups", "samples")
        for path in sorted((results / name).rglob("*"))
        if path.is_file() and "/figures/" not in str(path)
    }


def compare(data: str, preset: str, way: Way, first: Path, other: Path) -> dict[str, str]:
    """A row of the table; `holds` is empty where a bound is passed."""
    of_first, of_other = files_of(first), files_of(other)
    equal = sum(of_first.get(name) == content for name, content in of_other.items())
    row = {"data": data, "preset": preset, "against the first run": way.name}
    row["files that are equal"] = f"{equal} of {len(of_first.keys() | of_other.keys())}"
    (table,) = (path for path in of_first if path.endswith("predictions.csv"))
    one, two = (pd.read_csv(results / table, index_col="barcode") for results in (first, other))
    types = [name for name in one if name.startswith("p_")]
    same_cells = one.index.equals(two.index)
    agree = float((one["predicted"] == two["predicted"]).mean()) if same_cells else 0.0
    apart = float(np.abs(one[types] - two[types]).to_numpy().max()) if same_cells else 1.0
    row["cells with another type"] = f"{round((1 - agree) * len(one))} of {len(one)}"
    row["largest difference of p"] = f"{apart:.1g}"
    holds = agree >= 0.999 and apart <= 1e-4 and (not way.same_bytes or of_first == of_other)
    return row | {"holds": "yes" if holds else ""}


def write_table(rows: list[dict[str, str]], page: Path) -> None:
    """Put the rows between the marks of the page; those of ways that were not run now stay."""
    begin, end = "<!-- agreement: begin -->\n", "<!-- agreement: end -->"
    old = page.read_text()
    first, last = old.index(begin) + len(begin), old.index(end)
    header, _, *lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in old[first:last].splitlines()]
    before = [dict(zip(header, line, strict=True)) for line in lines]
    new = [row | {"holds": row["holds"] or "**no**"} for row in rows]
    table = {(row["data"], row["preset"], row["against the first run"]): row for row in [*before, *new]}
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for _, row in sorted(table.items()))]
    page.write_text(old[:first] + "".join("| " + " | ".join(line) + " |\n" for line in lines) + old[last:])


def main() -> int:
    """Run, compare, print and write; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", default="", help="container engines besides, separated by commas")
    parser.add_argument("--image-dir", help="the folder of the .sif files")
    parser.add_argument("--archr", type=Path, help="the folder of archr-pbsmall")
    parser.add_argument("--only", help="some of the ways (again, 1 thread, an engine), separated by commas")
    parser.add_argument("--page", type=Path, help="the Markdown page whose table is renewed")
    args = parser.parse_args()
    data: dict[str, Callable[[Path], list[str]]] = {"simulated": simulated}
    if args.archr:
        data["archr-pbsmall"] = real(args.archr.resolve())
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for name, write in data.items():
            arguments = write(Path(scratch) / name)
            for preset in PRESETS:
                first = None
                for way in ways([one for one in args.engines.split(",") if one], args.image_dir):
                    if first and args.only and way.name not in args.only.split(","):
                        continue
                    folder = Path(scratch) / f"{name} {preset} {way.name}"
                    results = run(folder, way, [*arguments, "--preset", preset])
                    if first is None:
                        first = results
                        continue
                    rows.append(compare(name, preset, way, first, results))
                    csv.DictWriter(sys.stdout, rows[-1]).writerow(rows[-1])
                    sys.stdout.flush()
    if args.page:
        write_table(rows, args.page)
    return 0 if all(row["holds"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
