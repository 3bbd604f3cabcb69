"""`cellpredx <verb>`: one verb a process of the workflow."""

import argparse
import contextlib
import importlib
import os
import sys

from cellpredx import __version__
from cellpredx.core.errors import UserError

STAGES = (
    *(
        "preflight",
        "samplesheet",
        "fragments",
        "matrix",
        "reference",
        "model",
        "baselines",
        "explain",
        "evaluate",
        "report",
    ),
    "simulate",
)


OUT_OF_MEMORY = 137
PACKAGES = ("numpy", "scipy", "anndata", "scikit-learn", "umap-learn", "torch")


def print_versions(args: argparse.Namespace) -> None:
    """Print the versions of this package, Python and the libraries that make numbers."""
    import platform
    from importlib import metadata

    found = [f"cellpredx {__version__}", f"python {platform.python_version()}"]
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found.append(f"{name} {metadata.version(name)}")
    if args.celltypist:
        from cellpredx.baselines.classifiers import celltypist_version

        found += [f"celltypist {version}" for version in [celltypist_version()] if version]
    print(", ".join(found))


def parser() -> argparse.ArgumentParser:
    """Return the parser with every stage's verbs; a stage imports its heavy libraries only when a verb runs."""
    top = argparse.ArgumentParser(prog="cellpredx", description="Annotate single cells by label transfer.")
    top.add_argument("--version", action="version", version=__version__)
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    versions = verbs.add_parser("versions", help="one line of what a result was made with")
    versions.add_argument("--celltypist", action="store_true", help="and that of CellTypist, where it is on PATH")
    versions.set_defaults(run=print_versions)
    for stage in STAGES:
        importlib.import_module(f"cellpredx.{stage}.commands").register(verbs)
    return top


def use_shipped_cache() -> None:
    """Let numba start from what the image compiled. It wants a folder that it may write to, which an image is not."""
    shipped = os.environ.get("CELLPREDX_NUMBA_CACHE")
    if shipped and os.path.isdir(shipped):
        import atexit
        import shutil
        import tempfile

        own = tempfile.mkdtemp(prefix="cellpredx-numba-")
        atexit.register(shutil.rmtree, own, ignore_errors=True)
        shutil.copytree(shipped, own, dirs_exist_ok=True)
        os.environ["NUMBA_CACHE_DIR"] = own


def main(argv: list[str] | None = None) -> int:
    """Run one verb; return 0, or after a user's mistake its code."""
    args = parser().parse_args(argv)
    use_shipped_cache()
    try:
        args.run(args)
    except UserError as error:
        print(error, file=sys.stderr)
        return error.code
    except OSError as error:
        where = str(error.filename) if error.filename else None
        print(UserError(error.strerror or str(error), where), file=sys.stderr)
        return 1
    except MemoryError as error:
        # As where the system ends a task that takes too much: the workflow tries again with more.
        print(UserError(f"not enough memory: {error}", None, "give the task more memory"), file=sys.stderr)
        return OUT_OF_MEMORY
    return 0
