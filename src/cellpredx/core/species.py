"""Whose genes these are, told by their names."""

from collections.abc import Iterable

SPECIES_OF_GENOME = {"hg38": "human", "hg19": "human", "mm10": "mouse", "mm39": "mouse"}
_COMMON = ("ACTB", "GAPDH", "B2M", "MALAT1", "EEF1A1", "TMSB4X", "CD3E", "CD79A", "LYZ", "PTPRC", "COL1A1", "KRT18")
_IDS = {"ENSG": "human", "ENSMUSG": "mouse"}


def species_of(names: Iterable[str]) -> str | None:
    """Return human or mouse by Ensembl's ids or the spelling of common symbols (ACTB, Actb); else None."""
    symbols = {
        **dict.fromkeys(_COMMON, "human"),
        **{name.capitalize(): "mouse" for name in _COMMON},
    }
    votes = {"human": 0, "mouse": 0}
    for name in names:
        text = str(name)
        species = symbols.get(text) or _IDS.get(text.rstrip("0123456789.")) or None
        if species:
            votes[species] += 1
    first, second = sorted(votes, key=lambda name: -votes[name])
    return first if votes[first] >= 3 and votes[first] > 10 * votes[second] else None
