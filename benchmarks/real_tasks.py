"""The labelled sets of ../shared/data as tasks: reference and query on the features that the pipeline gives them."""

import contextlib
import io
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
from numpy.typing import NDArray

SHARE = 0.85
# Cheap ones first.
TASKS = (
    "mixology",
    "mixology_5_lines",
    "archr",
    "symphony_5p",
    "symphony_3pv1",
    "symphony_3pv2",
    "bm",
    "snare_rna",
    "snare_atac",
    "snare_unmatched",
    "snare_matched",
)
# Types that are taken out of the reference, so that the query has cells of an unknown type.
REMOVED = {
    "archr": ("B",),
    "symphony_5p": ("NK", "B"),
    "symphony_3pv1": ("NK", "B"),
    "symphony_3pv2": ("NK", "B"),
    "bm": ("CLP",),
    "snare_rna": ("L6",),
    "snare_atac": ("L6",),
    "snare_unmatched": ("L6",),
}
# The tasks of the studies of losses and hyper-parameters.
STUDIED = ("archr", "symphony_3pv1", "bm", "snare_atac", "snare_unmatched")


def scenario_of(task: str) -> str:
    """Return a task's scenario."""
    if task.startswith("snare_"):
        return task.removeprefix("snare_")
    return {"archr": "unmatched", "bm": "atac"}.get(task, "rna")


@dataclass(frozen=True)
class Task:
    """Reference and query on the same features, and what is known of their cells."""

    name: str
    scenario: str
    reference: ad.AnnData
    labels: NDArray[Any]
    query: ad.AnnData
    graph: ad.AnnData | None
    truth: pd.DataFrame

    def without(self, cell_type: str) -> "Task":
        """Return the task with a type missing from the reference."""
        kept = self.labels != cell_type
        return replace(self, reference=self.reference[kept].copy(), labels=self.labels[kept])


def verb(*arguments: object) -> None:
    """Run one of the package's commands in this process."""
    from cellpredx.cli import main

    with contextlib.redirect_stderr(io.StringIO()) as said:
        code = main([str(argument) for argument in arguments])
    if code:
        sys.exit(said.getvalue())


class Matrices:
    """The data sets' matrices, each made once by the package's commands in a folder of this run."""

    def __init__(self, data: Path, scratch: Path) -> None:
        self.data, self.scratch = data, scratch

    def _spec(self, folder: Path, modality: str, row: dict[str, str], link: str | None = None) -> Path:
        spec = {
            "sample": folder.name,
            "modality": modality,
            "roles": ["query"],
            "batch": None,
            "peak_gene_link": link,
            "rows": [{"library": folder.name, **row}],
        }
        (folder / "spec.json").write_text(json.dumps(spec))
        return folder / "spec.json"

    def _staged(self, folder: Path, number: int, path: Path) -> str:
        staged = folder / f"in{number}"
        staged.mkdir(parents=True)
        (staged / path.name).symlink_to(path.resolve())
        return str(staged)

    @cache  # noqa: B019 - there is one, as long as the process lives
    def standardised(self, file: str, modality: str, link: str | None = None) -> Path:
        """Return the folder where `standardise` left a file's matrix."""
        folder = self.scratch / file.replace("/", "_").removesuffix(".h5ad")
        spec = self._spec(folder, modality, {"matrix": self._staged(folder, 1, self.data / file)}, link)
        verb("standardise", "--spec", spec, "--outdir", folder)
        return folder

    @cache  # noqa: B019
    def matrix(self, file: str, modality: str, link: str | None = None) -> ad.AnnData:
        """Return the matrix of genes or peaks of a file."""
        folder = self.standardised(file, modality, link)
        return ad.read_h5ad(next(p for p in (folder / "genes.h5ad", folder / "peaks.h5ad") if p.is_file()))

    @cache  # noqa: B019
    def gene_activity(self, file: str, link: str) -> ad.AnnData:
        """Return gene activity from the peaks of a file, linked by a column."""
        folder = self.standardised(file, "atac", link)
        verb("gene-activity", "--peaks", folder / "peaks.h5ad", "--out", folder / "gene_activity.h5ad")
        return ad.read_h5ad(folder / "gene_activity.h5ad")

    @cache  # noqa: B019
    def fragments(self, name: str, genes: str, peaks: str, cells: str) -> tuple[ad.AnnData, ad.AnnData]:
        """Return gene activity (fragments over the body and 2 kb upstream) and peaks of a folder with fragments."""
        folder, source = self.scratch / name, self.data / name
        listed = self.scratch / "cells.txt"
        listed.write_text("\n".join(pd.read_csv(source / cells)["barcode"]) + "\n")
        row = {
            "fragments": self._staged(folder, 1, source / "fragments.tsv.gz"),
            "barcodes": self._staged(folder, 2, listed),
        }
        spec = self._spec(folder, "atac", row)
        annotation = ("--annotation", source / genes, "--genome", "hg19")
        verb("ingest-fragments", "--spec", spec, *annotation, "--store", folder / "store", "--outdir", folder)
        counts = {"gene_activity": annotation, "peaks": ("--peaks", source / peaks, "--genome", "hg19")}
        for kind, more in counts.items():
            out = folder / f"{kind}.h5ad"
            verb("count", "--store", folder / "store", "--kind", kind, *more, "--out", out)
        return ad.read_h5ad(folder / "gene_activity.h5ad"), ad.read_h5ad(folder / "peaks.h5ad")

    @cache  # noqa: B019
    def column(self, file: str, name: str) -> pd.Series:
        """Return a column of a file's obs by barcode."""
        from cellpredx.reference.labels import read_label_column

        return read_label_column(self.data / file, name).set_index("barcode")["cell_type"]


