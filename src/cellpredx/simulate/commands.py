"""The verb `simulate`."""

import argparse
from pathlib import Path

from cellpredx.core.errors import UserError

FEWEST_CELLS = 50


def register(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `simulate` to the verbs."""
    parser = verbs.add_parser("simulate", help="write a small data set with a known answer and its sample sheet")
    parser.add_argument(
        "--scenario",
        choices=("demo", "matched", "unmatched", "atac", "rna", "citeseq"),
        required=True,
        help="demo is unmatched with a cell type that the reference lacks",
    )
    parser.add_argument("--outdir", type=Path, required=True, help="the folder to write, with sheet.csv in it")
    parser.add_argument("--cells", type=int, help="cells of each sample (default: 600 for demo, else 300)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same bytes (default: 1)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Write the data set of a scenario."""
    cells = args.cells if args.cells is not None else 600 if args.scenario == "demo" else 300
    if cells < FEWEST_CELLS:
        raise UserError(f"{cells} cells are too few to simulate", "--cells", f"at least {FEWEST_CELLS}")
    if args.seed < 0:
        raise UserError(f"the seed {args.seed} is negative", "--seed", "0 or more")

    from cellpredx.simulate.scenarios import write_scenario

    write_scenario(args.scenario, args.outdir, cells, args.seed)
