"""The genes' windows on the genome, in which their activity is counted."""

import numpy as np
import pandas as pd

from cellpredx.core.annotation import Annotation
from cellpredx.core.errors import UserError

UPSTREAM = 2000


def gene_windows(annotation: Annotation, sizes: dict[str, int]) -> pd.DataFrame:
    """Return gene bodies extended 2 kb upstream by strand (Signac's model), clamped to the chromosome.

    Index: unique names; columns chrom, start, end (bp, half-open), gene_id, gene_name.
    """
    genes = annotation.genes
    forward = (genes["strand"] != "-").to_numpy()
    start = np.where(forward, genes["start"] - UPSTREAM, genes["start"])
    end = np.where(forward, genes["end"], genes["end"] + UPSTREAM)
    limit = genes["chrom"].map(sizes).astype(float).fillna(np.inf).to_numpy()
    beyond = genes["end"].to_numpy() > limit
    if beyond.any():
        gene = genes[beyond].iloc[0]
        raise UserError(
            f"gene {gene['name']} ends at {gene['end']:,}, beyond the end of {gene['chrom']} "
            f"({limit[beyond][0]:,.0f} bp)",
            None,
            "give the annotation of the genome: --annotation, --genome or --chrom_sizes",
        )
    return pd.DataFrame(
        {
            "chrom": genes["chrom"].to_numpy(),
            "start": np.maximum(start, 0),
            "end": np.minimum(end, limit).astype(np.int64),
            "gene_id": genes["gene_id"].to_numpy(),
            "gene_name": genes["gene_name"].to_numpy(),
        },
        index=pd.Index(genes["name"].to_numpy()),
    )
