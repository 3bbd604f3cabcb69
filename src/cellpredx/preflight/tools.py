"""The tools that each image is there for."""

import shutil
from importlib import metadata

from cellpredx.core.errors import UserError

# A package of Python, or a program on PATH.
TOOLS = {
    "core": ("package", "scanpy"),
    "torch": ("package", "torch"),
    "peaks": ("program", "macs3"),
    "baselines": ("program", "celltypist"),
    "report": ("program", "multiqc"),
}


def look_for_tools(images: list[str]) -> tuple[dict[str, str], list[UserError]]:
    """Return {tool: version of a package, or where a program is} for the images' tools, and a mistake for each missing.

    Nothing is imported, so that the look takes no time.
    """
    found: dict[str, str] = {}
    missing = []
    for image in images:
        kind, tool = TOOLS[image]
        try:
            here = metadata.version(tool) if kind == "package" else shutil.which(tool)
        except metadata.PackageNotFoundError:
            here = None
        if here:
            found[tool] = here
        else:
            remedy = "`make images` builds the images, and `make setup` the environment of runs without containers"
            missing.append(UserError(f"{tool} is missing, which tasks of the image {image} need", None, remedy))
    return found, missing
