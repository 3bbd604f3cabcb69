"""What can be known of a sample's files without reading their data."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from cellpredx.core.barcodes import explain_mismatch, near_match, read_barcodes
from cellpredx.core.bed import read_regions
from cellpredx.core.errors import UNREADABLE, UserError, mistake_of
from cellpredx.core.genome import some_chromosomes
from cellpredx.core.labels import check_reference, final_labels, read_label_table
from cellpredx.core.spec import Row, SampleSpec
from cellpredx.samplesheet.fragments import read_head

if TYPE_CHECKING:
    import pandas as pd

    from cellpredx.samplesheet.headers import Header

T = TypeVar("T")


@dataclass(frozen=True)
class Shared:
    """What all samples have in common: chromosome sizes (bp), the map of labels, whether there is an annotation."""

    sizes: dict[str, int] = field(default_factory=dict)
    label_map: dict[str, str] = field(default_factory=dict)
    has_annotation: bool = False


class Problems:
    """Problems of a sample's rows, each with the number of its row; the workflow knows the lines of the sheet."""

    def __init__(self) -> None:
        self.found: list[dict[str, Any]] = []

    def add(self, row: Row, error: UserError) -> None:
        """Keep an error of a row."""
        self.found.append({"row": row.number, "what": error.what, "where": error.where, "remedy": error.remedy})

    def catch(self, row: Row, path: Path, read: Callable[[Path], T]) -> T | None:
        """Return what `read` makes of a file; keep its error, and return None then."""
        try:
            return read(path)
        except UNREADABLE as error:
            self.add(row, mistake_of(error, path.name))
        return None


