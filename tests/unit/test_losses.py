"""The losses against plain float64 arithmetic, and the identities that they hold."""

import numpy as np
import pytest
import torch

from cellpredx.model import losses


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def plain_contrastive(z: torch.Tensor, z_neighbour: torch.Tensor, tau: float) -> torch.Tensor:
    u = torch.cat([z, z_neighbour])
    u = u / u.norm(dim=1, keepdim=True)
    total = torch.zeros((), dtype=torch.float64)
    for i in range(len(u)):
        partner = (i + len(z)) % len(u)
        others = torch.stack([torch.exp(u[i] @ u[k] / tau) for k in range(len(u)) if k != i])
        total = total - torch.log(torch.exp(u[i] @ u[partner] / tau) / others.sum())
    return total / len(u)


@pytest.mark.parametrize("tau", [0.04, 0.4, 0.8])
def test_contrastive_equals_its_definition_with_gradients(generator: torch.Generator, tau: float) -> None:
    a = torch.randn(7, 5, dtype=torch.float64, generator=generator, requires_grad=True)
    b = torch.randn(7, 5, dtype=torch.float64, generator=generator, requires_grad=True)
    expected = torch.autograd.grad(plain_contrastive(a, b, tau), (a, b))
    found = torch.autograd.grad(losses.contrastive(a, b, tau), (a, b))
    torch.testing.assert_close(losses.contrastive(a, b, tau), plain_contrastive(a, b, tau))
    for x, y in zip(found, expected, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-9, atol=1e-12)


def test_contrastive_is_symmetric(generator: torch.Generator) -> None:
    a, b = torch.randn(2, 20, 8, dtype=torch.float64, generator=generator)
    torch.testing.assert_close(losses.contrastive(a, b, 0.4), losses.contrastive(b, a, 0.4))


def test_projection_equals_numpy(generator: torch.Generator) -> None:
    r, q = torch.randn(2, 30, 6, dtype=torch.float64, generator=generator)
    expected = 0.0
    for z in (r.numpy(), q.numpy()):
        covariance = np.cov(z, rowvar=False)
        expected += np.abs(z).mean() + np.abs(covariance[np.triu_indices(6, 1)]).sum() / 36
    expected += 1 / np.abs(q.numpy() - q.numpy().mean(axis=0)).mean()
    assert float(losses.projection(r, q)) == pytest.approx(expected, rel=1e-12)


def test_alignment_pulls_the_most_similar_share_on_both_sides(generator: torch.Generator) -> None:
    r = torch.randn(9, 4, dtype=torch.float64, generator=generator, requires_grad=True)
    q = torch.randn(10, 4, dtype=torch.float64, generator=generator, requires_grad=True)
    cosines = torch.nn.functional.cosine_similarity(q.unsqueeze(1), r.unsqueeze(0), dim=2).max(dim=1).values
    expected = -cosines.sort(descending=True).values[:8].mean()
    loss = losses.alignment(r, q, 0.8)
    torch.testing.assert_close(loss, expected)
    gradients = torch.autograd.grad(loss, (r, q))
    assert all(float(g.abs().sum()) > 0 for g in gradients)


def test_sparse_centre_and_update_equal_their_sums(generator: torch.Generator) -> None:
    z = torch.randn(12, 3, dtype=torch.float64, generator=generator)
    attention = torch.rand(12, 3, dtype=torch.float64, generator=generator)
    labels = torch.randint(0, 3, (12,), generator=generator)
    centres = torch.randn(4, 3, dtype=torch.float64, generator=generator)
    loss = (
        sum(float(attention[i, j] * (z[i, j] - centres[labels[i], j]) ** 2) for i in range(12) for j in range(3)) / 24
    )
    assert float(losses.sparse_centre(z, labels, attention, centres)) == pytest.approx(loss)
    expected = centres.clone()
    for k in range(4):
        own = [i for i in range(12) if labels[i] == k]
        moves = sum((attention[i] * (z[i] - centres[k]) for i in own), torch.zeros(3, dtype=torch.float64))
        expected[k] += 0.5 * moves / (1 + len(own))
    losses.update_centres(centres, z, labels, attention, 0.5)
    torch.testing.assert_close(centres, expected)


def test_attention_is_a_softmax_over_exclude_and_include(generator: torch.Generator) -> None:
    module = losses.Attention(4, 8).double().eval()
    z = torch.randn(5, 4, dtype=torch.float64, generator=generator)
    scores = module.heads(torch.tanh(module.norm(module.hidden(z)))).view(5, 4, 2)
    torch.testing.assert_close(module(z), scores.softmax(dim=2)[..., 1])
