"""Images start from what they compiled when they were built, whoever runs them and though they cannot be written to."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from cellpredx import __version__

ROOT = Path(__file__).parents[2]


def test_no_task_compiles_again(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    if "docker" not in request.config.getoption("--engines") or shutil.which("docker") is None:
        pytest.skip("no Docker is asked for (--engines docker)")
    command = ["cellpredx", "simulate", "--scenario", "demo", "--cells", "60", "--outdir", str(tmp_path / "data")]
    subprocess.run(command, check=True)
    (tmp_path / "in1").mkdir()
    shutil.move(tmp_path / "data" / "query_fragments.tsv.gz", tmp_path / "in1")
    rows = [{"library": "s", "fragments": "in1"}]
    spec = {"sample": "s", "modality": "atac", "roles": ["query"], "rows": rows}
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    shutil.copytree(ROOT / "bin", tmp_path / "bin")
    for path in [tmp_path, *tmp_path.rglob("*")]:
        path.chmod(0o777)
    verbs = (
        "bin/cellpredx ingest-fragments --spec spec.json --annotation data/genes.gtf.gz --min-fragments 1 --min-tss 0",
        "bin/cellpredx count --store store --kind peaks --peaks data/peaks.bed --out peaks.h5ad",
        "bin/cellpredx count --store store --kind gene_activity --annotation data/genes.gtf.gz --out genes.h5ad",
        "bin/cellpredx count --store store --kind windows --out windows.h5ad",
    )
    container = ["docker", "run", "--rm", "--read-only", "--tmpfs", "/tmp", "--network", "none", "--user", "1234:1234"]
    container += ["--env", "NUMBA_DEBUG_CACHE=1", "--volume", f"{tmp_path}:/work", "--workdir", "/work"]
    done = subprocess.run(
        [*container, f"cellpredx-core:{__version__}", "bash", "-euc", "\n".join(verbs)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "[cache] data loaded from" in done.stdout
    assert "[cache] data saved to" not in done.stdout


def test_celltypist_needs_neither_a_network_nor_a_home(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    if "docker" not in request.config.getoption("--engines") or shutil.which("docker") is None:
        pytest.skip("no Docker is asked for (--engines docker)")
    image = f"cellpredx-baselines:{__version__}"
    if subprocess.run(["docker", "image", "inspect", image], capture_output=True).returncode:
        pytest.skip(f"there is no image {image}: `make images` builds it")
    script = (
        "import numpy as np, scipy.sparse as sp\n"
        "from cellpredx.baselines.classifiers import celltypist\n"
        "rng = np.random.default_rng(1)\n"
        "y = rng.integers(0, 3, 90)\n"
        "x = sp.csr_matrix(rng.poisson(1 + 4 * np.eye(3, 30)[y]).astype(np.float32)).log1p()\n"
        "print('accuracy', (celltypist(x, y, 3, x, 1).argmax(axis=1) == y).mean())\n"
    )
    container = ["docker", "run", "--rm", "--read-only", "--tmpfs", "/tmp", "--network", "none", "--user", "1234:1234"]
    done = subprocess.run([*container, image, "python", "-c", script], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split()[-1]) > 0.9
