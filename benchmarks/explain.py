"""What attributions cost: the closed form beside Captum's integrated gradients, a cell at a time as a user would ask.

    benchmarks/explain.py [--cells 200]

Both sides explain the same simulated cells (22,000 features at 5 %, 20 types) for the types that a linear model of 64
dimensions gives them, in one process and in turn; Captum with its default of 50 steps. Their largest difference is told
as well: with Captum's own steps, and with 200 on one cell. On a busy machine the CPU time is the one to compare.
"""

import argparse
import os
from time import perf_counter, process_time
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import scipy.sparse as sp
import torch
from captum.attr import IntegratedGradients
from numpy.typing import NDArray
from simulated import counts_of, profiles_of

from cellpredx.explain.integrated_gradients import attributions
from cellpredx.model.normalise import normalise

TYPES, FEATURES, DENSITY, DIMENSIONS = 20, 22_000, 0.05, 64
TARGET = 400


def main() -> None:
    """Print the times of both sides and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=200)
    args = parser.parse_args()
    torch.set_num_threads(1)
    counts, _ = counts_of(args.cells, profiles_of(TYPES, FEATURES, 1), DENSITY, 2)
    x = normalise(counts, 1e4)
    rng = np.random.default_rng(3)
    encoder = rng.normal(0, 0.02, (DIMENSIONS, FEATURES)).astype(np.float32)
    classifier = rng.normal(0, 0.5, (TYPES, DIMENSIONS)).astype(np.float32)
    weight, bias = classifier @ encoder, np.zeros(TYPES, np.float32)
    target = np.asarray(x @ weight.T).argmax(axis=1)
    network = torch.nn.Sequential(
        torch.nn.Linear(FEATURES, DIMENSIONS), torch.nn.Linear(DIMENSIONS, TYPES), torch.nn.Softmax(dim=1)
    )
    with torch.no_grad():
        for layer, values in zip(network, (encoder, classifier), strict=False):
            layer.weight.copy_(torch.from_numpy(values))
            layer.bias.zero_()
    captum = IntegratedGradients(network)

    def by_captum(i: int, **options: Any) -> NDArray[np.float32]:
        cell = torch.from_numpy(x[[i]].toarray())
        found = captum.attribute(cell, target=int(target[i]), **options)
        return np.asarray(found.detach().numpy()[0])

    def closed_form() -> sp.csr_matrix:
        return attributions(x, weight, bias, target)

    def one_by_one() -> NDArray[np.float32]:
        return np.stack([by_captum(i) for i in range(args.cells)])

    attributions(x[:2], weight, bias, target[:2])
    by_captum(0)
    times = []
    for run in (closed_form, one_by_one):
        wall, cpu = perf_counter(), process_time()
        found = run()
        times.append((perf_counter() - wall, process_time() - cpu, found))
    (ours, our_cpu, sparse), (theirs, their_cpu, b) = times
    a = sparse.toarray()
    exact = np.abs(by_captum(0, n_steps=200, method="gausslegendre") - a[0]).max()
    print(
        f"{args.cells} cells of {FEATURES:,} features ({DENSITY:.0%}), {TYPES} types, one core: "
        f"closed form {ours:.3f} s ({our_cpu:.3f} s CPU), "
        f"Captum a cell at a time {theirs:.1f} s ({their_cpu:.1f} s CPU): "
        f"{theirs / ours:.0f} times by the clock, {their_cpu / our_cpu:.0f} by CPU (target {TARGET}); "
        f"largest difference {np.abs(a - b).max():.1e}, with 200 steps {exact:.1e}"
    )


if __name__ == "__main__":
    main()
