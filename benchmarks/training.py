"""What a training step, a prediction and a whole run cost: ours beside the code that the method's authors released.

    benchmarks/training.py --released CLONE --out docs/training_speed.md

CLONE is a clone of https://github.com/BioCS-Lab/CellPredX; its own functions run (`BuildCellpredX.train_step` and
`eval`), its files as they are. Both sides run in turn in one process, on the same simulated cells. Without it that side
is left out. The whole run of 3,000 iterations takes some minutes; `--parts` chooses.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from multiprocessing import get_context, set_start_method
from pathlib import Path
from statistics import median
from time import perf_counter, process_time, thread_time
from types import ModuleType
from typing import Any

# As in `cellpredx train`, before torch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

TYPES = 20
CELLS = 10_000
SIZES = ((4_600, 0.05), (4_600, 0.15), (22_000, 0.05), (22_000, 0.15))
TARGETS = {(4_600, 0.05): 20.0, (22_000, 0.05): 60.0}
WARM, STEPS = 10, 60
RELEASED_STEPS = 2
PARTS = ("step", "inference", "run")
# What the released code imports and a step does not use.
UNUSED: dict[str, tuple[str, ...]] = {"tables": (), "annoy": ("AnnoyIndex",), "fbpca": ("pca",)}
HEAD = """# What a training step, a prediction and a whole run cost

Made by `benchmarks/training.py` on {cores} cores ({threads} threads), version {version}: simulated cells (10,000 of the
reference, 10,000 of the query, {types} types), batch 512, 64 dimensions, all five losses, preset `paper`, scenario
`{scenario}`. Both sides run in turn in one process. Median (range); CPU is the time of all threads. Load of the machine
when it began (1, 5, 15 minutes): {load}.

"""
STANDS_IN = """The released side is its own `BuildCellpredX.train_step` and `eval`, in the files as they are released.
Where this machine or its libraries lack what they ask for, something stands in: `.cuda()` moves nothing where there is
no GPU, `.A` of a sparse matrix is `.toarray()`, and modules that a step does not use ({absent}) are empty. Parts of its
step are timed by themselves as well: the contrastive loss with its gradient, twice, and the three batches of rows
(sliced, made dense, to float32).

"""
NO_RELEASED = "No clone of the released code was given (`--released`): that side is left out.\n\n"


@dataclass(frozen=True)
class Data:
    """Normalised features of reference (with types) and query, and the query's neighbours (drawn at random)."""

    reference: Any
    labels: Any
    query: Any
    near: Any


def simulate(cells: int, features: int, density: float, seed: int) -> tuple[Any, Any, Any]:
    """Return counts of reference and query, (cells, features) each, and the reference's types."""
    from simulated import counts_of, profiles_of

    profiles = profiles_of(TYPES, features, seed)
    reference, labels = counts_of(cells, profiles, density, seed + 1)
    query, _ = counts_of(cells, profiles, density, seed + 2)
    return reference, labels, query


def our_training(data: Data, scenario: str) -> Callable[[int], None]:
    """Return what trains the given number of iterations, and stops for nothing else."""
    import scipy.sparse as sp

    from cellpredx.model.device import CPU
    from cellpredx.model.features import Cells
    from cellpredx.model.presets import load
    from cellpredx.model.training import train

    h = replace(load("paper", scenario), patience=10**9)
    cells = Cells(sp.vstack([data.reference, data.query], format="csr"), CPU)

    def run(iterations: int) -> None:
        train(cells, len(data.labels), data.labels, TYPES, data.near, replace(h, iterations=iterations), 1)

    return run


def our_inference(counts: Any, weight: Any, bias: Any) -> dict[str, float]:
    """Return the seconds of the stages from counts to calibrated probabilities."""
    from cellpredx.model.normalise import normalise
    from cellpredx.model.prediction import logits, predict

    times = [perf_counter()]
    x = normalise(counts, 10_000)
    times.append(perf_counter())
    scores = logits(x, weight, bias)
    times.append(perf_counter())
    predict(scores, 1.3)
    times.append(perf_counter())
    stages = ("normalisation", "sparse product", "probabilities")
    return {name: end - begin for name, begin, end in zip(stages, times, times[1:], strict=False)}


