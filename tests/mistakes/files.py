"""What users give by mistake, written into a folder. Each maker returns nothing, or what else its case needs."""

import gzip
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pysam
import scipy.io
import scipy.sparse as sp
from safetensors.numpy import save_file

from cellpredx.core.bundle_info import FILES, write_info
from cellpredx.core.files import read_json, write_json
from cellpredx.core.whole import BGZF_END

CELLS = [f"AAACCCAAGAA{a}{b}ACA-1" for a in "ACGT" for b in "ACGT"]
GENES = [f"G{i}" for i in range(30)]
HUMAN = ["ACTB", "GAPDH", "B2M", "CD3E", "LYZ", *GENES[5:]]
HUGE = 5 << 30
Maker = Callable[[Path], None]


class Payload:
    """What a pickle runs when it is loaded: it makes a file PWNED."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch PWNED",)


PICKLED = pickle.dumps(Payload())


def matrix(names: list[str] = GENES, cells: list[str] = CELLS) -> ad.AnnData:
    """Counts of 16 cells, which have two types."""
    counts = np.random.default_rng(1).poisson(2.0, (len(cells), len(names))).astype(np.float32)
    obs = pd.DataFrame({"cell_type": (["B", "T"] * 8)[: len(cells)]}, index=cells)
    return ad.AnnData(counts, obs, pd.DataFrame(index=names))


def text(name: str, content: str | bytes = "content\n") -> Maker:
    """A file of a given content."""

    def make(folder: Path) -> None:
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)

    return make


def bomb(name: str, unit: bytes = b"\0") -> Maker:
    """A gzip file of some MB that unpacks to 5 GB of `unit`: one member again and again."""

    def make(folder: Path) -> None:
        block = (16 << 20) // len(unit)
        member = gzip.compress(unit * block, 9, mtime=0)
        with open(folder / name, "wb") as handle:
            for _ in range(HUGE // (block * len(unit))):
                handle.write(member)

    return make


def sparse(name: str) -> Maker:
    """A file of 5 GB without a line end, which takes no room."""

    def make(folder: Path) -> None:
        (folder / name).touch()
        os.truncate(folder / name, HUGE)

    return make


fragments = bed = text


def gtf_without_genes(folder: Path) -> None:
    (folder / "genes.gtf").write_text('chr1\tx\texon\t1\t50\t.\t+\t.\tgene_id "A";\n')


def bed_without_strands(folder: Path) -> None:
    (folder / "genes.bed").write_text("chr1\t5\t500\tA\n")


def cut_gtf(folder: Path) -> None:
    (folder / "cut.gtf.gz").write_bytes(gzip.compress(os.urandom(5000))[:-50])


def sizes_of_spaces(folder: Path) -> None:
    (folder / "g.sizes").write_text("chr1 1000\n")


def fasta(folder: Path) -> None:
    (folder / "g.fa").write_text(">chr1\nACGT\n")


def blacklist_of_spaces(folder: Path) -> None:
    (folder / "b.bed").write_text("chr1 5 50\n")


def map_without_from(folder: Path) -> None:
    (folder / "map.csv").write_text("old,new\nB,b\n")


def map_that_contradicts(folder: Path) -> None:
    (folder / "map2.csv").write_text("from,to\nB,b\nB,c\n")


def bundle(folder: Path) -> Path:
    """A bundle as far as it is checked before it is used."""
    folder.mkdir()
    save_file({"encoder.weight": np.zeros((2, 2), np.float32)}, folder / "weights.safetensors")
    (folder / "features.csv").write_text("name,gene_id,gene_name\nG1,G1,G1\n")
    (folder / "training_log.csv").write_text("iteration\n")
    info = {"labels": ["B", "T"], "hyperparameters": {}, "calibration": {}, "recipe": {"kind": "genes"}}
    write_info({**info, "version": "0.1.0", "scenario": "rna", "reference_modality": "rna"}, folder)
    return folder


def _rewritten(folder: Path, **changes: object) -> None:
    """Change bundle.json, and its checksum with it."""
    from cellpredx.core.bundle_info import _own_checksum

    info = {**read_json(folder / "bundle.json"), **changes}
    write_json({**info, "sha256": _own_checksum(info)}, folder / "bundle.json")


def changed_bundle(folder: Path) -> None:
    (bundle(folder / "changed") / "weights.safetensors").write_bytes(PICKLED)


def edited_bundle(folder: Path) -> None:
    path = bundle(folder / "edited") / "bundle.json"
    path.write_text(path.read_text().replace('"T"', '"NK"'))


def newer_bundle(folder: Path) -> None:
    _rewritten(bundle(folder / "newer"), format=99, version="9.0.0")


def climbing_bundle(folder: Path) -> None:
    own = bundle(folder / "climbing")
    names = read_json(own / "bundle.json")["files"]
    _rewritten(own, files={**names, "../../etc/passwd": "0", "/etc/passwd": "0"})


def linked_bundle(folder: Path) -> None:
    own = bundle(folder / "linked")
    (own / "features.csv").unlink()
    (own / "features.csv").symlink_to("/etc/passwd")


def pickled_bundle(folder: Path) -> Path:
    """A bundle whose weights are a pickle, with checksums that say that this is right."""
    own = bundle(folder / "pickled")
    info = read_json(own / "bundle.json")
    (own / "weights.safetensors").write_bytes(PICKLED)
    write_info({key: value for key, value in info.items() if key not in ("files", "sha256")}, own)
    assert set(read_json(own / "bundle.json")["files"]) == set(FILES)
    return own


def other_hdf5(folder: Path) -> None:
    with h5py.File(folder / "other.h5", "w") as handle:
        handle.create_group("assays")


def cut_h5ad(folder: Path) -> None:
    matrix().write_h5ad(folder / "cut.h5ad")
    os.truncate(folder / "cut.h5ad", 3000)


def transposed(folder: Path) -> None:
    matrix().T.write_h5ad(folder / "turned.h5ad")


def without_cells(folder: Path) -> None:
    matrix()[:0].write_h5ad(folder / "none.h5ad")


def repeated_barcodes(folder: Path) -> None:
    data = matrix()
    data.obs_names = [*CELLS[1:], CELLS[1]]
    data.write_h5ad(folder / "twice.h5ad")


def other_shape(folder: Path) -> None:
    matrix().write_h5ad(folder / "shape.h5ad")
    with h5py.File(folder / "shape.h5ad", "a") as handle:
        values = handle["X"][:, :29]
        del handle["X"]
        handle["X"] = values


def boasting_h5ad(folder: Path) -> None:
    matrix().write_h5ad(folder / "boast.h5ad")
    with h5py.File(folder / "boast.h5ad", "a") as handle:
        del handle["obs/_index"]
        handle["obs"].create_dataset("_index", (10**12,), h5py.string_dtype(), chunks=(1 << 20,))


def external_h5ad(folder: Path) -> None:
    matrix().write_h5ad(folder / "else.h5ad")
    matrix().write_h5ad(folder / "holder.h5ad")
    with h5py.File(folder / "else.h5ad", "a") as handle:
        del handle["X"]
        handle["X"] = h5py.ExternalLink("holder.h5ad", "X")


def object_h5ad(folder: Path) -> None:
    matrix().write_h5ad(folder / "object.h5ad")
    with h5py.File(folder / "object.h5ad", "a") as handle:
        del handle["obs/_index"]
        handle["obs/_index"] = np.void(PICKLED)


def folder_10x(folder: Path, names: list[str] = GENES, kind: str | None = None) -> Path:
    """A 10x folder of Cell Ranger 3, with a column of types where `kind` is given."""
    folder.mkdir()
    scipy.io.mmwrite(folder / "matrix.mtx", sp.coo_matrix(matrix(names).X.T.astype(int)), field="integer")
    (folder / "barcodes.tsv").write_text("\n".join(CELLS) + "\n")
    (folder / "features.tsv").write_text("".join("\t".join([n, n, kind] if kind else [n, n]) + "\n" for n in names))
    return folder


def cut_folder(folder: Path) -> None:
    own = folder_10x(folder / "cut")
    data = (own / "matrix.mtx").read_bytes()
    (own / "matrix.mtx").unlink()
    (own / "matrix.mtx.gz").write_bytes(gzip.compress(data + bytes(9000))[:-9])
    (own / "matrix.mtx.gz").write_bytes(gzip.compress(bytes(9000))[:-9])


def folder_without_features(folder: Path) -> None:
    (folder_10x(folder / "two") / "features.tsv").unlink()


def boasting_folder(folder: Path) -> None:
    own = folder_10x(folder / "boast")
    (own / "matrix.mtx").write_text(
        f"%%MatrixMarket matrix coordinate integer general\n{len(GENES)} {len(CELLS)} {10**12}\n1 1 1\n"
    )


def list_without_suffix(folder: Path) -> None:
    matrix().write_h5ad(folder / "listed.h5ad")
    (folder / "cells.txt").write_text("\n".join(name.removesuffix("-1") for name in CELLS))


def list_of_none(folder: Path) -> None:
    matrix().write_h5ad(folder / "listed.h5ad")
    (folder / "none.csv").write_text("barcode,is__cell_barcode\nNO_BARCODE,0\n")


def reference(folder: Path) -> None:
    matrix().write_h5ad(folder / "ref.h5ad")


def reference_with_gaps(folder: Path) -> None:
    data = matrix()
    data.obs["cell_type"] = ["", ""] + ["B", "T"] * 7
    data.write_h5ad(folder / "gaps.h5ad")


def _labelled(name: str, content: str | bytes) -> Maker:
    def make(folder: Path) -> None:
        reference(folder)
        text(name, content)(folder)

    return make


labels_of_another = _labelled("others.csv", "barcode,cell_type\nTTTTTTTTTTTTTTTT-1,B\nTTTTTTTTTTTTTTTG-1,T\n")
labels_with_a_comma = _labelled("comma.csv", f"barcode,cell_type\n{CELLS[0]},CD4 T, naive\n")
labels_twice = _labelled("double.csv", f"barcode,cell_type\n{CELLS[0]},B\n{CELLS[0]},T\n")
labels_in_utf16 = _labelled("utf16.csv", f"barcode,cell_type\n{CELLS[0]},B\n".encode("utf-16"))
labels_named_unknown = _labelled("unknown.csv", f"barcode,cell_type\n{CELLS[0]},B\n{CELLS[1]},Unknown\n")


def folder_of_genes(folder: Path) -> None:
    folder_10x(folder / "genes", kind="Gene Expression")


def peak_matrix(folder: Path) -> None:
    matrix([f"chr1:{i}00-{i}50" for i in range(1, 31)]).write_h5ad(folder / "peaks.h5ad")


def peak_matrix_of_mm10(folder: Path) -> None:
    matrix([f"chr13:{199_999_500 - i}-{200_000_000 - i}" for i in range(30)]).write_h5ad(folder / "mm10.h5ad")


def cut_fragments(folder: Path) -> None:
    lines = "".join(f"chr1\t{i}\t{i + 90}\tAAAC-1\t1\n" for i in range(900)).encode()
    with pysam.BGZFile(str(folder / "cut.tsv.gz"), "wb", None) as bgzf:
        bgzf.write(lines)
    data = (folder / "cut.tsv.gz").read_bytes()
    assert data.endswith(BGZF_END)
    (folder / "cut.tsv.gz").write_bytes(data[: -len(BGZF_END)])


Rows = list[dict[str, str]]


def two_species(folder: Path) -> Rows:
    matrix(HUMAN).write_h5ad(folder / "human.h5ad")
    matrix([name.capitalize() for name in HUMAN]).write_h5ad(folder / "mouse.h5ad")
    return [
        {"role": "reference", "modality": "rna", "matrix": "human.h5ad", "labels": "cell_type"},
        {"role": "query", "modality": "rna", "matrix": "mouse.h5ad"},
    ]


def mouse_rna(folder: Path) -> Rows:
    for name in ("r.h5ad", "q.h5ad"):
        matrix([gene.capitalize() for gene in HUMAN]).write_h5ad(folder / name)
    return [
        {"role": "reference", "modality": "rna", "matrix": "r.h5ad", "labels": "cell_type"},
        {"role": "query", "modality": "rna", "matrix": "q.h5ad"},
    ]


def one_type(folder: Path) -> Rows:
    data = matrix()
    data.obs["cell_type"] = "B"
    for name in ("r.h5ad", "q.h5ad"):
        data.write_h5ad(folder / name)
    return [
        {"role": "reference", "modality": "rna", "matrix": "r.h5ad", "labels": "cell_type"},
        {"role": "query", "modality": "rna", "matrix": "q.h5ad"},
    ]


def chr_and_none(folder: Path) -> Rows:
    matrix([f"1:{i}00-{i}50" for i in range(1, 31)]).write_h5ad(folder / "r.h5ad")
    (folder / "q.tsv").write_text("chr1\t5\t50\tAAAC-1\t1\n")
    return [
        {"role": "reference", "modality": "atac", "matrix": "r.h5ad", "labels": "cell_type"},
        {"role": "query", "modality": "atac", "fragments": "q.tsv"},
    ]


Given = dict[str, Path | str]


def value(bad: float) -> Callable[[Path], Given]:
    """A matrix with one bad value."""

    def make(folder: Path) -> Given:
        data = matrix()
        data.X[4, 7] = bad
        data.write_h5ad(folder / "values.h5ad")
        return {"matrix": folder / "values.h5ad"}

    return make


def zeros(folder: Path) -> Given:
    data = matrix()
    data.X = 0 * data.X
    data.write_h5ad(folder / "values.h5ad")
    return {"matrix": folder / "values.h5ad"}


def scaled_peaks(folder: Path) -> Given:
    data = matrix([f"chr1:{i}00-{i}50" for i in range(1, 31)])
    data.X = data.X / 3
    data.write_h5ad(folder / "values.h5ad")
    return {"matrix": folder / "values.h5ad"}


def damaged_places(folder: Path) -> Given:
    data = matrix()
    data.X = sp.csr_matrix(data.X)
    data.write_h5ad(folder / "values.h5ad")
    with h5py.File(folder / "values.h5ad", "a") as handle:
        handle["X/indices"][0] = 99
    return {"matrix": folder / "values.h5ad"}


def _many_fragments(folder: Path, last: str, name: str = "late.tsv") -> Given:
    lines = (f"chr1\t{i}\t{i + 90}\t{CELLS[i % 16]}\t1\n" for i in range(20_001))
    (folder / name).write_text("".join(lines) + last)
    return {"fragments": folder / name}


def late_fault(folder: Path) -> Given:
    return _many_fragments(folder, f"chr1\t90\t80\t{CELLS[0]}\t1\n")


def late_line(folder: Path) -> Given:
    given = _many_fragments(folder, "")
    os.truncate(folder / "late.tsv", HUGE)
    return given


def few_fragments(folder: Path) -> Given:
    return {**_many_fragments(folder, ""), "--min-fragments": "5000"}


def other_chromosomes(folder: Path) -> Given:
    (folder / "g.sizes").write_text("chrII\t900000\n")
    return {**_many_fragments(folder, ""), "--chrom-sizes": folder / "g.sizes"}


def sheet_files(folder: Path) -> None:
    """The files that the cases of the sheet and the parameters name."""
    for name in ("a.h5ad", "b.h5ad", "q.tsv.gz", "1.bed", "notes.txt", "genes.gtf", "a$(touch PWNED).h5ad"):
        (folder / name).write_text("content\n")
    (folder / "b`touch PWNED`.txt").write_text("content\n")
    (folder / "empty.h5ad").touch()
    (folder / "loop.h5ad").symlink_to("loop.h5ad")
    (folder / "broken.h5ad").symlink_to("nowhere")
    for name in ("hollow", "folder.tsv.gz", "mtx", "images; touch PWNED"):
        (folder / name).mkdir()
    (folder / "folder.tsv.gz" / "x").touch()
    (folder / "mtx" / "matrix.mtx").write_text("content\n")
    (folder / "m.csv").write_text("cell_type,gene\nB,\n")
    bundle(folder / "bundle")
    for name, info in (
        ("cut_bundle", '{"recipe": '),
        ("odd_bundle", '{"recipe": {"kind": "peaks; touch PWNED"}, "reference_modality": "atac"}'),
    ):
        shutil.copytree(folder / "bundle", folder / name)
        (folder / name / "bundle.json").write_text(info)
    header, row = "sample,role,modality,matrix,labels", "r,reference,rna,a.h5ad,l.csv\n"
    sparse("huge.csv")(folder)
    (folder / "endless.csv").write_text("sample" * 100_000)
    quotes = '"' * 7002
    (folder / "quotes.csv").write_text(f"{header}\n{row}{quotes},query,rna,b.h5ad,\n")
    (folder / "utf16.csv").write_bytes(f"{header}\n{row}".encode("utf-16"))
    (folder / "tabs.csv").write_text(f"{header}\n{row}".replace(",", "\t"))
    (folder / "void.csv").touch()
    (folder / "header.csv").write_text(f"{header}\n")
    (folder / "twice.csv").write_text(f"{header},role\n{row.strip()},reference\n")
    (folder / "capitals.csv").write_text(f"{header.replace('role', 'Role')}\n{row}")
    (folder / "swapped.csv").write_text(f"{header}\nr,reference,rna,a.h5ad,\nq,query,rna,b.h5ad,l.csv\n")
    (folder / "l.csv").write_text("barcode,cell_type\n")
