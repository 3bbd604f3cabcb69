"""Peaks where none are given: MACS3 on a sample's Tn5 insertions, and one set of several samples' calls."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from isal import igzip

from cellpredx.core.errors import UserError
from cellpredx.core.genome import KNOWN_SHARE, MITOCHONDRIAL
from cellpredx.fragments.store import Store
from cellpredx.matrix.regions import overlaps

NARROW_PEAK = ["chrom", "start", "end", "name", "score", "strand", "signal", "p", "q", "summit"]
HALF_WIDTH = 250
BLOCK = 500_000
TAIL = 12
REMEDY = "give `peaks` in the sheet, or use windows of the genome: --call_peaks off"


def read_narrow_peaks(path: Path) -> pd.DataFrame:
    """Read the ten columns of a narrowPeak file that MACS3 or `call-peaks` wrote."""
    return pd.read_csv(path, sep="\t", header=None, names=NARROW_PEAK, dtype={"chrom": str, "name": str})


def write_insertions(store: Store, path: Path) -> tuple[dict[str, str], dict[str, int]]:
    """Write the Tn5 insertions of a sample's cells as a gzipped BED, the mitochondrion's left out.

    A fragment has two, `start` and `end - 1` (10x fragments are already shifted). Contigs go by numbers, so that no
    name means something to the program that reads the file. Returns {contig's name in the file: contig} of those
    that have insertions, and {contig: largest end, bp}.
    """
    names: dict[str, str] = {}
    ends: dict[str, int] = {}
    with igzip.open(path, "wt", compresslevel=1) as handle:  # type: ignore[no-untyped-call]
        for number, contig in enumerate(store.contigs):
            if contig in MITOCHONDRIAL:
                continue
            name = f"c{number}"
            for start, end, _cell in store.chunks(contig):
                if len(start) == 0:
                    continue
                names[name] = contig
                ends[contig] = max(ends.get(contig, 0), int(end.max()))
                for positions in (start, end - 1):
                    for first in range(0, len(positions), BLOCK):
                        block = positions[first : first + BLOCK].tolist()
                        handle.write("".join([f"{name}\t{at}\t{at + 1}\n" for at in block]))
    return names, ends


def effective_size(ends: Mapping[str, int], sizes: Mapping[str, int], genome: str | None) -> int:
    """Return the length (bp) of the sequence that insertions can be on, for MACS3's background.

    The contigs that have insertions (`ends`: their largest ends), each by its size where that is known; of a shipped
    genome, the share that is known sequence. So a sample of one chromosome has that one's background.
    """
    total = sum(sizes.get(contig, end) for contig, end in ends.items())
    return max(1, round(total * KNOWN_SHARE.get(genome or "", 1.0)))


def run_macs3(insertions: Path, size: int, q: float, sample: str) -> pd.DataFrame:
    """Run `macs3 callpeak` on a BED of insertions; return its narrowPeak table.

    Raises UserError where MACS3 is missing or fails, with the end of what it said. Where a signal ends it or memory is
    short, this command ends with the code of that, so that the workflow tries again with more.
    """
    program = shutil.which("macs3")
    if program is None:
        raise UserError(
            "macs3 is not on PATH", sample, "run with a container profile, or make MACS3 available: `make peaks-env`"
        )
    with tempfile.TemporaryDirectory(dir=insertions.parent) as scratch:
        command = [program, "callpeak", "--treatment", str(insertions), "--format", "BED"]
        command += ["--nomodel", "--shift", "-100", "--extsize", "200", "--keep-dup", "all", "--call-summits"]
        command += ["--gsize", str(size), "--qvalue", str(q), "--name", "called", "--outdir", scratch]
        done = subprocess.run(
            [*command, "--tempdir", scratch], stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
        )
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-TAIL:])
        if done.returncode < 0 or "MemoryError" in said:
            print(said, file=sys.stderr)
            raise SystemExit(128 - done.returncode if done.returncode < 0 else 137)
        found = Path(scratch, "called_peaks.narrowPeak")
        if done.returncode != 0 or not found.is_file():
            raise UserError(f"macs3 failed on sample {sample} and said:\n{said}", None, REMEDY)
        # MACS3 writes an empty file where it finds no peak.
        return read_narrow_peaks(found)


def outside(regions: pd.DataFrame, blacklist: pd.DataFrame | None) -> pd.DataFrame:
    """Return the regions (chrom, start, end) that overlap none of `blacklist`."""
    if blacklist is None or regions.empty:
        return regions
    hit = np.zeros(len(regions), bool)
    hit[overlaps(regions, blacklist)["left"].to_numpy(np.int64)] = True
    return regions[~hit]


def call_peaks(
    store: Store, sizes: Mapping[str, int], genome: str | None, blacklist: pd.DataFrame | None, q: float, scratch: Path
) -> pd.DataFrame:
    """Call peaks of the insertions of a sample's cells with MACS3; scratch files go to `scratch`.

    Returns the columns of narrowPeak, a row a summit, sorted; regions of several summits come once for each.
    Peaks that overlap `blacklist` are dropped, ends are clamped to the chromosome. The same fragments, in any order,
    give the same table. Raises UserError where there is no peak.
    """
    insertions = scratch / "insertions.bed.gz"
    names, ends = write_insertions(store, insertions)
    if not names:
        raise UserError(
            f"sample {store.sample} has no fragment to call peaks on",
            None,
            f"its fragments are on {', '.join(list(store.contigs)[:5])}; the mitochondrion's do not count",
        )
    peaks = run_macs3(insertions, effective_size(ends, sizes, genome), q, store.sample)
    insertions.unlink()
    peaks["chrom"] = peaks["chrom"].map(names)
    summit = (peaks["start"] + peaks["summit"]).to_numpy()
    limit = peaks["chrom"].map(dict(sizes)).fillna(np.iinfo(np.int32).max).astype(np.int64).to_numpy()
    peaks["start"] = np.maximum(peaks["start"], 0)
    peaks["end"] = np.minimum(peaks["end"], limit)
    peaks["summit"] = np.clip(summit, peaks["start"], peaks["end"] - 1) - peaks["start"]
    kept = outside(peaks, blacklist)
    if kept.empty:
        dropped = f", and {len(peaks):,} on the blacklist" if len(peaks) else ""
        raise UserError(
            f"no peak was found in sample {store.sample}: {sum(n for _, n in store.contigs.values()):,} fragments"
            f"{dropped}",
            None,
            REMEDY,
        )
    kept = kept.sort_values(["chrom", "start", "end", "summit"], kind="stable", ignore_index=True)
    return kept.assign(name=[f"peak_{number}" for number in range(1, len(kept) + 1)])


def keep_best(peaks: pd.DataFrame) -> pd.DataFrame:
    """Keep, of regions of one width that overlap, the one with the highest `score`; then the next best, and so on.

    Of equal scores the one further left is first, then the one whose `sample` is first by name. Sorted by position.
    """
    kept = []
    for _, table in peaks.sort_values(["chrom", "start", "sample"], kind="stable").groupby("chrom"):
        start = table["start"].to_numpy()
        width = int(table["end"].iloc[0] - start[0])
        low = np.searchsorted(start, start - width, side="right")
        high = np.searchsorted(start, start + width, side="left")
        free = np.ones(len(table), bool)
        best = []
        for row in np.argsort(-table["score"].to_numpy(), kind="stable"):
            if free[row]:
                best.append(row)
                free[low[row] : high[row]] = False
        kept.append(table.iloc[sorted(best)])
    return pd.concat(kept, ignore_index=True) if kept else peaks


def merge_peaks(
    calls: Iterable[tuple[str, pd.DataFrame]], sizes: Mapping[str, int], blacklist: pd.DataFrame | None
) -> pd.DataFrame:
    """Make one set of the calls of several samples (name, narrowPeak table), whatever their order.

    Summits become regions of 501 bp; those that reach beyond a chromosome, or overlap `blacklist`, are dropped. Of
    overlapping ones the most significant stays, within each sample and then among all, where a sample's -log10 p count
    as shares of their sum (in millions): iterative overlap removal by score per million, after Corces et al. 2018
    (doi:10.1126/science.aav1898), as in ArchR. Returns chrom, start, end, sample, name, score; sorted, none overlap.
    """
    parts, names = [], []
    for sample, call in calls:
        names.append(sample)
        summit = (call["start"] + call["summit"]).to_numpy(np.int64)
        peaks = pd.DataFrame(
            {
                "chrom": call["chrom"].astype(str),
                "start": summit - HALF_WIDTH,
                "end": summit + HALF_WIDTH + 1,
                "sample": sample,
                "name": call["name"],
                "score": call["p"].astype(float),
            }
        )
        limit = peaks["chrom"].map(dict(sizes)).fillna(np.inf)
        peaks = peaks[(peaks["start"] >= 0) & (peaks["end"] <= limit)].reset_index(drop=True)
        peaks = keep_best(outside(peaks, blacklist).reset_index(drop=True))
        parts.append(peaks.assign(score=peaks["score"] / peaks["score"].sum() * 1e6))
    merged = keep_best(pd.concat(parts, ignore_index=True))
    if merged.empty:
        raise UserError("no peak of the samples is left", ", ".join(sorted(names)), REMEDY)
    return merged
