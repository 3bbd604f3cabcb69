"""docs/mistakes.md from the table of mistakes: `python -m tests.mistakes.page` writes it."""

from pathlib import Path

from tests.mistakes import cases

PATH = Path(__file__).parents[2] / "docs" / "mistakes.md"
HEAD = """# Mistakes

What people give by mistake, and what is said of it. A test makes every one of these mistakes: each is one message with
the place and a remedy, the run ends with an error, and nothing half-written is left. The page is made of the table of
the tests (`tests/mistakes/cases.py`). [troubleshooting.md](troubleshooting.md) has causes and remedies.
"""
PARTS = (
    ("The sheet", "Told before anything runs.", cases.SHEET),
    ("Parameters", "Told before anything runs.", cases.PARAMETERS),
    ("What all samples share", "Told by CHECK_SETTINGS, before any data are read.", cases.SETTINGS),
    ("Files of a sample", "Told by CHECK_INPUTS, before any data are read.", cases.INPUTS),
    (
        "Samples that do not fit each other",
        "Told when all files were looked at, before any data are read.",
        cases.TRANSFERS,
    ),
    ("Values", "Told by the task that reads them; no task before it could know.", cases.VALUES),
)


def page() -> str:
    """Return the page."""
    parts = [HEAD]
    for title, when, table in PARTS:
        rows = [f"| {case.fault} | {code(case.says)} |" for case in table]
        parts.append("\n".join((f"## {title}\n\n{when}\n", "| given | said |", "|---|---|", *rows)) + "\n")
    return "\n".join(parts)


def code(text: str) -> str:
    """Return a text as code in a table, which may have backticks itself."""
    mark = "```" if "``" in text else "``"
    return f"{mark} {text} {mark}" if "`" in text else f"`{text}`"


if __name__ == "__main__":
    PATH.write_text(page(), encoding="utf-8")
