"""`cellpredx explain`: an annotated query and its bundle -> determinants.csv."""

import argparse
from typing import Any


def register(verbs: Any) -> None:
    """Add this stage's verbs."""
    parser = verbs.add_parser("explain", help="the features that decided the predictions -> determinants.csv")
    parser.add_argument("--bundle", required=True)
    parser.add_argument("--annotated", required=True, help="annotated.h5ad of `predict`")
    parser.add_argument("--out", default="determinants.csv")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Write the determinant features of every predicted type."""
    import anndata as ad
    import numpy as np

    from cellpredx.core.files import write_csv
    from cellpredx.explain.determinants import determinants
    from cellpredx.model import bundle
    from cellpredx.model.normalise import model_input

    model = bundle.read(args.bundle)
    query = ad.read_h5ad(args.annotated)
    x = model_input(query.X, query.uns["cellpredx"], model.info["hyperparameters"])
    number = {name: k for k, name in enumerate(model.labels)}
    predicted = np.array([number[str(name)] for name in query.obs["predicted"]])
    table = determinants(
        x, model.folded_weight, model.folded_bias, predicted, model.labels, list(model.features.index.astype(str))
    )
    write_csv(table, args.out)
