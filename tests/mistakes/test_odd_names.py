"""Names that are odd and right: in paths, labels and free text. They go through the whole pipeline, and none is run."""

import csv
import shutil
from pathlib import Path

from tests.pipeline.conftest import run_pipeline, simulate

# What a shell would run, if it ever saw it; folders may not have the characters of the first two.
SHELL = "$(touch PWNED) `touch PWNED`; touch PWNED; ' \" | & ../../x"
ODD = 'it\'s "odd"; touch PWNED; ünï 名 & (x)'


def test_odd_paths_labels_and_texts_go_through_the_pipeline_and_none_is_run(tmp_path: Path) -> None:
    """Fragments without peaks, so that windows stand in for them."""
    launch = tmp_path / ODD
    launch.mkdir()
    data = simulate("atac", launch / "donor's data; 'v1'", cells=60)
    genes = (data / "genes.gtf.gz").rename(data / f"genes {ODD}.gtf.gz")
    with open(data / "sheet.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    for name in {row["labels"] for row in rows}:
        text = (data / name).read_text()
        (data / name).write_text(text.replace("T_CD4", '"' + SHELL.replace('"', '""') + '"'))
    with open(data / "odd.csv", "w", newline="") as handle:
        writer = csv.DictWriter(handle, [*rows[0], "batch"])
        writer.writeheader()
        writer.writerows([{**row, "peaks": "", "batch": SHELL} for row in rows])
    run = run_pipeline(
        launch,
        *("--input", str(data / "odd.csv"), "--annotation", str(genes), "--chrom_sizes", str(data / "genome.sizes")),
        *("--call_peaks", "off", "--hyperparameters", "iterations=150", "--peak_gene_link", SHELL),
        *("-work-dir", f"work {ODD}"),
        outdir=f"results {ODD}",
    )
    assert run.code == 0, run.said
    assert (run.outdir / "samples/query/matrix/windows_500.h5ad").is_file()
    summary = run.table("summary.csv")[0]
    assert "no peaks were given" in summary["reason"]
    assert SHELL in {row["predicted"] for row in run.table("groups/all/query/predictions.csv")}
    assert not list(tmp_path.rglob("PWNED"))
    assert not list(Path.cwd().glob("PWNED"))
    shutil.rmtree(launch)
