"""What docs/output.md says of a run's files, to hold it against the files of a run."""

import csv
import json
import re
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "output.md"
PLACEHOLDER = re.compile(r"<[a-z]+>")


def entries(page: str) -> list[str]:
    """The paths of the page's list of files, with their placeholders: `groups/<group>/peaks.bed`."""
    block = page.split("\n\n    ", 1)[1].split("\n\n", 1)[0]
    return [line.strip().split("  ")[0] for line in block.splitlines()]


def like(entry: str) -> re.Pattern[str]:
    """What a placeholder stands for is one part of a path or of a name."""
    return re.compile(r"[^/]+".join(re.escape(part) for part in PLACEHOLDER.split(entry)))


def text_of(entry: str, page: str) -> str:
    """The sections that name a file of the list."""
    folder, _, name = entry.rpartition("/")
    names = (f"`{name}`", f"{folder.rpartition('/')[2]}/{name}", f" {name}")
    sections = page.split("\n## ")[1:]
    return "\n".join(section for section in sections if any(name in f" {section}" for name in names))


def is_named(key: str, text: str) -> bool:
    """Whether a text has a column or key in backticks, perhaps with placeholders: `p_<type>`."""
    words = re.findall(r"`([^`]+)`", text)
    return any((PLACEHOLDER.search(word) and like(word).fullmatch(key)) or word == key for word in words)


def unexplained(outdir: Path) -> list[str]:
    """Files of a run, columns of its tables and keys of its JSON files that the page does not name."""
    page = PAGE.read_text()
    listed = {entry: like(entry) for entry in entries(page)}
    found = []
    for path in sorted(path for path in outdir.rglob("*") if path.is_file()):
        name = path.relative_to(outdir).as_posix()
        # With `apart`, the model of a query.
        usual = re.sub(r"^(groups/[^/]+)/[^/]+/(model/|reference_markers)", r"\1/\2", name)
        # Of several, the one with the fewest placeholders: frip.csv and not <name>.csv.
        matches = sorted((e for e, form in listed.items() if form.fullmatch(usual)), key=lambda e: e.count("<"))
        if not matches:
            found.append(name)
            continue
        keys: list[str] = []
        if path.suffix == ".csv":
            with open(path, newline="") as handle:
                keys = next(csv.reader(handle))
        elif path.suffix == ".json" and not name.startswith("multiqc/"):
            keys = list(json.loads(path.read_text()))
        text = text_of(matches[0], page)
        found += [f"{name}: {key}" for key in keys if not is_named(key, text)]
    return found