def our_run(reference: Any, labels: Any, query: Any, early_stop: bool) -> tuple[dict[str, float], int, str]:
    """Fit as `cellpredx train` does; return the seconds of its stages, the iterations and what ended them."""
    import numpy as np

    from cellpredx.model import fit as module
    from cellpredx.model.presets import load

    h = load("paper", "matched")
    if not early_stop:
        h = replace(h, patience=10**9)
    stages = {"query_neighbours": "graph", "train": "training", "held_out_logits": "calibration"}
    times: dict[str, float] = {}
    one_batch = np.zeros(len(labels), np.int64)
    sides = module.Reference(reference, labels, TYPES, one_batch), [module.Query(query)]
    with timed(module, stages, times):
        begin = perf_counter()
        fitted = module.fit(*sides, ("rna", "atac"), h, target_error=0.05, threshold=None, seed=1)
        whole = perf_counter() - begin
    # Calibration trains too: its trainings are not the model's.
    times["training"] -= times.pop("training in calibration", 0.0)
    times["the rest"] = whole - sum(times.values())
    return {**times, "all": whole}, fitted.training.iterations, fitted.training.stopped


@contextmanager
def timed(module: ModuleType, stages: dict[str, str], times: dict[str, float]) -> Iterator[None]:
    """Add up the seconds of a module's functions under the names of `stages`."""
    inside: list[str] = []

    def wrap(function: Callable[..., Any], stage: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            inside.append(stage)
            begin = perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                spent = perf_counter() - begin
                inside.pop()
                times[stage] = times.get(stage, 0.0) + spent
                if inside:
                    within = f"{stage} in {inside[-1]}"
                    times[within] = times.get(within, 0.0) + spent

        return call

    own = {name: getattr(module, name) for name in stages}
    for name, function in own.items():
        setattr(module, name, wrap(function, stages[name]))
    try:
        yield
    finally:
        for name, function in own.items():
            setattr(module, name, function)


def absent() -> list[str]:
    """Return those of the modules in `UNUSED` that are not installed."""
    return [name for name in UNUSED if name not in sys.modules and find_spec(name) is None]


class Released:
    """The released code on this data, driven through its own class."""

    def __init__(self, clone: Path, data: Data, scenario: str) -> None:
        import numpy as np
        import torch

        from cellpredx.model.presets import load

        core = self._load(clone)
        h = load("paper", scenario)
        self.batch = min(512, data.reference.shape[0], data.query.shape[0])
        self.own = core.BuildCellpredX(
            n_latent=h.dimensions,
            cont_w=h.alpha,
            cont_tau=h.tau,
            align_w=h.beta,
            mycenter_w=h.gamma,
            n_input=data.reference.shape[1],
            n_class=TYPES,
        )
        # Its matrices are float64, as its own preprocessing leaves them.
        self.own.data_A = self.own.data_A_shuffle = data.reference.astype(np.float64)
        self.own.data_B = self.own.data_B_shuffle = data.query.astype(np.float64)
        self.own.n_rna, self.own.n_atac = data.reference.shape[0], data.query.shape[0]
        self.own.y_id_A = self.own.y_id_A_shuffle = data.labels.astype("int32")
        self.own.knn_ind = data.near
        optimisers = self.own.init_train("sgd", h.learning_rate, None, h.weight_decay, stepss=h.iterations / 2)
        self.optimisers = dict(
            zip(("optimizer_G", "scheduler_G", "optimizer_C", "scheduler_C"), optimisers, strict=True)
        )
        self.losses = {
            "cls_crit": torch.nn.CrossEntropyLoss(),
            "reg_crit": core.L1regularization(0.1),
            "reg_cont": core.InfoNCE(self.batch, h.tau),
            "center_loss": core.SparseCenterLoss(num_classes=TYPES, feat_dim=h.dimensions),
        }

    @staticmethod
    def _load(clone: Path) -> Any:
        """Import its core module."""
        import importlib

        import scipy.sparse as sp
        import torch

        folder = clone / "CellPredX" / "codes"
        if not (folder / "core.py").is_file():
            sys.exit(f"{clone} has no CellPredX/codes/core.py: give a clone of the released code")
        if "core" not in sys.modules:
            sys.path.insert(0, str(folder))
            for name in absent():
                sys.modules[name] = ModuleType(name)
                for attribute in UNUSED[name]:
                    setattr(sys.modules[name], attribute, None)
            if not torch.cuda.is_available():
                torch.Tensor.cuda = lambda tensor, *_: tensor  # type: ignore[method-assign]
                torch.nn.Module.cuda = lambda own, *_: own  # type: ignore[method-assign]
            if not hasattr(sp.csr_matrix, "A"):
                sp.csr_matrix.A = property(lambda matrix: matrix.toarray())
        return importlib.import_module("core")

    def step(self) -> None:
        """One training step; its centre loss starts at step 11, its logging is left out."""
        self.own.train_step(100, self.batch, **self.optimisers, **self.losses, log_step=10**9)

    def contrastive(self) -> None:
        """Its contrastive loss as a step has it: twice, and the gradient."""
        import torch

        one, two = torch.randn(2, self.batch, self.own.n_latent, requires_grad=True)
        loss = self.losses["reg_cont"]
        (loss(one, two) + loss(two, one)).backward()

    def rows(self) -> None:
        """The batches of a step: reference, query and neighbours, dense and float32."""
        import numpy as np
        import torch

        for matrix in (self.own.data_A_shuffle, self.own.data_B_shuffle, self.own.data_B_shuffle):
            index = np.random.choice(np.arange(matrix.shape[0]), size=self.batch, replace=False)
            torch.from_numpy(matrix[index, :].A).float()

    def inference(self) -> None:
        """Its own evaluation of the query (its loader has three workers)."""
        self.own.eval()


def seconds(function: Callable[[], None], times: int = 1) -> tuple[float, float]:
    """Return the seconds of one call: of the clock, and of all cores."""
    begin, cpu = perf_counter(), process_time()
    for _ in range(times):
        function()
    return (perf_counter() - begin) / times, (process_time() - cpu) / times


def our_step(training: Callable[[int], None]) -> tuple[float, float]:
    """Return the seconds of one iteration: what a longer training takes more than a short one."""
    short, long = seconds(partial(training, WARM)), seconds(partial(training, WARM + STEPS))
    return (long[0] - short[0]) / STEPS, (long[1] - short[1]) / STEPS


def step_part(clone: Path | None, repeats: int, scenario: str) -> str:
    """Time the training step of both sides and return the table."""
    import numpy as np

    from cellpredx.model.normalise import normalise

    lines = [
        "## A training step\n",
        "| features | density | ours, ms | ours, CPU ms | target, ms | released, ms | released, CPU ms "
        "| its contrastive loss | its rows | released / ours |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for features, density in SIZES:
        reference, labels, query = simulate(CELLS, features, density, 1)
        near = np.random.default_rng(1).integers(CELLS, size=(CELLS, 10))
        data = Data(normalise(reference, 10_000), labels, normalise(query, 10_000), near)
        training = our_training(data, scenario)
        training(WARM)
        released = Released(clone, data, scenario) if clone else None
        if released:
            released.step()
        names = ("ours", "ours, CPU", "released", "released, CPU", "contrastive", "rows", "ratio")
        found: dict[str, list[float]] = {name: [] for name in names}

        def keep(found: dict[str, list[float]], name: str, cost: tuple[float, float]) -> None:
            found[name].append(1000 * cost[0])
            if f"{name}, CPU" in found:
                found[f"{name}, CPU"].append(1000 * cost[1])

        for repeat in range(repeats):
            keep(found, "ours", our_step(training))
            if released:
                keep(found, "released", seconds(released.step, RELEASED_STEPS))
                keep(found, "contrastive", seconds(released.contrastive))
                keep(found, "rows", seconds(released.rows))
                found["ratio"].append(found["released"][-1] / found["ours"][-1])
            said = {name: round(values[-1], 1) for name, values in found.items() if values}
            print(f"{features} features at {density:.0%}, repeat {repeat + 1}: {said}", file=sys.stderr, flush=True)
        target = TARGETS.get((features, density))
        cells = [
            f"{features:,}",
            f"{density:.0%}",
            _range(found["ours"]),
            _range(found["ours, CPU"]),
            f"{target:.0f}: {'met' if median(found['ours']) <= target else 'missed'}" if target else "-",
            *(_range(found[name], 0) if found[name] else "-" for name in names[2:]),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n\n"


def _on_one_core() -> None:
    # The released loader's workers need what stands in for other libraries, which a forked process has.
    set_start_method("fork", force=True)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"


def _inference(
    clone: Path | None, repeats: int, cells: int, features: int
) -> tuple[dict[str, list[float]], list[float]]:
    """Time ours (its stages) and the released one, on the core that the process has."""
    import numpy as np
    from simulated import counts_of, profiles_of

    from cellpredx.model.normalise import normalise

    counts, labels = counts_of(cells, profiles_of(TYPES, features, 1), 0.05, 2)
    rng = np.random.default_rng(1)
    weight = rng.normal(0, 0.05, (TYPES, features)).astype(np.float32)
    bias = np.zeros(TYPES, np.float32)
    ours: dict[str, list[float]] = {}
    theirs: list[float] = []
    released = None
    if clone:
        x = normalise(counts, 10_000)
        # Its evaluation goes through the reference as well, which here has two cells.
        released = Released(clone, Data(x[:2], labels[:2], x, None), "matched")
    our_inference(counts[:1000], weight, bias)
    for _ in range(repeats):
        times = our_inference(counts, weight, bias)
        for name, value in {**times, "all": sum(times.values())}.items():
            ours.setdefault(name, []).append(value)
        if released:
            theirs.append(seconds(released.inference)[0])
    return ours, theirs


def inference_part(clone: Path | None, repeats: int) -> str:
    """Time the prediction of 30,000 cells on one core and return the table."""
    cells, features = 30_000, 22_000
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_on_one_core) as pool:
        ours, theirs = pool.submit(_inference, clone, repeats, cells, features).result()
    lines = [
        f"## Prediction of {cells:,} cells, {features:,} features at 5 %, one core\n",
        "From counts in memory to calibrated probabilities; the file is read before. Target: 1 s.\n",
        "| | seconds |",
        "|---|---|",
        *(f"| {'**ours, all**' if name == 'all' else name} | {_range(values, 2)} |" for name, values in ours.items()),
    ]
    if theirs:
        lines.append(f"| released | {_range(theirs, 2)} |")
        lines.append(f"| released / ours | {_range([b / a for a, b in zip(ours['all'], theirs, strict=True)], 1)} |")
    return "\n".join(lines) + "\n\n"


def run_part() -> str:
    """Time the whole run and return the table."""
    reference, labels, query = simulate(CELLS, 20_000, 0.05, 1)
    lines = [
        f"## A whole matched run: {CELLS:,} + {CELLS:,} cells, 20,000 features at 5 %, at most 3,000 iterations\n",
        "As `cellpredx train` fits it: graph, training, and calibration by two more trainings on half of the reference "
        "each. Target: 5 minutes on 2 cores.\n",
        "| early stop | iterations | graph, s | training, s | calibration, s | the rest, s | all, s |",
        "|---|---|---|---|---|---|---|",
    ]
    for early_stop in (True, False):
        times, iterations, stopped = our_run(reference, labels, query, early_stop)
        print(f"whole run, early stop {early_stop}: {times}, {iterations} iterations", file=sys.stderr, flush=True)
        cells = [f"{times.get(name, 0.0):.1f}" for name in ("graph", "training", "calibration", "the rest", "all")]
        ended = "stopped early" if stopped == "early" else "all"
        lines.append(f"| {'on' if early_stop else 'off'} | {iterations:,} ({ended}) | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def profile(features: int, density: float, scenario: str) -> None:
    """Print where the time of a step goes: torch's operators, and functions by the CPU time of the main thread."""
    import cProfile
    import pstats

    import numpy as np
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as torch_profile

    from cellpredx.model.normalise import normalise

    reference, labels, query = simulate(CELLS, features, density, 1)
    near = np.random.default_rng(1).integers(CELLS, size=(CELLS, 10))
    training = our_training(Data(normalise(reference, 10_000), labels, normalise(query, 10_000), near), scenario)
    training(WARM)
    with torch_profile(activities=[ProfilerActivity.CPU]) as found:
        training(100)
    print(found.key_averages().table(sort_by="self_cpu_time_total", row_limit=25))
    plain = cProfile.Profile(thread_time)
    plain.runcall(training, 100)
    pstats.Stats(plain).sort_stats("tottime").print_stats(25)


def _range(values: list[float], digits: int = 1) -> str:
    low, high = (f"{value:,.{digits}f}" for value in (min(values), max(values)))
    return f"{median(values):,.{digits}f}" + (f" ({low}-{high})" if low != high else "")


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--released", type=Path, help="a clone of the released code")
    parser.add_argument("--parts", nargs="*", default=PARTS, choices=PARTS)
    parser.add_argument("--scenario", default="matched", choices=["matched", "unmatched", "rna", "atac"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--profile", type=int, metavar="FEATURES", help="print where a step's time goes, and no more")
    parser.add_argument("--density", type=float, default=0.05, help="of the profile")
    parser.add_argument("--out", type=Path, help="the table (Markdown)")
    args = parser.parse_args()
    import torch

    from cellpredx import __version__

    torch.set_num_threads(args.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    if args.profile:
        profile(args.profile, args.density, args.scenario)
        return
    clone = args.released.resolve() if args.released else None
    missing = ", ".join(f"`{name}`" for name in absent()) or "none"
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    parts: dict[str, Callable[[], str]] = {
        "step": partial(step_part, clone, args.repeats, args.scenario),
        "inference": partial(inference_part, clone, args.repeats),
        "run": run_part,
    }
    made = [parts[name]() for name in PARTS if name in args.parts]
    head = HEAD.format(
        cores=os.cpu_count(),
        threads=args.threads,
        version=__version__,
        types=TYPES,
        scenario=args.scenario,
        load=load,
    )
    text = head + (STANDS_IN.format(absent=missing) if clone else NO_RELEASED) + "".join(made)
    if args.out:
        args.out.write_text(text.rstrip("\n") + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
