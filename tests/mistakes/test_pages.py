"""The pages on mistakes and on trouble say what the pipeline says."""

import re
from pathlib import Path

from tests.mistakes.page import PATH, page

ROOT = Path(__file__).parents[2]
SOURCES = ("src/**/*.py", "bin/cellpredx", "main.nf", "workflows/*.nf", "subworkflows/**/*.nf", "modules/**/main.nf")


def said() -> str:
    """The texts of the sources, those that are written in several parts put together."""
    text = "\n".join(path.read_text(encoding="utf-8") for pattern in SOURCES for path in sorted(ROOT.glob(pattern)))
    return re.sub(r'"\s*\n\s*f?"', "", text)


def rows(text: str) -> list[list[str]]:
    """The cells of every row of a page's tables, but for their heads."""
    found = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if line.startswith("| ") and not cells[0].startswith(("message", "what is seen", "given")):
            found.append(cells)
    return found


def test_every_message_of_the_page_on_trouble_is_one_of_the_pipeline() -> None:
    ours = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8").split("## From Nextflow")[0]
    table = rows(ours)
    assert len(table) > 50
    sources = said()
    for cells in table:
        message, cause, remedy = cells
        assert cause
        assert remedy
        # What is put in takes some characters of the line.
        parts = (re.escape(part.strip()) for part in message.strip("`").split("…"))
        assert re.search(r"[^\n]{0,160}".join(parts), sources), f"no source says {message}"


def test_the_page_of_mistakes_is_that_of_the_table() -> None:
    assert PATH.read_text(encoding="utf-8") == page(), "python -m tests.mistakes.page writes it anew"
