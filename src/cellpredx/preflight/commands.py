"""`cellpredx preflight`: what is missing on a node or in an image -> preflight.json."""

import argparse
from typing import Any


def register(verbs: Any) -> None:
    """Add this stage's verbs."""
    verb = verbs.add_parser("preflight", help="look at the image's tools and the GPU -> preflight.json")
    verb.add_argument("--images", nargs="+", required=True, help="whose tools must be there")
    verb.add_argument("--device", choices=("auto", "cpu", "cuda"), help="where models will be trained, if here")
    verb.add_argument("--accelerator", action="store_true", help="the task was given a GPU")
    verb.add_argument("--out", default="preflight.json")
    verb.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Write what is here and what is wrong with it; the workflow gathers the problems of all its tasks."""
    import shutil
    import socket

    from cellpredx import __version__
    from cellpredx.core.errors import UserError
    from cellpredx.core.files import write_json
    from cellpredx.preflight.gpu import look_for_gpu
    from cellpredx.preflight.tools import look_for_tools

    tools, problems = look_for_tools(args.images)
    gpu = None
    if args.device and "torch" in tools:
        try:
            gpu = look_for_gpu(args.device, args.accelerator)
        except UserError as error:
            problems.append(error)
    found = {
        "version": __version__,
        "node": socket.gethostname(),
        "free_gb": round(shutil.disk_usage(".").free / 1e9, 1),
        "tools": tools,
        "gpu": gpu,
        "problems": [{"what": one.what, "where": one.where, "remedy": one.remedy} for one in problems],
    }
    write_json(found, args.out)
