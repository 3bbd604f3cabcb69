"""Quality of fragment files: thresholds, knee, fragment sizes, TSS enrichment."""

from cellpredx.report.content import Json, Points, line_section, marks, table_section
from cellpredx.report.run import Run

COLUMNS = {
    "total": ("Fragments", "Fragments in the file", "count"),
    "in_cells": ("In cells", "Share of the fragments that belong to cells", "percent"),
    "min_fragments": ("Min. fragments", "Fragments that a barcode needs to be a cell", "count"),
    "min_tss": ("Min. TSS", "TSS enrichment that a barcode needs to be a cell", "number"),
    "tss_enrichment": ("TSS enrichment", "Median over cells", "number"),
    "nucleosome_signal": ("Nucleosome signal", "Mononucleosomal over nucleosome-free fragments", "number"),
    "duplicate_fraction": ("Duplicates", "Share of read pairs that are duplicates", "percent"),
    "mitochondrial_fraction": ("Mitochondrial", "Share of fragments on the mitochondrial contig", "percent"),
    "blacklist_fraction": ("Blacklist", "Share of a cell's fragments on the blacklist; median over cells", "percent"),
    "frip": ("In peaks", "Share of a cell's fragments that overlap a peak (FRiP); median over cells", "percent"),
    "doublets": ("Doublets", "Cells flagged as two cells in one droplet", "count"),
}


def _table(measured: dict[str, Json], frip: dict[str, float]) -> Json:
    rows = {
        name: {
            "frip": frip.get(name),
            **fragments,
            **fragments["thresholds"],
            "in_cells": fragments["in_cells"] / fragments["total"] if fragments["total"] else None,
        }
        for name, fragments in measured.items()
    }
    return table_section("fragments", "table", "Fragments and thresholds", "Sample", COLUMNS, rows)


def _sizes(counts: list[int]) -> Points:
    total = sum(counts)
    return [(size, 100 * count / total) for size, count in enumerate(counts)] if total else []


def _tss(profile: list[float]) -> Points:
    return [(10 * i - 2000, value) for i, value in enumerate(profile)]


def _knee(measured: dict[str, Json]) -> Json | None:
    lines = {
        name: [(rank, fragments) for rank, fragments in values["knee"] if rank > 0 and fragments > 0]
        for name, values in measured.items()
    }
    lines = {name: points for name, points in lines.items() if points}
    if not lines:
        return None
    settings = {
        "xlog": True,
        "ylog": True,
        "tt_label": "rank %{x:,.0f}: %{y:,.0f} fragments",
        "y_lines": marks(values["thresholds"]["min_fragments"] for values in measured.values()),
    }
    text = "Cells stand left of the steep fall; a dashed line is the minimum that a cell needs."
    axes = ("Barcode rank", "Fragments of the barcode")
    return line_section("fragments", "knee", "Knee plot", axes, lines, text, settings)


def fragment_sections(run: Run) -> list[Json]:
    """Return the sections on fragment files; none where no sample is one."""
    measured = {sample["sample"]: sample["fragments"] for sample in run.samples if sample["fragments"]}
    if not measured:
        return []
    frip = {one["sample"]: one["frip"] for one in run.counted if one["frip"] is not None}
    sections = [_table(measured, frip)]
    if knee := _knee(measured):
        sections.append(knee)
    if sizes := {name: points for name, values in measured.items() if (points := _sizes(values["sizes"]))}:
        text = "Nucleosome-free fragments are shorter than 147 bp; good libraries show a second hump near 200 bp."
        axes = ("Fragment length (bp)", "Fragments (%)")
        sections.append(line_section("fragments", "sizes", "Fragment lengths", axes, sizes, text, {"ymin": 0}))
    if profiles := {name: _tss(values["tss_profile"]) for name, values in measured.items() if values["tss_profile"]}:
        text = "Insertions around transcription start sites, relative to the flanks; a sharp peak is a good signal."
        axes = ("Distance from the start site (bp)", "Insertions, relative to the flanks")
        sections.append(line_section("fragments", "tss", "TSS profile", axes, profiles, text, {"ymin": 0}))
    return sections
