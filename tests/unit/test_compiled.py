"""What two processes compile into one cache of numba, a third one runs."""

import subprocess
import sys
from pathlib import Path

FUNCTIONS = """
import numpy as np
from cellpredx.core.compiled import njit

@njit(cache=True)
def {name}(values):
    {body}
"""
RUN = """
import sys
import numpy as np
values = np.random.default_rng(0).integers(0, 1000, 300).astype(np.int32)
for name in sys.argv[1:]:
    ordered = values.copy()
    places = getattr(__import__(name), name)(ordered)
    if name == "by_place":
        assert sorted(places) == list(range(len(values)))
        ordered = values[places]
    assert (np.diff(ordered) >= 0).all(), name
"""


def test_functions_of_two_processes_do_not_run_each_others_helpers(tmp_path: Path) -> None:
    # Both bodies compile helpers of the same names and types, and of other contents.
    for name, body in (("by_value", "values.sort()"), ("by_place", "return np.argsort(values)")):
        (tmp_path / f"{name}.py").write_text(FUNCTIONS.format(name=name, body=body), encoding="utf-8")
    for names in (["by_value"], ["by_place"], ["by_value", "by_place"], ["by_place", "by_value"]):
        subprocess.run([sys.executable, "-c", RUN, *names], cwd=tmp_path, check=True)
