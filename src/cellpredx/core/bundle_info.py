"""What a model bundle says of itself: bundle.json, with a checksum of every file and of its own content."""

import hashlib
import json
from pathlib import Path
from typing import Any

from cellpredx import __version__
from cellpredx.core.errors import UserError
from cellpredx.core.files import read_json, sha256, write_json

FORMAT = 1
FILES = ("weights.safetensors", "features.csv", "training_log.csv")
KEYS = ("labels", "hyperparameters", "calibration", "files")


def _own_checksum(info: dict[str, Any]) -> str:
    rest = {key: value for key, value in info.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def write_info(info: dict[str, Any], folder: Path) -> None:
    """Write bundle.json beside the other files of a bundle, which are there already."""
    path = folder / "bundle.json"
    write_json({"format": FORMAT, **info, "files": {name: sha256(folder / name) for name in FILES}}, path)
    # As it will be read: numbers are those that JSON gives back.
    written = read_json(path)
    write_json({**written, "sha256": _own_checksum(written)}, path)


def read_info(folder: str | Path) -> dict[str, Any]:
    """Read bundle.json. Raises UserError for what is no bundle, for a newer format, and for a file that was changed."""
    folder = Path(folder)
    if not (folder / "bundle.json").is_file():
        raise UserError("no model bundle: bundle.json is missing", folder.name, "give the folder `model` of a run")
    try:
        info = dict(read_json(folder / "bundle.json"))
        version = int(info["format"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError("bundle.json is damaged", folder.name, "copy the bundle again") from error
    if version > FORMAT:
        raise UserError(
            f"the bundle has format {version}, made by cellpredx {info.get('version')}; this is {__version__}",
            folder.name,
            "use the version that made it, or newer",
        )
    if info.get("sha256") != _own_checksum(info) or not set(KEYS) <= set(info) or not isinstance(info["files"], dict):
        raise UserError("bundle.json is damaged or was changed", folder.name, "copy the bundle again")
    if set(info["files"]) != set(FILES):
        strange = sorted(set(info["files"]) - set(FILES))
        raise UserError(
            f"bundle.json names other files than a bundle has: {', '.join(strange) or 'fewer'}",
            folder.name,
            "give the folder `model` of a run",
        )
    for name in FILES:
        if not (folder / name).is_file() or sha256(folder / name) != info["files"].get(name):
            raise UserError(f"{name} of the bundle is missing or was changed", folder.name, "copy the bundle again")
    return info
