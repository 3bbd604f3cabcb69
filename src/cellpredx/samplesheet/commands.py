"""`cellpredx check`: the headers of a sample's files -> check.json."""

import argparse
from typing import Any


def register(verbs: Any) -> None:
    """Add this stage's verbs."""
    parser = verbs.add_parser("check", help="open the headers of a sample's files -> check.json")
    parser.add_argument("--spec", required=True, help="the sample's rows: a JSON file, or base64:<JSON>")
    parser.add_argument("--needs-genes", action="store_true")
    parser.add_argument("--has-annotation", action="store_true")
    parser.add_argument("--out", default="check.json")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Write what is wrong with a sample's files, if anything; the workflow gathers all samples' problems."""
    from cellpredx.core.files import write_json
    from cellpredx.core.spec import read_spec
    from cellpredx.samplesheet.check import check_sample

    spec = read_spec(args.spec)
    write_json(check_sample(spec, args.needs_genes, args.has_annotation), args.out)
