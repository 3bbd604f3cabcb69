"""`cellpredx check`: the headers of a sample's files -> check.json."""

import argparse
from typing import Any


def register(verbs: Any) -> None:
    """Add this stage's verbs."""
    parser = verbs.add_parser("check", help="open the headers of a sample's files -> check.json")
    parser.add_argument("--spec", default="-", help="the sample's rows as JSON (- is standard input)")
    parser.add_argument("--needs-genes", action="store_true")
    parser.add_argument("--annotation")
    parser.add_argument("--peak-gene-link")
    parser.add_argument("--out", default="check.json")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Write what is wrong with a sample's files, if anything; the workflow gathers all samples' problems."""
    from cellpredx.core.files import write_json
    from cellpredx.core.spec import read_spec
    from cellpredx.samplesheet.check import check_sample

    spec = read_spec(args.spec)
    write_json(check_sample(spec, args.needs_genes, args.annotation is not None, args.peak_gene_link), args.out)
