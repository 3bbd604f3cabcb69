"""Determinant features: integrated gradients against Captum, cases worked out by hand, and plain arithmetic."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from captum.attr import IntegratedGradients
from numpy.typing import NDArray
from scipy.special import softmax
from scipy.stats import mannwhitneyu, norm, rankdata

from cellpredx.core.errors import UserError
from cellpredx.explain.determinants import PER_CELL, PER_TYPE, Determinants
from cellpredx.explain.differential import differential_features
from cellpredx.explain.integrated_gradients import attributions, path_weights
from cellpredx.explain.markers import GeneNames, Markers, hit_rate, read_markers
from cellpredx.explain.places import Places, file_names, nearest_genes, write_beds
from cellpredx.explain.trust import Trust, mean_attributions
from cellpredx.model import bundle
from tests.unit.test_model import TYPES, predict_arguments, train_arguments, write_pair


@pytest.mark.parametrize("size", [0.2, 1.0, 4.0])
def test_the_closed_form_equals_captum(size: float) -> None:
    rng = np.random.default_rng(1)
    x = sp.random(25, 40, 0.4, format="csr", rng=rng)
    weight, bias = rng.standard_normal((6, 40)) * size, rng.standard_normal(6)
    target = rng.integers(0, 6, 25)

    linear = torch.nn.Linear(40, 6, dtype=torch.float64)
    with torch.no_grad():
        linear.weight.copy_(torch.from_numpy(weight.astype(np.float32)))
        linear.bias.copy_(torch.from_numpy(bias.astype(np.float32)))
    model = torch.nn.Sequential(linear, torch.nn.Softmax(dim=1))
    expected = IntegratedGradients(model).attribute(
        torch.from_numpy(x.toarray()), target=torch.from_numpy(target), n_steps=200, method="gausslegendre"
    )
    found = attributions(x, weight.astype(np.float32), bias.astype(np.float32), target)
    assert np.abs(found.toarray()).max() > 0.01
    np.testing.assert_allclose(found.toarray(), expected.detach().numpy(), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("size", "precision"), [(1.0, np.float32), (5.0, np.float32), (40.0, np.float64)])
def test_attributions_sum_to_the_change_of_the_probability(size: float, precision: type[np.floating[Any]]) -> None:
    rng = np.random.default_rng(2)
    x = sp.random(60, 30, 0.5, format="csr", rng=rng)
    weight = (rng.standard_normal((4, 30)) * size).astype(precision)
    bias = rng.standard_normal(4).astype(np.float32)
    target = rng.integers(0, 4, 60)
    found = attributions(x, weight, bias, target)
    at_x = softmax(x @ weight.T.astype(float) + bias, axis=1)[np.arange(60), target]
    at_zero = softmax(bias.astype(float))[target]
    np.testing.assert_allclose(np.asarray(found.sum(axis=1)).ravel(), at_x - at_zero, atol=1e-6, rtol=0)
    assert set(zip(*found.nonzero(), strict=True)) <= set(zip(*x.nonzero(), strict=True))


def test_path_weights_of_two_types_by_hand() -> None:
    # p = logistic(4 a) along the path: integral of p (1 - p) da = (logistic(4) - 1/2) / 4.
    expected = (1 / (1 + math.exp(-4)) - 0.5) / 4
    found = path_weights(np.array([[4.0, 0.0]]), np.zeros(2), np.array([0]))
    np.testing.assert_allclose(found, [[expected, -expected]], atol=1e-9)


def determinants(
    x: sp.csr_matrix,
    weight: NDArray[np.float32],
    bias: NDArray[np.float32],
    predicted: NDArray[np.int64],
    labels: list[str],
    features: list[str],
    block: int = 2,
) -> pd.DataFrame:
    """Determinants of cells that come in blocks."""
    found = Determinants(weight, bias)
    for begin in range(0, x.shape[0], block):
        found.add(x[begin : begin + block], predicted[begin : begin + block])
    return found.table(labels, features)


def test_determinants_of_a_case_by_hand() -> None:
    # Type A is decided by f1 (twice in the first cell) and f2, against f3; type B by f3; C was given to no cell.
    x = sp.csr_matrix(np.array([[2, 1, 0, 0], [1, 0, 1, 0], [0, 0, 1, 1]], float))
    weight = np.array([[1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]], np.float32)
    found = determinants(
        x, weight, np.zeros(3, np.float32), np.array([0, 0, 1]), ["A", "B", "C"], ["f1", "f2", "f3", "f4"]
    )
    ig = attributions(x, weight, np.zeros(3, np.float32), np.array([0, 0, 1])).toarray()
    expected = pd.DataFrame(
        {
            "cell_type": ["A", "A", "B"],
            "rank": [1, 2, 1],
            "feature": ["f1", "f2", "f3"],
            "frequency": [1.0, 0.5, 1.0],
            "mean_attribution": [(ig[0, 0] + ig[1, 0]) / 2, ig[0, 1] / 2, ig[2, 2]],
            "own_attribution": [(ig[0, 0] + ig[1, 0]) / 2, ig[0, 1] / 2, ig[2, 2]],
            "cells": [2, 2, 1],
        }
    )
    pd.testing.assert_frame_equal(found, expected)
    # The first cell's features add up to p_A(x) - 1/3, f1 with twice f2's share.
    gain = math.exp(3) / (math.exp(3) + 2) - 1 / 3
    assert ig[0].tolist() == pytest.approx([gain * 2 / 3, gain / 3, 0, 0], abs=1e-7)


def test_a_cell_names_100_features_and_a_type_50() -> None:
    features = 130
    x = sp.csr_matrix(np.ones((1, features)))
    weight = np.zeros((2, features), np.float32)
    weight[0] = np.linspace(0.001, 0.05, features)
    names = [f"f{i}" for i in range(features)]
    one = determinants(x, weight, np.zeros(2, np.float32), np.array([0]), ["A", "B"], names)
    assert one["feature"].tolist() == names[: -PER_TYPE - 1 : -1]
    # Two cells have the weakest forty features alone: the first thirty are not among the first cell's best 100.
    alone = sp.csr_matrix(np.repeat(np.r_[np.ones(40), np.zeros(features - 40)][None], 2, axis=0))
    three = determinants(
        sp.vstack([x, alone], format="csr"), weight, np.zeros(2, np.float32), np.zeros(3, int), ["A", "B"], names
    )
    assert three["feature"].tolist()[:40] == names[39::-1]
    assert three["frequency"].tolist() == pytest.approx([1.0] * 10 + [2 / 3] * 30 + [1 / 3] * 10)


def test_a_feature_that_only_speaks_against_a_type_is_no_determinant() -> None:
    x = sp.csr_matrix(np.array([[1.0, 1.0]]))
    weight = np.array([[1, -1], [0, 0]], np.float32)
    found = determinants(x, weight, np.zeros(2, np.float32), np.array([0]), ["A", "B"], ["for", "against"])
    assert found["feature"].tolist() == ["for"]


def test_a_features_parts_are_summed_and_its_own_share_is_kept_apart() -> None:
    rng = np.random.default_rng(4)
    x = sp.random(30, 12, 0.5, "csr", random_state=5)
    share = sp.csr_matrix((rng.random(x.nnz), x.indices.copy(), x.indptr.copy()), shape=x.shape)
    weight, bias = rng.normal(0, 1, (2, 12)), np.zeros(2)
    predicted = rng.integers(0, 2, 30)
    ig = attributions(x, weight, bias, predicted).toarray()
    before = x.toarray()
    found = Determinants(weight, bias, 4)
    found.add(x, predicted, share)
    # The cells are used again, by the models that tell how far to trust what was found.
    np.testing.assert_array_equal(x.toarray(), before)
    for k in (0, 1):
        cells = predicted == k
        whole, own = (part.reshape(30, 3, 4).sum(axis=1)[cells].mean(axis=0) for part in (ig, ig * share.toarray()))
        np.testing.assert_allclose(found.mean(k), whole, atol=1e-12)
        np.testing.assert_allclose(found.own[k] / cells.sum(), own, atol=1e-12)


def simulated(cells: int = 40, features: int = 150, types: int = 3) -> tuple[sp.csr_matrix, NDArray[np.int64]]:
    rng = np.random.default_rng(5)
    return sp.random(cells, features, 0.6, format="csr", rng=rng), rng.integers(0, types, cells)


def model_of(seed: int, features: int = 150, types: int = 3) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((types, features)).astype(np.float32), rng.standard_normal(types).astype(np.float32)


def test_the_share_of_a_decision_is_that_of_all_that_speaks_for_it() -> None:
    x, target = simulated()
    weight, bias = model_of(1)
    found = Determinants(weight, bias)
    found.add(x[:25], target[:25])
    found.add(x[25:], target[25:])
    ig = attributions(x, weight, bias, target).toarray()
    for k in range(3):
        own = ig[target == k]
        votes = sum((np.isin(np.arange(150), np.argsort(-row)[:PER_CELL]) & (row > 0)).astype(int) for row in own)
        order = sorted(range(150), key=lambda j, v=votes, o=own: (-v[j], -o[:, j].mean()))  # type: ignore[misc]
        spoken = np.maximum(own, 0).sum(axis=0)
        expected = {str(n): spoken[order[:n]].sum() / spoken.sum() for n in (10, 50, 100)}
        assert found.decision_share(k) == pytest.approx(expected, abs=1e-12)
        np.testing.assert_allclose(found.total[k] / (target == k).sum(), own.mean(axis=0), atol=1e-12)


def test_mean_attributions_are_the_means_of_the_attributions() -> None:
    x, target = simulated(types=2)
    weight, bias = model_of(2)
    ig = attributions(x, weight, bias, target).toarray()
    expected = np.stack([ig[target == k].mean(axis=0) if (target == k).any() else np.zeros(150) for k in range(3)])
    np.testing.assert_allclose(mean_attributions(x, weight, bias, target), expected, atol=1e-7)
    assert (expected < -1e-4).any()


def test_stability_is_the_overlap_of_the_models_lists() -> None:
    x, target = simulated()
    models = [model_of(seed) for seed in (1, 2, 3)]
    lists = []
    for weight, bias in models:
        names = [str(j) for j in range(150)]
        table = determinants(x, weight, bias, target, ["A", "B", "C"], names, block=40)
        lists.append({name: set(own["feature"]) for name, own in table.groupby("cell_type")})
    tops = [np.array([int(j) for j in lists[0][name]]) for name in "ABC"]
    trust = Trust(tops, (3, 150))
    assert trust.seeds == 0
    assert trust.of_type(0, tops[0]) == {"stability": None, "significant": None}
    trust.observe(x, target, *models[0])
    for weight, bias in models[1:]:
        trust.add_seed(weight, bias)
    assert trust.seeds == 3
    assert trust.named is not None
    for k, name in enumerate("ABC"):
        sets = [of_type[name] for of_type in lists]
        pairs = [len(a & b) / 50 for a, b in ((sets[0], sets[1]), (sets[0], sets[2]), (sets[1], sets[2]))]
        assert trust.of_type(k, tops[k])["stability"] == pytest.approx(np.mean(pairs))
        assert trust.named[k].tolist() == [sum(str(j) in own for own in sets) for j in range(150)]


def test_q_is_that_of_the_pooled_null_by_benjamini_and_hochberg() -> None:
    x, target = simulated(types=2)
    x = sp.csr_matrix(x.multiply(np.arange(150) != 7))
    x.eliminate_zeros()
    weight, bias = model_of(1)
    weight[0, :5] += 8
    # Labels without sense are fitted with larger weights: what counts is a feature's part of all.
    shuffled = [(3 * weight, bias) for weight, bias in map(model_of, range(10, 30))]
    trust = Trust([np.arange(50)] * 3, (3, 150))
    trust.observe(x, target, weight, bias)
    for one in shuffled:
        trust.add_shuffled(*one)
    assert trust.permutations == 20
    assert trust.q is not None
    assert (trust.q[2] == 1).all()
    for k in (0, 1):
        own = x[target == k]
        kept = [j for j in range(150) if own[:, [j]].nnz]
        assert 7 not in kept

        def parts(
            model: tuple[NDArray[np.float32], NDArray[np.float32]], own: sp.csr_matrix = own, k: int = k
        ) -> NDArray[np.float64]:
            mean = attributions(own, *model, np.full(own.shape[0], k)).toarray().mean(axis=0)
            return np.asarray(mean / np.abs(mean).sum())

        observed = parts((weight, bias))
        null = np.concatenate([parts(one)[kept] for one in shuffled])
        p = {j: (1 + (null >= observed[j] - 1e-15).sum()) / (1 + len(null)) for j in kept}
        ranked = sorted(kept, key=lambda j, p=p: p[j])  # type: ignore[misc]
        q = {j: min(p[i] * len(kept) / (r + 1) for r, i in enumerate(ranked) if r >= at) for at, j in enumerate(ranked)}
        assert trust.q[k, kept].tolist() == pytest.approx([q[j] for j in kept], abs=1e-12)
        assert trust.q[k, 7] == 1
    top = np.arange(50)
    assert trust.of_type(0, top)["significant"] == (trust.q[0, :50] < 0.05).sum() > 0


def test_the_hit_rate_and_its_p_are_those_of_counting() -> None:
    markers = np.zeros(30, bool)
    markers[[2, 3, 5, 7, 11, 13]] = True
    found = hit_rate(np.array([2, 3, 4, 7, 8]), markers)
    ways = sum(math.comb(6, i) * math.comb(24, 5 - i) for i in range(3, 6))
    assert found == {"hits": 3, "of": 6, "rate": 0.5, "p": pytest.approx(ways / math.comb(30, 5), rel=1e-12)}
    assert hit_rate(np.array([2, 3]), np.zeros(30, bool)) is None
    assert hit_rate(np.arange(50), np.ones(200, bool)) == {"hits": 50, "of": 50, "rate": 1.0, "p": 1.0}
    none = hit_rate(np.array([0, 1]), markers)
    assert none is not None
    assert (none["hits"], none["p"]) == (0, pytest.approx(1.0))


def test_genes_are_matched_exactly_and_then_whatever_their_case() -> None:
    names = pd.DataFrame(
        {"gene_name": ["Cd8a", "CD8A", "MS4A1", "", "MS4A1"], "gene_id": ["E1", "E2", "E3", "E4", "E5"]}
    )
    genes = GeneNames(names)
    found, absent = genes.find(["CD8A", "ms4a1", "E4", "GNLY", ""])
    assert found.tolist() == [False, True, True, True, True]
    assert absent == 2
    assert genes.find(["cd8a"])[0].tolist() == [True, True, False, False, False]


@pytest.mark.parametrize(
    ("text", "what", "where"),
    [
        ("cell_type,name\nB,MS4A1\n", "the table has no column 'gene': it has cell_type, name", "m.csv, line 1"),
        ("cell_type,gene\nB,MS4A1\n\nT,\n", "gene is empty", "m.csv, line 4, column gene"),
        ("cell_type,gene\n ,MS4A1\n", "cell_type is empty", "m.csv, line 2, column cell_type"),
        ("cell_type,gene\n", "the list of markers has no row", "m.csv"),
    ],
)
def test_a_mistaken_list_of_markers_is_refused(tmp_path: Path, text: str, what: str, where: str) -> None:
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(UserError) as caught:
        read_markers(tmp_path / "m.csv")
    assert (caught.value.what, caught.value.where) == (what, where)


def test_nearest_genes_equal_a_plain_search() -> None:
    rng = np.random.default_rng(3)
    low = rng.integers(0, 50_000, 60)
    genes = pd.DataFrame(
        {"chrom": rng.choice(["1", "2", "MT"], 60), "start": low, "end": low + rng.integers(200, 4000, 60)}
    )
    genes["strand"] = rng.choice(["+", "-"], 60)
    low = rng.integers(0, 60_000, 300)
    regions = pd.DataFrame({"chrom": rng.choice(["chr1", "chr2", "chrM", "chr9"], 300), "start": low, "end": low + 501})
    found, distance = nearest_genes(regions, genes)
    rows: list[list[Any]] = regions.to_numpy().tolist()
    of_genes: list[list[Any]] = genes.to_numpy().tolist()
    for i, (chrom, start, end) in enumerate(rows):
        best: tuple[float, float, int] | None = None
        for j, (on, low_end, high_end, strand) in enumerate(of_genes):
            if {"chr1": "1", "chr2": "2", "chrM": "MT"}.get(chrom) != on:
                continue
            inside = start < high_end and low_end < end
            gap = 0 if inside else low_end - end + 1 if low_end >= end else start - high_end + 1
            tss = low_end if strand == "+" else high_end - 1
            best = min(best or (gap, math.inf, j), (gap, abs(tss - (start + end) // 2), j))
        assert found[i] == (-1 if best is None else best[2])
        assert distance[i] == (0 if best is None else best[0])
    assert (distance == 0).any()
    assert (distance > 1).any()


def test_peaks_have_the_names_of_their_nearest_genes(tmp_path: Path) -> None:
    (tmp_path / "genes.bed").write_text("chr1\t100\t200\tA\tENSG1.2\t+\nchr1\t900\t950\tB\tENSG2\t-\n")
    peaks = pd.DataFrame(
        {"chrom": ["chr1", "chr9", "chr1"], "start": [150, 1, 700], "end": [160, 9, 800]}, ["p", "q", "r"]
    )
    places = Places(peaks, str(tmp_path / "genes.bed"))
    assert places.nearest.tolist() == ["A", "", "B"]
    assert places.distance.tolist() == [0, "", 101]
    markers = Markers(peaks.index, places.names, {"T": ["ENSG1", "b", "C"], "Q": ["C"]}, None)
    found = markers.given("T")
    assert found is not None
    assert found.tolist() == [True, False, True]
    rates = markers.hit_rates("T", np.array([2, 1]))["markers"]
    assert (rates["hits"], rates["of"], rates["not_in_model"]) == (1, 2, 1)
    assert markers.hit_rates("Q", np.array([2, 1])) == {"markers": None, "reference": None}
    # Without an annotation a peak has no gene, and no list of genes can be held against it.
    bare = Places(peaks, None)
    assert bare.nearest.tolist() == ["", "", ""]
    assert Markers(peaks.index, bare.names, {"T": ["A"]}, None).given("T") is None


def test_a_bed_a_type_opens_in_a_genome_browser(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "cell_type": ["T/NK", "T/NK", "T NK", "../x"],
            "feature": ["p2", "p1", "p1", "p3"],
            "mean_attribution": [0.5, 0.25, -0.1, 0.2],
            "nearest_gene": ["A", "", "B", "C D"],
        }
    )
    regions = pd.DataFrame(
        {"chrom": ["chr1", "chr2", "chr3"], "start": [100, 5, 7], "end": [601, 506, 508]}, ["p1", "p2", "p3"]
    )
    write_beds(table, regions, tmp_path / "beds")
    written = {path.name: path.read_text() for path in sorted((tmp_path / "beds").iterdir())}
    assert written == {
        "T_NK.bed": "chr1\t100\t601\tp1\t500\t.\nchr2\t5\t506\tA\t1000\t.\n",
        "T_NK_2.bed": "chr1\t100\t601\tB\t0\t.\n",
        "_._x.bed": "chr3\t7\t508\tC_D\t1000\t.\n",
    }
    assert len(set(file_names(["b", "B", "b_2"]).values())) == 3


def test_differential_features_are_those_of_a_rank_sum_test() -> None:
    rng = np.random.default_rng(4)
    y = np.repeat([0, 1, 2, 3], [30, 25, 20, 1])
    counts = rng.poisson(0.4, (76, 60)).astype(np.float32)
    counts[y == 0, :4] += rng.poisson(2, (30, 4))
    counts[y == 1, 4:30] += rng.poisson(3, (25, 26))
    x = sp.csr_matrix(np.log1p(counts))
    names = [f"g{j}" for j in range(60)]
    found = differential_features(x, y, ["rest", "1", "=B", "alone"], names)
    for k, name in enumerate(["rest", "1", "=B"]):
        dense, own = x.toarray().astype(float), y == k
        z, p = [], []
        for j in range(60):
            ranks = rankdata(dense[:, j])
            sizes = np.unique(dense[:, j], return_counts=True)[1]
            n1, n2, n = own.sum(), (~own).sum(), len(y)
            spread = math.sqrt(n1 * n2 / 12 * (n + 1 - (sizes**3 - sizes).sum() / (n * (n - 1))))
            z.append((ranks[own].sum() - n1 * (n + 1) / 2) / spread)
            p.append(2 * norm.sf(abs(z[-1])))
            asymptotic = mannwhitneyu(dense[own, j], dense[~own, j], method="asymptotic", use_continuity=False).pvalue
            assert p[-1] == pytest.approx(asymptotic, rel=1e-9)
        ranked = sorted(range(60), key=lambda j, p=p: p[j])  # type: ignore[misc]
        q = {j: min(p[i] * 60 / (r + 1) for r, i in enumerate(ranked) if r >= at) for at, j in enumerate(ranked)}
        best = [j for j in sorted(range(60), key=lambda j, z=z: -z[j])[:20] if q[j] < 0.05 and z[j] > 0]  # type: ignore[misc]
        rows = found[found["cell_type"] == name]
        assert rows["feature"].tolist() == [names[j] for j in best]
        assert rows["score"].tolist() == pytest.approx([z[j] for j in best], rel=1e-5)
        assert rows["q"].tolist() == pytest.approx([q[j] for j in best], rel=1e-3)
    assert (found["cell_type"] == "1").sum() == 20
    assert "alone" not in set(found["cell_type"])
    assert differential_features(x[:3], np.arange(3), ["a", "b", "c"], names).empty


@pytest.fixture(scope="module")
def explained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An annotated query, its model and models that were trained again."""
    from cellpredx.cli import parser

    folder = tmp_path_factory.mktemp("explained")

    def run(*call: object) -> None:
        args = parser().parse_args([str(argument) for argument in call])
        args.run(args)

    write_pair(folder)
    train = train_arguments(folder, "model")
    run(*train)
    for call in predict_arguments(folder, "p"):
        run(*call)
    again = [argument for argument in train[1:] if argument not in ("--bundle", "--training")]
    again = [argument for argument in again if argument not in (folder / "model", folder / "model.json")]
    for name, more in (
        ("seed_2", ("--seed", 2)),
        ("shuffled_2", ("--seed", 2, "--shuffled")),
        ("shuffled_3", ("--seed", 3, "--shuffled")),
    ):
        run("retrain", *again, *more, "--out", folder / f"{name}.safetensors")
    run(
        "reference-markers",
        "--pair",
        folder / "pair",
        "--labels",
        f"r={folder / 'labels.csv'}",
        "--out",
        folder / "reference_markers.csv",
    )
    return folder