class SampleCheck:
    """The check of one sample, row by row: what its files are, and what is wrong with them."""

    def __init__(self, spec: SampleSpec, needs_genes: bool, shared: Shared) -> None:
        self.spec, self.needs_genes, self.shared = spec, needs_genes, shared
        self.problems = Problems()
        self.proteins = any(row.proteins is not None for row in spec.rows)
        self.kinds: set[str] = set()
        self.barcodes: set[str] = set()
        self.seen_first: set[str] = set()
        self.species: set[str] = set()
        self.chromosomes: set[str] = set()
        self.labels: list[pd.DataFrame] = []

    def row(self, row: Row) -> None:
        """Check the files of a row."""
        listed = self.problems.catch(row, row.barcodes, read_barcodes) if row.barcodes is not None else None
        # Barcodes of the row's files, what they are, and whether they are all that there are.
        sources = [(listed, "the listed barcodes", True)] if listed else []
        if row.peaks is not None:
            regions = self.problems.catch(row, row.peaks, partial(read_regions, sizes=self.shared.sizes))
            self.chromosomes |= {chrom for chrom, _, _ in regions or ()}
        if row.fragments is not None:
            self.kinds.add("fragments")
            head = self.problems.catch(row, row.fragments, partial(read_head, sizes=self.shared.sizes))
            if head is not None:
                self.chromosomes |= head.chromosomes
                self.seen_first |= {self.spec.cell_name(row.library, b) for b in listed or head.barcodes}
                if listed and listed.isdisjoint(head.barcodes) and near_match(listed, head.barcodes):
                    assert row.barcodes is not None
                    self.problems.add(
                        row,
                        UserError(
                            f"none of the {len(listed):,} barcodes of the list is in {row.fragments.name}",
                            row.barcodes.name,
                            explain_mismatch(listed, sorted(head.barcodes), "the fragments have"),
                        ),
                    )
                if row.proteins is not None and not listed:
                    sources.append((head.barcodes, "the fragments' barcodes", False))
        if row.matrix is not None:
            header = self._matrix(row, row.matrix, listed)
            if header is not None:
                sources.append((set(header.obs.index), "the barcodes of the matrix", True))
        if row.proteins is not None:
            from cellpredx.samplesheet.proteins import check_proteins

            self.problems.catch(row, row.proteins, partial(check_proteins, matrix=row.matrix, sources=sources))

    def _matrix(self, row: Row, path: Path, listed: set[str] | None) -> "Header | None":
        # Imported here: a sample of fragments needs no library that reads matrices.
        import pandas as pd

        from cellpredx.samplesheet.headers import holds_proteins, matrix_kind, read_header
        from cellpredx.samplesheet.matrices import matrix_problems, region_problem, regions_of, species_of_header

        spec = self.spec
        columns = [spec.labels_column] if spec.labels_column else []
        if row.gene_activity is not None:
            self.problems.catch(row, row.gene_activity, lambda file: read_header(file, "gene_activity"))
        header = self.problems.catch(row, path, lambda file: read_header(file, spec.modality, columns))
        if header is None:
            return None
        kind = matrix_kind(header.var, spec.modality)
        self.kinds.add(kind)
        self.proteins = self.proteins or (spec.modality == "rna" and holds_proteins(header))
        self.barcodes |= {spec.cell_name(row.library, b) for b in header.obs.index}
        for error in matrix_problems(row, header, spec, listed, self.needs_genes, self.shared.has_annotation):
            self.problems.add(row, error)
        if kind == "peaks":
            regions = regions_of(header)
            self.chromosomes |= set(regions["chrom"])
            beyond = region_problem(header, regions, self.shared.sizes)
            if beyond is not None:
                self.problems.add(row, beyond)
        elif species := species_of_header(header):
            self.species.add(species)
        if spec.labels_column in header.obs:
            values = header.obs[spec.labels_column]
            own = pd.DataFrame(
                {"barcode": header.obs.index.astype(str), "cell_type": values.astype(object).where(values.notna(), "")}
            ).astype(str)
            self.labels.append(own[own["barcode"].isin(listed)] if listed is not None else own)
        return header

    def labelling(self) -> list[str]:
        """Check the labels of a sample; return the names of its types, two of them at the most."""
        spec, first = self.spec, self.spec.rows[0]
        if spec.labels_file is not None:
            table = self.problems.catch(first, spec.labels_file, read_label_table)
            if table is not None:
                self.labels = [table]
                self._strangers(table["barcode"].tolist(), spec.labels_file.name)
        if not self.labels or self.problems.found:
            return []
        import pandas as pd

        labels = final_labels(pd.concat(self.labels, ignore_index=True), self.shared.label_map)
        try:
            if "reference" in spec.roles:
                check_reference(labels, spec.sample)
        except UserError as error:
            self.problems.add(first, error)
        return sorted(set(labels["cell_type"]) - {""})[:2]

    def _strangers(self, named: list[str], file: str) -> None:
        """Tell where labels name no cell. Of fragments the first lines are known: there, labels that are as written but
        for what tools put around a barcode."""
        seen = self.barcodes or self.seen_first
        if not seen or not seen.isdisjoint(named):
            return
        near = near_match(set(named), seen)
        if self.barcodes or near:
            remedy = f"the labels name cells such as {named[0]!r}, the data {min(seen)!r}" if named else "it has no row"
            self.problems.add(
                self.spec.rows[0],
                UserError(
                    f"none of the {len(named):,} labels names a cell of sample {self.spec.sample}",
                    file,
                    f"{remedy}: write the labels' barcodes alike: {near}" if near else remedy,
                ),
            )

    def result(self) -> dict[str, Any]:
        """Check all rows and what they have in common; return check.json."""
        for row in self.spec.rows:
            self.row(row)
        types = self.labelling()
        if len(self.kinds) > 1:
            self.problems.add(
                self.spec.rows[0],
                UserError(
                    f"the files of sample {self.spec.sample} are of different kinds: {', '.join(sorted(self.kinds))}",
                    None,
                    "give all files of a sample as one kind, or two samples",
                ),
            )
        if len(self.species) > 1:
            self.problems.add(
                self.spec.rows[0],
                UserError(
                    f"the files of sample {self.spec.sample} are of two species: {' and '.join(sorted(self.species))}",
                    None,
                    "give the files of each species as a sample of its own",
                ),
            )
        return {
            "sample": self.spec.sample,
            "kind": min(self.kinds) if self.kinds else None,
            "proteins": self.proteins,
            "species": min(self.species, default=None),
            "chromosomes": some_chromosomes(self.chromosomes),
            "types": types,
            "problems": self.problems.found,
        }


def check_sample(spec: SampleSpec, needs_genes: bool, shared: Shared) -> dict[str, Any]:
    """Return what is known of a sample's files: {sample, kind, proteins (whether it has any), species of its genes,
    chromosomes (some), types (two at the most), problems}.

    needs_genes: gene activity will be made of an ATAC sample; then peaks need an annotation or the column that the
    sample names.
    """
    return SampleCheck(spec, needs_genes, shared).result()
