"""Determinant features: integrated gradients against Captum, and a case worked out by hand."""

import math

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from captum.attr import IntegratedGradients
from numpy.typing import NDArray
from scipy.special import softmax

from cellpredx.explain.determinants import PER_TYPE, Determinants
from cellpredx.explain.integrated_gradients import attributions, path_weights


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


@pytest.mark.parametrize("size", [1.0, 5.0])
def test_attributions_sum_to_the_change_of_the_probability(size: float) -> None:
    rng = np.random.default_rng(2)
    x = sp.random(60, 30, 0.5, format="csr", rng=rng)
    weight = (rng.standard_normal((4, 30)) * size).astype(np.float32)
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
    np.testing.assert_allclose(found, [[expected, -expected]], atol=1e-12)


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
            "cells": [2, 2, 1],
        }
    )
    pd.testing.assert_frame_equal(found, expected)
    # The first cell's features add up to p_A(x) - 1/3, f1 with twice f2's share.
    gain = math.exp(3) / (math.exp(3) + 2) - 1 / 3
    assert ig[0].tolist() == pytest.approx([gain * 2 / 3, gain / 3, 0, 0], abs=1e-9)


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
