"""Published marker lists of ../shared/data as --markers takes them, under the types' names in the data sets."""

from pathlib import Path

import pandas as pd

# Of scCATCH's CellMatch: a type's name in the data set, and (cell type, first subtype) in the list.
BLOOD = {"B": [("B Cell", "")], "M": [("Monocyte", "")], "T": [("T Cell", "")]}
CORTEX = {
    "Astro": [("Astrocyte", "")],
    "CGE": [("Interneuron-selective Cell", "")],
    "Endo": [("Endothelial Cell", "")],
    "MGC": [("Microglial Cell", ""), ("Microglia Cell", "")],
    "OPC": [("Precursor Cell", "Oligodendrocyte")],
    "Oligo": [("Oligodendrocyte", ""), ("Myelinating Oligodendrocyte", "")],
    "Peri": [("Pericyte", "")],
    "Pvalb": [("Basket Cell", "")],
    "Sst": [("Martinotti Cell", "")],
}


def write_markers(
    data: Path, species: str, tissues: tuple[str, ...], types: dict[str, list[tuple[str, str]]], path: Path
) -> Path:
    """Write cell_type, gene of healthy cells of the tissues; layers of the cortex have no markers in the list."""
    table = pd.read_csv(data / "marker-lists" / "cellmatch_human_mouse.csv.gz", dtype=str, keep_default_na=False)
    table = table[(table["species"] == species) & table["tissue"].isin(tissues) & (table["cancer"] == "Normal")]
    rows = [
        {"cell_type": name, "gene": gene}
        for name, sources in types.items()
        for source in sources
        for gene in table.loc[(table["celltype"] == source[0]) & (table["subtype1"] == source[1]), "gene"]
    ]
    pd.DataFrame(rows).drop_duplicates().to_csv(path, index=False)
    return path


def blood(data: Path, path: Path) -> Path:
    """Write the markers of human B cells, monocytes and T cells."""
    return write_markers(data, "Human", ("Blood", "Peripheral blood"), BLOOD, path)


def cortex(data: Path, path: Path) -> Path:
    """Write the markers of the types of the mouse cortex that the list has."""
    return write_markers(data, "Mouse", ("Brain",), CORTEX, path)
