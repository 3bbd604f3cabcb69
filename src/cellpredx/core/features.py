"""The features of a bundle."""

from pathlib import Path

import pandas as pd

FEATURE_COLUMNS = ("gene_id", "gene_name", "feature_type", "chrom", "start", "end")
_TEXTS = ("name", "gene_id", "gene_name", "feature_type", "chrom")


def read_features(path: Path) -> pd.DataFrame:
    """Read features.csv of a bundle: index name; genes and chromosomes stay texts where they look like numbers."""
    return pd.read_csv(path, index_col="name", keep_default_na=False, dtype=dict.fromkeys(_TEXTS, str))
