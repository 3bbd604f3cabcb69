"""`cellpredx check`: the headers of a sample's files -> check.json."""

import argparse
from typing import Any


def register(verbs: Any) -> None:
    """Add this stage's verbs."""
    parser = verbs.add_parser("check", help="open the headers of a sample's files -> check.json")
    parser.add_argument("--spec", required=True, help="the sample's rows: a JSON file, or base64:<JSON>")
    parser.add_argument("--needs-genes", action="store_true")
    parser.add_argument("--has-annotation", action="store_true")
    parser.add_argument("--genome")
    parser.add_argument("--chrom-sizes")
    parser.add_argument("--label-map", help="CSV (from, to)")
    parser.add_argument("--out", default="check.json")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Write what is wrong with a sample's files, if anything; the workflow gathers all samples' problems."""
    from contextlib import suppress
    from pathlib import Path

    from cellpredx.core.errors import UserError
    from cellpredx.core.files import write_json
    from cellpredx.core.genome import read_sizes
    from cellpredx.core.labels import read_map
    from cellpredx.core.spec import read_spec
    from cellpredx.samplesheet.check import Shared, check_sample

    sizes: dict[str, int] = {}
    names: dict[str, str] = {}
    # What is wrong with files that all samples share is told once, by `check-settings`.
    with suppress(UserError, OSError):
        sizes = read_sizes(args.genome, args.chrom_sizes)
    with suppress(UserError, OSError):
        names = read_map(Path(args.label_map)) if args.label_map else {}
    shared = Shared(sizes, names, args.has_annotation)
    write_json(check_sample(read_spec(args.spec), args.needs_genes, shared), args.out)