def test_the_verb_tells_what_the_determinants_are_worth(
    explained: Path, tmp_path: Path, run_verb: Callable[..., None]
) -> None:
    features = bundle.read(explained / "model").features.index
    given = {TYPES[0]: [features[0].lower(), features[1], "nowhere"], "another": ["g"]}
    rows = [f"{name},{gene}" for name, genes in given.items() for gene in genes]
    (tmp_path / "markers.csv").write_text("\n".join(["cell_type,gene", *rows]) + "\n")
    arguments = ("explain", "--bundle", explained / "model", "--annotated", explained / "p" / "annotated.h5ad")
    run_verb(
        *arguments, "--retrained", *sorted(explained.glob("*.safetensors")), "--markers", tmp_path / "markers.csv",
        "--reference-markers", explained / "reference_markers.csv", "--outdir", tmp_path,
    )  # fmt: skip
    told = json.loads((tmp_path / "explain.json").read_text())
    table = pd.read_csv(tmp_path / "determinants.csv")
    assert list(table) == [
        *("cell_type", "rank", "feature", "frequency", "mean_attribution", "own_attribution", "cells"),
        *("stability", "q", "is_marker", "nearest_gene", "distance"),
    ]
    assert (told["seeds"], told["permutations"]) == (2, 2)
    assert (told["marker_types"], told["markers_of_other_types"]) == (2, ["another"])
    assert list(told["types"]) == TYPES
    assert set(table["stability"]) == {0.5, 1.0}
    differential = pd.read_csv(explained / "reference_markers.csv")
    for name, one in told["types"].items():
        own = table[table["cell_type"] == name]
        both, longer = (own["stability"] == 1).sum(), (own["stability"] == 1).sum() / one["stability"]
        assert len(own) <= round(longer) <= PER_TYPE
        assert both / round(longer) == pytest.approx(one["stability"])
        assert one["significant"] == (own["q"] < 0.05).sum()
        assert one["residual"] is None
        assert 0 < one["decision_share"]["10"] < one["decision_share"]["50"] <= one["decision_share"]["100"] <= 1
        listed = set(differential.loc[differential["cell_type"] == name, "feature"])
        assert one["hit_rate"]["reference"]["hits"] == len(listed & set(own["feature"]))
        assert one["hit_rate"]["reference"]["of"] == len(listed) > 0
        assert (one["hit_rate"]["markers"] is None) == (name != TYPES[0])
    rate = told["types"][TYPES[0]]["hit_rate"]["markers"]
    assert (rate["of"], rate["not_in_model"]) == (2, 1)
    marked = table[table["cell_type"] == TYPES[0]]
    assert (
        rate["hits"] == marked["feature"].isin(features[:2]).sum() == (marked["is_marker"].astype(str) == "True").sum()
    )
    assert table.loc[table["cell_type"] != TYPES[0], "is_marker"].isna().all()
    assert not (tmp_path / "determinants_bed").exists()

    (tmp_path / "markers.csv").write_text("cell_type,gene\nanother,g\n")
    run_verb(*arguments, "--markers", tmp_path / "markers.csv", "--outdir", tmp_path / "alone")
    alone = pd.read_csv(tmp_path / "alone" / "determinants.csv")
    assert alone.iloc[:, 7:].isna().all(axis=None)
    pd.testing.assert_frame_equal(alone.iloc[:, :6], table.iloc[:, :6])
    told = json.loads((tmp_path / "alone" / "explain.json").read_text())
    assert (told["seeds"], told["permutations"]) == (0, 0)
    assert told["markers_of_other_types"] == ["another"]
    nothing = {"stability": None, "significant": None, "hit_rate": {"markers": None, "reference": None}}
    assert all(one.items() >= nothing.items() for one in told["types"].values())
