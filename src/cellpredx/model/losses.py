"""The five losses of CellPredX and its centre update.

Symbols: z (B, m) embeddings, l (B, K) logits, p = softmax(l), y labels; R reference, Q query.
Source: Liu et al., doi 10.1371/journal.pcbi.1013824; scJoint (projection, alignment); NT-Xent (contrastive);
DACL (attention, centres).
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own convention


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """CE = -mean log p[y] over the reference. logits (B, K), labels (B,)."""
    return F.cross_entropy(logits, labels)


def _off_diagonal_covariance(z: Tensor) -> Tensor:
    """(1/m^2) sum_{j<k} |cov(z)_jk|, the covariance over B - 1."""
    centred = z - z.mean(dim=0)
    covariance = centred.T @ centred / (len(z) - 1)
    m = z.shape[1]
    return covariance.triu(diagonal=1).abs().sum() / (m * m)


def projection(z_reference: Tensor, z_query: Tensor) -> Tensor:
    """PR = sum over b in {R, Q} of mean|z_b| + (1/m^2) sum_{j<k} |cov(z_b)_jk|, plus 1 / mean|z_Q - mean z_Q|."""
    spread = (z_query - z_query.mean(dim=0)).abs().mean()
    size = z_reference.abs().mean() + z_query.abs().mean()
    return size + _off_diagonal_covariance(z_reference) + _off_diagonal_covariance(z_query) + 1 / spread


class _NTXent(torch.autograd.Function):
    """Mean over i of log sum_{k != i} exp(u_i.u_k / tau) - u_i.u_i+ / tau, for unit vectors u (2B, m).

    S = u u^T is symmetric, so with E = exp((S - 1) / tau), a zero diagonal and row sums r the gradient is
    ((E u) / r + E (u / r) - 2 u_+) / (2B tau): two products, and E is the only (2B, 2B) array. Cosines are at most
    1, so that subtracting 1 keeps exp from overflowing.
    """

    @staticmethod
    def forward(ctx: Any, u: Tensor, tau: float) -> Tensor:
        e = (u @ u.T).sub_(1).div_(tau).exp_()
        e.fill_diagonal_(0)
        sums = e.sum(dim=1, keepdim=True)
        partner = u.roll(len(u) // 2, dims=0)
        ctx.save_for_backward(u, e, sums, partner)
        ctx.tau = tau
        return (sums.log().squeeze(1) + (1 - (u * partner).sum(dim=1)) / tau).mean()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        u, e, sums, partner = ctx.saved_tensors
        products = e @ torch.cat([u, u / sums], dim=1)
        m = u.shape[1]
        total = products[:, :m] / sums + products[:, m:] - 2 * partner
        return gradients[0] * total / (len(u) * ctx.tau), None


def contrastive(z: Tensor, z_neighbour: Tensor, tau: float) -> Tensor:
    """CL (NT-Xent) = -(1/2B) sum_i log( exp(u_i.u_i+ / tau) / sum_{k != i} exp(u_i.u_k / tau) ).

    z and z_neighbour (B, m): query cells and one neighbour each; u their 2B unit vectors, i+ the partner of i.
    Products of (2B, m) with (2B, 2B) alone: no (2B, 2B, m) array is made. tau must be at least 0.025 in float32.
    """
    u = F.normalize(torch.cat([z, z_neighbour]), dim=1)
    loss: Tensor = _NTXent.apply(u, tau)
    return loss


def alignment(z_reference: Tensor, z_query: Tensor, share: float) -> Tensor:
    """FA = -mean_{b in T} cos(z_b, z_i(b)), i(b) the most similar reference cell of the batch, T the `share` of
    query cells that are most similar to theirs. Which cells they are carries no gradient; the cosines do, on both
    sides.
    """
    with torch.no_grad():
        similarity = F.normalize(z_query, dim=1) @ F.normalize(z_reference, dim=1).T
        best, nearest = similarity.max(dim=1)
        kept = best.topk(max(1, int(share * len(best)))).indices
    return -F.cosine_similarity(z_query[kept], z_reference[nearest[kept]]).mean()


class Attention(nn.Module):
    """Attention of every dimension j: e = tanh(BN(W_a z + b_a)), two scores a dimension, their softmax.

    A_j = softmax(exclude_j, include_j)[include].
    """

    def __init__(self, dimensions: int, width: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(dimensions, width)
        self.norm = nn.BatchNorm1d(width)
        self.heads = nn.Linear(width, 2 * dimensions)

    def forward(self, z: Tensor) -> Tensor:
        """Return A, (B, m), in (0, 1). z (B, m)."""
        scores = self.heads(torch.tanh(self.norm(self.hidden(z))))
        # softmax over two scores is the logistic function of their difference.
        exclude, include = scores.view(len(z), -1, 2).unbind(dim=2)
        return torch.sigmoid(include - exclude)


def sparse_centre(z: Tensor, labels: Tensor, attention: Tensor, centres: Tensor) -> Tensor:
    """SC = (1/2n) sum_i sum_j A_ij (z_ij - c_{y_i j})^2. z, attention (n, m), labels (n,), centres (K, m)."""
    return (attention * (z - centres[labels]).square()).sum() / (2 * len(z))


def l1(weights: list[Tensor]) -> Tensor:
    """L1 = mean|theta| over the entries of all `weights` together."""
    return sum((w.abs().sum() for w in weights), torch.zeros((), device=weights[0].device)) / sum(
        w.numel() for w in weights
    )


@torch.no_grad()
def add_l1_gradient(weights: list[Tensor], factor: float) -> None:
    """Add the gradient of factor * L1 to that of every weight: factor sign(theta) / n, in one pass over them."""
    n = sum(w.numel() for w in weights)
    for weight in weights:
        assert weight.grad is not None
        weight.grad.add_(weight.sign(), alpha=factor / n)


@torch.no_grad()
def update_centres(centres: Tensor, z: Tensor, labels: Tensor, attention: Tensor, rate: float) -> None:
    """c_k += a sum_{i: y_i = k} A_i * (z_i - c_k) / (1 + n_k), in place (DACL)."""
    moves = torch.zeros_like(centres).index_add_(0, labels, attention * (z - centres[labels]))
    counts = torch.bincount(labels, minlength=len(centres)).unsqueeze(1)
    centres += rate * moves / (1 + counts)
