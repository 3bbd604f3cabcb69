"""The sheets of docs/usage.md, given to the pipeline as they stand there."""

import csv
import re
from pathlib import Path

from tests.pipeline.conftest import ROOT, run_pipeline


def sheets(page: str) -> list[list[dict[str, str]]]:
    """The sample sheets of a page: its indented blocks that begin with the column `sample`."""
    blocks = re.findall(r"(?:^    sample,.*\n)(?:^    .+\n)+", page, flags=re.MULTILINE)
    return [list(csv.DictReader(line.strip() for line in block.splitlines())) for block in blocks]


def test_every_sheet_of_the_usage_is_accepted(tmp_path: Path) -> None:
    found = sheets((ROOT / "docs/usage.md").read_text())
    assert {(rows[0]["modality"], rows[-1]["modality"]) for rows in found} == {
        ("rna", "atac"),
        ("atac", "atac"),
        ("rna", "rna"),
    }
    # As groups of one sheet, the names of samples and files made different, they cost one start of the engine.
    columns = list(dict.fromkeys(column for rows in found for column in rows[0]))
    columns += [] if "group" in columns else ["group"]
    lines = []
    for number, rows in enumerate(found):
        folder = tmp_path / str(number)
        folder.mkdir()
        for row in rows:
            for column, value in row.items():
                if column == "sample":
                    row[column] = f"s{number}_{value}"
                elif "." in value:
                    (folder / value).write_text("barcode,cell_type\nc1,B\n")
                    row[column] = f"{number}/{value}"
            row["group"] = f"g{number}_{row.get('group') or 'all'}"
            lines.append(row)
    with open(tmp_path / "sheet.csv", "w", newline="") as handle:
        writer = csv.DictWriter(handle, columns)
        writer.writeheader()
        writer.writerows(lines)
    (tmp_path / "genes.gtf.gz").write_text("genes\n")
    given = ("--input", "sheet.csv", "--annotation", "genes.gtf.gz", "--genome", "hg38")
    run = run_pipeline(tmp_path, *given, "-preview")
    assert run.code == 0, run.said
    for number, rows in enumerate(found):
        for row in rows:
            if row["role"] == "query":
                assert re.search(rf"  {row['group']}: .* -> .*\b{row['sample']}\b", run.said), (number, run.said)
