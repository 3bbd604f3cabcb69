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
    import numpy as np

    from cellpredx.core.files import write_csv
    from cellpredx.explain.determinants import Determinants
    from cellpredx.matrix.stored import StoredMatrix
    from cellpredx.model import bundle
    from cellpredx.model.normalise import model_input

    model = bundle.read(args.bundle)
    number = {name: k for k, name in enumerate(model.labels)}
    found = Determinants(model.folded_weight, model.folded_bias)
    with StoredMatrix(args.annotated) as stored:
        predicted = np.array([number[str(name)] for name in stored.obs["predicted"]], np.int64)
        for begin, block in stored.blocks(entries=1 << 22):
            x = model_input(block, stored.about, model.info["hyperparameters"])
            found.add(x, predicted[begin : begin + block.shape[0]])
    write_csv(found.table(model.labels, list(model.features.index.astype(str))), args.out)
