"""The bundle of `make airgap`, copied elsewhere, on a machine without a network, Python or a home."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from cellpredx import __version__
from tests.pipeline.conftest import ROOT, Run
from tests.sites.test_engines import TARGETS, images

SCRIPT = f"""
test "$(tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' ')" = lo
cd bundle
sha256sum --quiet -c SHA256SUMS
cd ../launch
apptainer exec --bind "$PWD/.." ../bundle/images/cellpredx-core-{__version__}.sif \
    ../bundle/bin/cellpredx simulate --scenario rna --cells 120 --outdir data
../bundle/engine/cellpredx -ansi-log false -profile apptainer,test --input data/sheet.csv \
    --hyperparameters iterations=150 --outdir results
"""


def test_bundle_runs_without_a_network(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    folder = images("apptainer", request)[1]
    if os.getuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("a network namespace is made by root alone, with unshare")
    if not (ROOT / ".engine" / "ready").is_file():
        pytest.skip("no engine in .engine: `make setup` fetches it where no `nextflow` is on PATH")
    made = ["make", "-C", str(ROOT), "airgap", f"BUNDLE={tmp_path}/made", f"IMAGE_DIR={folder}"]
    done = subprocess.run([*made, f"TARGETS={' '.join(TARGETS)}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "made.part").exists()
    assert f"cellpredx-core:{__version__} " in (tmp_path / "made" / "AIRGAP.txt").read_text()
    (tmp_path / "made").rename(tmp_path / "bundle")
    for name in ("launch", "home"):
        (tmp_path / name).mkdir()
    path = os.pathsep.join(
        ["/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", str(Path(shutil.which("java") or "").parent)]
    )
    environment = ["env", "-i", f"HOME={tmp_path}/home", f"PATH={path}", "LANG=C.UTF-8"]
    ran = subprocess.run(
        ["unshare", "--net", *environment, "bash", "-euxo", "pipefail", "-c", SCRIPT],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=3600,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    run = Run(ran.returncode, ran.stdout, tmp_path / "launch" / "results")
    assert [row["query"] for row in run.table("summary.csv")] == ["query"]
    assert (run.outdir / "multiqc" / "multiqc_report.html").is_file()