def joined(
    name: str,
    reference: ad.AnnData,
    labels: pd.Series,
    query: ad.AnnData,
    truth: pd.Series,
    graph: ad.AnnData | None = None,
) -> Task:
    """Put a reference and a query on their shared features."""
    from cellpredx.reference.pair import join, take

    sides = {"reference": reference, "query": query}
    described = {
        sample: SimpleNamespace(obs=side.obs, var=side.var, about={**side.uns["cellpredx"], "sample": sample})
        for sample, side in sides.items()
    }
    pair = join([described["reference"]], [described["query"]], None)
    on_both = {}
    for sample, side in sides.items():
        on_both[sample] = ad.AnnData(take(side.X, pair.columns[sample]), obs=side.obs.copy(), var=pair.var.copy())
        on_both[sample].uns["cellpredx"] = described[sample].about
    cells = on_both["query"].obs_names
    return Task(
        name,
        scenario_of(name),
        on_both["reference"],
        labels.loc[on_both["reference"].obs_names].to_numpy(dtype=str),
        on_both["query"],
        graph[cells].copy() if graph is not None else None,
        pd.DataFrame({"barcode": cells, "cell_type": truth.loc[cells].to_numpy(dtype=str)}),
    )


def archr(matrices: Matrices, name: str, _seed: int) -> Task:
    """RNA to gene activity from fragments, other cells."""
    folder = "archr-pbsmall"
    rna = f"{folder}/rna_reference.h5ad"
    activity, peaks = matrices.fragments(
        folder, "genes_hg19_chr5_chr11.bed", "peaks_hg19.bed", cells="query_labels.csv"
    )
    truth = pd.read_csv(matrices.data / folder / "query_labels.csv").set_index("barcode").iloc[:, 0]
    return joined(name, matrices.matrix(rna, "rna"), matrices.column(rna, "CellType"), activity, truth, peaks)


def snare(matrices: Matrices, name: str, _seed: int) -> Task:
    """RNA and ATAC of the same cells: plates A-C to D-F, or (matched) all of them; without the label "Mis"."""
    rna, atac = (f"snareseq-mouse-cortex-plates-A-F/{file}.h5ad" for file in ("rna_counts", "atac_peaks"))
    labels = matrices.column(rna, "cell_type")
    labels = labels[labels != "Mis"]
    plates = matrices.column(rna, "batch").loc[labels.index]
    early = plates.isin(sorted(plates.unique())[:3])
    first, second = labels.index[early], labels.index[~early]
    scenario = scenario_of(name)
    if scenario == "matched":
        first = second = labels.index
    genes, peaks = matrices.matrix(rna, "rna"), matrices.matrix(atac, "atac", "gene")
    if scenario == "atac":
        return joined(name, peaks[first], labels, peaks[second], labels)
    if scenario == "rna":
        return joined(name, genes[first], labels, genes[second], labels)
    activity = matrices.gene_activity(atac, "gene")
    return joined(name, genes[first], labels, activity[second], labels, peaks)


def symphony(matrices: Matrices, name: str, _seed: int) -> Task:
    """Two protocols to the third."""
    file = "pbmc-3tech-symphony/rna_lognorm.h5ad"
    rna, protocol = matrices.matrix(file, "rna"), matrices.column(file, "donor")
    labels = matrices.column(file, "cell_type")
    # A sample a protocol: calibration holds out one of them.
    rna.obs["batch"] = protocol.loc[rna.obs_names].to_numpy(dtype=str)
    own = (rna.obs["batch"] == name.removeprefix("symphony_")).to_numpy()
    return joined(name, rna[~own], labels, rna[own], labels)


def bm(matrices: Matrices, name: str, seed: int) -> Task:
    """One random half to the other, another split a seed."""
    file = "bm-donorBM0828-scatac/atac_peaks.h5ad"
    peaks, labels = matrices.matrix(file, "atac"), matrices.column(file, "cell_type")
    half = np.random.default_rng(seed).permutation(peaks.n_obs) < peaks.n_obs // 2
    return joined(name, peaks[half], labels, peaks[~half], labels)


def mixology(matrices: Matrices, name: str, _seed: int) -> Task:
    """CEL-seq2 to Drop-seq; or to five lines, of which the reference has three. Doublets are left out."""

    def side(file: str) -> tuple[ad.AnnData, pd.Series]:
        path = f"sc-mixology/sc_{file}.h5ad"
        rna, kind = matrices.matrix(path, "rna"), matrices.column(path, "demuxlet_cls")
        return rna[(kind == "SNG").loc[rna.obs_names].to_numpy()], matrices.column(path, "cell_type")

    query = "celseq2_5cl_p3" if name == "mixology_5_lines" else "dropseq"
    return joined(name, *side("celseq2"), *side(query))


def load(matrices: Matrices, name: str, seed: int) -> Task:
    """Return a task by its name."""
    makers: tuple[Callable[[Matrices, str, int], Task], ...] = (archr, snare, symphony, bm, mixology)
    maker = next(m for m in makers if name.startswith(m.__name__))
    return maker(matrices, name, seed)


def sampled(task: Task, seed: int) -> Task:
    """Return the task with a random 85 % of the reference."""
    cells = len(task.labels)
    rows = np.sort(np.random.default_rng(seed).choice(cells, round(SHARE * cells), replace=False))
    return replace(task, reference=task.reference[rows].copy(), labels=task.labels[rows])
