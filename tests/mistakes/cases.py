"""The table of mistakes: each with what is given, and what is said. docs/mistakes.md is made of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.mistakes import files

Files = Callable[[Path], Any]


@dataclass(frozen=True)
class Case:
    """One mistake: the fault in a few words, a part of the message (`says`), and of its place (`where`).

    `row`: cells of a row of the sheet; a path in it is made by `make`, which gets the folder of the case and may return
    more cells. `given`: parameters.
    """

    fault: str
    says: str
    where: str = ""
    row: dict[str, str] = field(default_factory=dict)
    given: dict[str, str] = field(default_factory=dict)
    make: Files | None = None


def rna(**cells: str) -> dict[str, str]:
    """A sound query of RNA but for `cells`."""
    return {"role": "query", "modality": "rna", "matrix": "a.h5ad", **cells}


def atac(**cells: str) -> dict[str, str]:
    """A sound query of fragments but for `cells`."""
    return {"role": "query", "modality": "atac", "fragments": "q.tsv.gz", **cells}


SHELL = "$(touch PWNED) `touch PWNED`; touch PWNED; '\""

# Found in the sheet alone: `where` is the column.
SHEET = (
    Case("a sample's name with a space", "sample `a b` is not of the right form", "sample", rna(sample="a b")),
    Case("`../` in a sample's name", "sample `../a` is not of the right form", "sample", rna(sample="../a")),
    Case(
        "`;` in a sample's name",
        "sample `a;touch PWNED` is not of the right form",
        "sample",
        rna(sample="a;touch PWNED"),
    ),
    Case(
        "`$(...)` in a sample's name",
        "sample `a$(touch PWNED)` is not of the right form",
        "sample",
        rna(sample="a$(touch PWNED)"),
    ),
    Case("no name", "sample is empty", "sample", rna(sample="")),
    Case("another role", "role `teacher` is not one of reference, query", "role", rna(role="teacher")),
    Case("`$(...)` as a role", "is not one of reference, query", "role", rna(role="$(touch PWNED)")),
    Case("another modality", "modality `protein` is not one of rna, atac", "modality", rna(modality="protein")),
    Case("`../` in a library's name", "library `../l` is not of the right form", "library", rna(library="../l")),
    Case(
        "a backtick in a library's name",
        "library `a`touch PWNED`` is not of the right form",
        "library",
        rna(library="a`touch PWNED`"),
    ),
    Case("`../` in a group's name", "group `../g` is not of the right form", "group", rna(group="../g")),
    Case(
        "`$(...)` in a group's name",
        "group `$(touch PWNED)` is not of the right form",
        "group",
        rna(group="$(touch PWNED)"),
    ),
    Case("a file that is not there", "matrix `nowhere.h5ad` does not exist", "matrix", rna(matrix="nowhere.h5ad")),
    Case("an empty file", "matrix `empty.h5ad` is empty", "matrix", rna(matrix="empty.h5ad")),
    Case("an empty folder", "matrix `hollow` is empty", "matrix", rna(matrix="hollow")),
    Case("a link to itself", "matrix `loop.h5ad` is a link that leads nowhere", "matrix", rna(matrix="loop.h5ad")),
    Case("a broken link", "matrix `broken.h5ad` is a link that leads nowhere", "matrix", rna(matrix="broken.h5ad")),
    Case(
        "a folder where a file is meant",
        "fragments `folder.tsv.gz` is a folder, not a file",
        "fragments",
        atac(fragments="folder.tsv.gz"),
    ),
    Case(
        "a file of another kind",
        "matrix `notes.txt` is not a file of the right kind",
        "matrix",
        rna(matrix="notes.txt"),
    ),
    Case("`$(...)` in a path", "which the engine cannot handle", "matrix", rna(matrix="a$(touch PWNED).h5ad")),
    Case("a backtick in a path", "which the engine cannot handle", "barcodes", rna(barcodes="b`touch PWNED`.txt")),
    Case("a row without a file", "the row has no file", "fragments", rna(matrix="")),
    Case(
        "fragments and a matrix in one row", "the row has both fragments and a matrix", "matrix", atac(matrix="a.h5ad")
    ),
    Case("fragments of RNA", "fragments are given for RNA", "fragments", rna(matrix="", fragments="q.tsv.gz")),
    Case("peaks of RNA", "peaks are given for RNA", "peaks", rna(peaks="1.bed")),
    Case(
        "gene activity of RNA",
        "gene_activity is given without an ATAC matrix",
        "gene_activity",
        rna(gene_activity="b.h5ad"),
    ),
    Case("a reference without labels", "a reference without labels", "labels", rna(role="reference")),
    Case(
        "a column of labels for a 10x folder",
        "labels `cell_type` does not exist",
        "labels",
        rna(role="reference", matrix="mtx", labels="cell_type"),
    ),
    Case("a row with too few cells", "the row has 3 cells, the header 12", "", {"": "short,query,rna"}),
    Case("a quote that is not closed", "a quote is not closed", "", {"": 'quote,query,atac,,"q,,,,,,,'}),
)

# Parameters: `where` is the parameter.
PARAMETERS = (
    Case("a parameter that is not there", "there is no such parameter", given={"anotation": "genes.gtf"}),
    Case("a negative seed", "`-1` is too small", given={"seed": "-1"}),
    Case("no thread", "`0` is too small", given={"threads": "0"}),
    Case("a million threads", "`1000000` is too large", given={"threads": "1000000"}),
    Case("half a base pair", "`2.5` is not a whole number", given={"window_size": "2.5"}),
    Case("a word for a number", "`lots` is not a whole number", given={"max_train_cells": "lots"}),
    Case("a share above 1", "`1.5` is too large", given={"unknown_threshold": "1.5"}),
    Case("a genome that is not shipped", "`hg37` is not one of hg38, hg19, mm10, mm39", given={"genome": "hg37"}),
    Case("`$(...)` as a preset", "is not one of paper, tuned, paper_literal", given={"preset": "$(touch PWNED)"}),
    Case(
        "a quote and `;` in the hyper-parameters",
        "is not of the right form",
        given={"hyperparameters": "a=1'; touch PWNED; '"},
    ),
    Case("`;` in the baselines", "is not of the right form", given={"baselines": "all; touch PWNED"}),
    Case("`;` in the registry", "is not of the right form", given={"registry": "x; touch PWNED; "}),
    Case("`;` in --image_dir", "container engines do not take it", given={"image_dir": "images; touch PWNED"}),
    Case("`$(...)` in --outdir", "which the engine cannot handle", given={"outdir": "r$(touch PWNED)"}),
    Case("a parameter without a value", "--label_map has no value", given={"label_map": ""}),
    Case("a file where a folder is meant", "`genes.gtf` is a file, not a folder", given={"image_dir": "genes.gtf"}),
    Case(
        "a text file as the annotation",
        "`notes.txt` is not a file of the right kind",
        given={"annotation": "notes.txt"},
    ),
    Case("a row of markers without a gene", "gene is empty", "m.csv, line 2, column gene", given={"markers": "m.csv"}),
    Case("a blacklist that is not there", "`nowhere.bed` does not exist", given={"blacklist": "nowhere.bed"}),
    Case(
        "two parameters that contradict each other",
        "both are given, and each of them decides which cells are Unknown",
        "parameters --target_error, --unknown_threshold",
        given={"target_error": "0.1", "unknown_threshold": "0.5"},
    ),
    Case(
        "a scenario that the modalities do not have",
        "`atac` does not fit group `all`",
        "parameter --scenario",
        given={"scenario": "atac"},
    ),
    Case(
        "--model beside a reference",
        "has a reference, and --model brings one already",
        "line 2, column role",
        given={"model": "bundle"},
    ),
    Case(
        "--hyperparameters beside --model",
        "both are given, and with --model nothing is trained",
        "parameters --model, --hyperparameters",
        given={"model": "bundle", "hyperparameters": "iterations=5"},
    ),
    Case("a folder that is no bundle", "holds no bundle.json", given={"model": "mtx"}),
    Case("a bundle whose JSON is cut", "is damaged: bundle.json", given={"model": "cut_bundle"}),
    Case("a bundle whose kind of features is a command", "is damaged: bundle.json", given={"model": "odd_bundle"}),
    Case("a sheet of 5 GB", "the table is larger than 16 MB", "huge.csv", given={"input": "huge.csv"}),
    Case(
        "a sheet of one long line",
        "a line of more than 8,000 characters",
        "endless.csv, line 1",
        given={"input": "endless.csv"},
    ),
    Case(
        "a cell of 7,000 quotes",
        "a quote is not closed, or stands inside a cell",
        "quotes.csv, line 3",
        given={"input": "quotes.csv"},
    ),
    Case("a sheet in UTF-16", "the table is no UTF-8 text", "utf16.csv", given={"input": "utf16.csv"}),
    Case(
        "tabs for commas in the sheet", "columns are separated by tabs", "tabs.csv, line 1", given={"input": "tabs.csv"}
    ),
    Case("an empty sheet", "`void.csv` is empty", given={"input": "void.csv"}),
    Case("a sheet without a row", "the sheet has a header and no row", "header.csv", given={"input": "header.csv"}),
    Case(
        "a column that comes twice",
        "column role comes twice",
        "twice.csv, line 1, column role",
        given={"input": "twice.csv"},
    ),
    Case(
        "a column in capitals",
        "there is no such column",
        "capitals.csv, line 1, column Role",
        given={"input": "capitals.csv"},
    ),
    Case(
        "the labels stand on the query, not on the reference",
        "a reference without labels",
        "swapped.csv, line 2, column labels",
        given={"input": "swapped.csv"},
    ),
)

# Files that all samples share, and hyper-parameters: found by CHECK_SETTINGS.
SETTINGS = (
    Case(
        "a GTF without a gene",
        "the GTF has no gene and no transcript line",
        given={"annotation": "genes.gtf"},
        make=files.gtf_without_genes,
    ),
    Case(
        "a BED of genes without strands",
        "not a line of a gene BED",
        given={"annotation": "genes.bed"},
        make=files.bed_without_strands,
    ),
    Case("a GTF that is cut", "the annotation cannot be read", given={"annotation": "cut.gtf.gz"}, make=files.cut_gtf),
    Case(
        "a small GTF that unpacks to 5 GB",
        "the annotation has a line of more than 1 MB",
        given={"annotation": "bomb.gtf.gz"},
        make=files.bomb("bomb.gtf.gz"),
    ),
    Case(
        "spaces for tabs in the chromosome sizes",
        "not a line of chromosome sizes",
        given={"chrom_sizes": "g.sizes"},
        make=files.sizes_of_spaces,
    ),
    Case(
        "the FASTA in place of its sizes",
        "not a line of chromosome sizes",
        given={"chrom_sizes": "g.fa"},
        make=files.fasta,
    ),
    Case(
        "spaces for tabs in the blacklist",
        "columns are separated by spaces",
        given={"blacklist": "b.bed"},
        make=files.blacklist_of_spaces,
    ),
    Case(
        "a label map without `from`",
        "the table has no column 'from'",
        given={"label_map": "map.csv"},
        make=files.map_without_from,
    ),
    Case(
        "a label map that says two things of a label",
        "label 'B' is renamed to 'b' and to 'c'",
        given={"label_map": "map2.csv"},
        make=files.map_that_contradicts,
    ),
    Case(
        "a hyper-parameter that is not there",
        "'iteration' is no hyper-parameter",
        given={"hyperparameters": "iteration=5"},
    ),
    Case(
        "a word for the number of a hyper-parameter",
        "'many' is no value for iterations",
        given={"hyperparameters": "iterations=many"},
    ),
    Case("a negative hyper-parameter", "alpha must be a number from 0", given={"hyperparameters": "alpha=-1"}),
    Case(
        "a hyper-parameter that the preset does not use",
        "smoothing_steps has no part in this preset and scenario",
        given={"hyperparameters": "smoothing_steps=3"},
    ),
    Case(
        "a hyper-parameter that one of two scenarios does not use",
        "features_c has no part in this preset and scenario",
        "scenario unmatched",
        given={"hyperparameters": "features_c=0.1", "preset": "tuned"},
    ),
    Case(
        "a bundle with changed weights",
        "weights.safetensors of the bundle is missing or was changed",
        given={"model": "changed"},
        make=files.changed_bundle,
    ),
    Case(
        "a bundle whose JSON was edited",
        "bundle.json is damaged or was changed",
        given={"model": "edited"},
        make=files.edited_bundle,
    ),
    Case("a bundle of a newer version", "the bundle has format 99", given={"model": "newer"}, make=files.newer_bundle),
    Case(
        "`../` and absolute names in a bundle's list of files",
        "bundle.json names other files than a bundle has: ../../etc/passwd, /etc/passwd",
        given={"model": "climbing"},
        make=files.climbing_bundle,
    ),
    Case(
        "a bundle with a link to another file",
        "features.csv of the bundle is missing or was changed",
        given={"model": "linked"},
        make=files.linked_bundle,
    ),
)

# Files of a sample: found by CHECK_INPUTS. `where` is the file.
INPUTS = (
    Case(
        "another HDF5 file",
        "the layout of the HDF5 file is not known",
        "other.h5",
        rna(matrix="other.h5"),
        make=files.other_hdf5,
    ),
    Case("text named .h5ad", "it is no HDF5 file", "text.h5ad", rna(matrix="text.h5ad"), make=files.text("text.h5ad")),
    Case("an .h5ad that is cut", "the matrix cannot be read", "cut.h5ad", rna(matrix="cut.h5ad"), make=files.cut_h5ad),
    Case(
        "cells for genes", "the matrix is transposed", "turned.h5ad", rna(matrix="turned.h5ad"), make=files.transposed
    ),
    Case(
        "a matrix without a cell",
        "the matrix has 0 cells and 30 features",
        "none.h5ad",
        rna(matrix="none.h5ad"),
        make=files.without_cells,
    ),
    Case(
        "barcodes that repeat",
        "1 barcodes stand more than once",
        "twice.h5ad",
        rna(matrix="twice.h5ad"),
        make=files.repeated_barcodes,
    ),
    Case(
        "values for other cells than there are names",
        "16 x 29 values for 16 cells and 30 features",
        "shape.h5ad",
        rna(matrix="shape.h5ad"),
        make=files.other_shape,
    ),
    Case(
        "an .h5ad that claims 10^12 cells",
        "values, which 0 bytes cannot hold",
        "boast.h5ad",
        rna(matrix="boast.h5ad"),
        make=files.boasting_h5ad,
    ),
    Case(
        "an .h5ad whose values lie in another file",
        "a part of the file lies in another file",
        "else.h5ad, X",
        rna(matrix="else.h5ad"),
        make=files.external_h5ad,
    ),
    Case(
        "a pickled object for the names in an .h5ad",
        "the matrix cannot be read",
        "object.h5ad",
        rna(matrix="object.h5ad"),
        make=files.object_h5ad,
    ),
    Case(
        "a matrix.mtx.gz that is cut",
        "the matrix cannot be read",
        "matrix.mtx.gz",
        rna(matrix="cut"),
        make=files.cut_folder,
    ),
    Case(
        "a 10x folder without features",
        "features.tsv (.gz or not, with one prefix) is missing",
        "two",
        rna(matrix="two"),
        make=files.folder_without_features,
    ),
    Case(
        "a matrix.mtx that announces 10^12 entries",
        "the matrix announces 1,000,000,000,000 entries",
        "matrix.mtx, line 2",
        rna(matrix="boast"),
        make=files.boasting_folder,
    ),
    Case(
        "a list of barcodes with another suffix",
        "none of the 16 barcodes of the list is in the matrix",
        "cells.txt",
        rna(matrix="listed.h5ad", barcodes="cells.txt"),
        make=files.list_without_suffix,
    ),
    Case(
        "a table of cells without a cell",
        "no row of the table has 1 in 'is__cell_barcode'",
        "none.csv",
        rna(matrix="listed.h5ad", barcodes="none.csv"),
        make=files.list_of_none,
    ),
    Case(
        "a column of labels that is not there",
        "obs has no column 'celltype'",
        "ref.h5ad",
        rna(matrix="ref.h5ad", role="reference", labels="celltype"),
        make=files.reference,
    ),
    Case(
        "a column of labels named as a command",
        "obs has no column '$(touch PWNED)",
        "ref.h5ad",
        rna(matrix="ref.h5ad", role="reference", labels=SHELL),
        make=files.reference,
    ),
    Case(
        "cells of a reference without a label",
        "2 of 16 cells of reference",
        "gaps.h5ad",
        rna(matrix="gaps.h5ad", role="reference", labels="cell_type"),
        make=files.reference_with_gaps,
    ),
    Case(
        "labels of another sample",
        "none of the 2 labels names a cell of sample",
        "others.csv",
        rna(matrix="ref.h5ad", role="reference", labels="others.csv"),
        make=files.labels_of_another,
    ),
    Case(
        "a comma in a label without quotes",
        "the line has more fields than the header",
        "comma.csv, line 2",
        rna(matrix="ref.h5ad", role="reference", labels="comma.csv"),
        make=files.labels_with_a_comma,
    ),
    Case(
        "two labels of one cell",
        "has two labels",
        "double.csv, line 3",
        rna(matrix="ref.h5ad", role="reference", labels="double.csv"),
        make=files.labels_twice,
    ),
    Case(
        "labels in UTF-16",
        "the table is no UTF-8 text",
        "utf16.csv",
        rna(matrix="ref.h5ad", role="reference", labels="utf16.csv"),
        make=files.labels_in_utf16,
    ),
    Case(
        "a type named Unknown",
        "has a type named Unknown",
        "",
        rna(matrix="ref.h5ad", role="reference", labels="unknown.csv"),
        make=files.labels_named_unknown,
    ),
    Case(
        "an RNA matrix of 10x given as ATAC",
        "modality is atac, but the features are of type Gene Expression",
        "genes",
        {"role": "query", "modality": "atac", "matrix": "genes"},
        make=files.folder_of_genes,
    ),
    Case(
        "an ATAC matrix given as RNA",
        "modality is rna, but the features are regions",
        "peaks.h5ad",
        rna(matrix="peaks.h5ad"),
        make=files.peak_matrix,
    ),
    Case(
        "a peak matrix of another genome",
        "a region ends at 200,000,000, beyond the end of chr13",
        "mm10.h5ad, peak chr13:",
        {"role": "query", "modality": "atac", "matrix": "mm10.h5ad"},
        make=files.peak_matrix_of_mm10,
    ),
    Case(
        "a BGZF file without its last block",
        "the file is truncated: its BGZF end block is missing",
        "cut.tsv.gz",
        atac(fragments="cut.tsv.gz"),
        make=files.cut_fragments,
    ),
    Case(
        "spaces for tabs in the fragments",
        "not a fragment",
        "spaces.tsv, line 1",
        atac(fragments="spaces.tsv"),
        make=files.fragments("spaces.tsv", "chr1 5 50 AAAC-1 1\n"),
    ),
    Case(
        "fragments without barcodes",
        "not a fragment",
        "three.tsv, line 1",
        atac(fragments="three.tsv"),
        make=files.fragments("three.tsv", "chr1\t5\t50\n"),
    ),
    Case(
        "a negative coordinate",
        "not a fragment",
        "negative.tsv, line 2",
        atac(fragments="negative.tsv"),
        make=files.fragments("negative.tsv", "chr1\t5\t50\tAAAC-1\t1\nchr1\t-5\t50\tAAAC-1\t1\n"),
    ),
    Case(
        "a coordinate that is no whole number",
        "not a fragment",
        "decimal.tsv, line 1",
        atac(fragments="decimal.tsv"),
        make=files.fragments("decimal.tsv", "chr1\t5.5\t50\tAAAC-1\t1\n"),
    ),
    Case(
        "a start that is not before its end",
        "start is not before end",
        "back.tsv, line 1",
        atac(fragments="back.tsv"),
        make=files.fragments("back.tsv", "chr1\t50\t50\tAAAC-1\t1\n"),
    ),
    Case(
        "a fragment beyond its chromosome",
        "a region ends at 300,000,000, beyond the end of chr1",
        "far.tsv, line 1",
        atac(fragments="far.tsv"),
        make=files.fragments("far.tsv", "chr1\t299999000\t300000000\tAAAC-1\t1\n"),
    ),
    Case(
        "a fragment file of comments alone",
        "the file has no fragment",
        "comments.tsv",
        atac(fragments="comments.tsv"),
        make=files.fragments("comments.tsv", "# none\n"),
    ),
    Case(
        "a small fragment file that unpacks to 5 GB",
        "the fragment file has a line of more than 1 MB",
        "bomb.tsv.gz",
        atac(fragments="bomb.tsv.gz"),
        make=files.bomb("bomb.tsv.gz"),
    ),
    Case(
        "a fragment file that is one line of 5 GB",
        "the fragment file has a line of more than 1 MB",
        "line.tsv",
        atac(fragments="line.tsv"),
        make=files.sparse("line.tsv"),
    ),
    Case(
        "a peak that ends before it starts",
        "not a region",
        "peaks.bed, line 2",
        atac(peaks="peaks.bed"),
        make=files.bed("peaks.bed", "chr1\t5\t50\nchr1\t90\t80\n"),
    ),
    Case(
        "peaks of another genome (mm10 beside hg38)",
        "a region ends at 120,000,000, beyond the end of chr13",
        "mm10.bed, line 1",
        atac(peaks="mm10.bed"),
        make=files.bed("mm10.bed", "chr13\t119999000\t120000000\n"),
    ),
    Case(
        "a small BED that unpacks to 5 GB",
        "the file of regions has a line of more than 1 MB",
        "bomb.bed.gz",
        atac(peaks="bomb.bed.gz"),
        make=files.bomb("bomb.bed.gz"),
    ),
    Case(
        "a small list of barcodes that unpacks to 5 GB",
        "the list of barcodes unpacks to more than 200 times its size",
        "bomb.txt.gz",
        atac(barcodes="bomb.txt.gz"),
        make=files.bomb("bomb.txt.gz", b"AAACCCAAGAAACCCA-1\n"),
    ),
)

# Samples that do not fit each other: found by CHECK_INPUTS of all of them. A row each, of one group.
TRANSFERS = (
    Case(
        "a human reference and a mouse query",
        "two species: sample `t0-r` is of human, sample `t0-q` of mouse",
        make=files.two_species,
    ),
    Case(
        "mouse RNA beside --genome hg38",
        "two species: sample `t1-r` is of mouse, --genome or --chrom_sizes of human",
        make=files.mouse_rna,
    ),
    Case("a reference of one type", "the reference has one label only: `B`", make=files.one_type),
    Case(
        "`chr1` in the fragments, `1` in the peaks of the reference",
        "chromosomes are named in two ways: sample `t3-r` has 1, sample `t3-q` has chr1",
        make=files.chr_and_none,
    ),
)

# Values, which only the task that reads them knows.
VALUES = (
    Case("NaN in a matrix", "the matrix has NaN values: 1 of", "X, cell", make=files.value(float("nan"))),
    Case("an infinite value", "the matrix has infinite values: 1 of", "X, cell", make=files.value(float("inf"))),
    Case("a negative count", "the matrix has negative values: 1 of", "X, cell", make=files.value(-3)),
    Case("a matrix of zeros", "every value of the matrix is 0", "values.h5ad, X", make=files.zeros),
    Case(
        "scaled values of ATAC",
        "the matrix holds no whole-number counts",
        "values.h5ad, X",
        {"modality": "atac"},
        make=files.scaled_peaks,
    ),
    Case(
        "an .h5ad with a place beyond its features",
        "the matrix cannot be read",
        "values.h5ad",
        make=files.damaged_places,
    ),
    Case(
        "a fault far down in the fragments",
        "start is not before end",
        "late.tsv, line 20002",
        atac(),
        make=files.late_fault,
    ),
    Case(
        "a line of 5 GB far down in the fragments",
        "a line is longer than 64 MB",
        "late.tsv",
        atac(),
        make=files.late_line,
    ),
    Case(
        "no barcode with enough fragments",
        "is a cell: none of 16 has 5,000 fragments",
        "",
        atac(),
        make=files.few_fragments,
    ),
    Case(
        "fragments on chromosomes that the genome does not know",
        "no chromosome of the fragments is in the genome",
        "",
        atac(),
        make=files.other_chromosomes,
    ),
)

# Where they are found: before any task; by the first tasks, before any data are read; by the task that reads values.
FOUND = {"entry": (*SHEET, *PARAMETERS), "check": (*SETTINGS, *INPUTS, *TRANSFERS), "task": VALUES}
ALL = tuple(case for found in FOUND.values() for case in found)
