"""The members of `tuned` beside the network: convex classifiers on features, joint embeddings and smoothed genes.

Every member is a multinomial logistic regression; its logits are centred over the types and members are averaged by
their shares. Members that are linear in a cell's own features are one product, folded into the bundle's; the others
need the whole query (its graph, its moments), and `fit-query` computes their logits.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.special import softmax
from scipy.stats import rankdata

from cellpredx.core.errors import UserError
from cellpredx.model.graph import largest, loadings_of, neighbours, pca
from cellpredx.model.logistic import Floats, Standardised, fit_logistic
from cellpredx.model.presets import Hyperparameters
from cellpredx.model.spectral import Spectral, spectral, unit_rows

COMMON = 0.005  # share of a side's cells that must have a gene
CLIP = 10.0  # standard deviations
ROW_LENGTH = 5.0  # of embedded cells
FLAT = 1e-6  # a deviation below it is none
BLOCK = 512  # features smoothed at a time
AGREEMENT = 0.6  # share of cells on which network and members must agree for the network to get its larger share
FEWEST = 20  # cells of a query whose genes can be standardised
NEAREST = 10  # cells of either side that novelty looks at


@dataclass(frozen=True)
class Linear:
    """Members that are linear in the log-normalised features, summed with their shares: weight (K, G), bias (K,)."""

    weight: Floats
    bias: Floats


@dataclass(frozen=True)
class Placed:
    """Where the cells of a whole query lie, found out once for all that is asked of them.

    `walks`: the graphs that smooth, of the query's cells, or joint ones, of reference and query. `embedding` (n, d),
    `row_scale` (n,) and `own_similarity` of a joint embedding, none where there is none: `row_scale` is r of
    `Spectral.project`, `own_similarity` r^2 of a typical cell, 0 where the embedding was made without the query.
    """

    walks: list[sp.csr_matrix]
    embedding: Floats
    row_scale: Floats
    own_similarity: float = 0.0


@dataclass(frozen=True)
class Explained:
    """What the logits of some cells are linear in.

    `features` (n, parts * G), the cells' own share of each value, the same shape, their zero (parts * G,), and the
    logits themselves (n, K).
    """

    features: sp.csr_matrix
    own: sp.csr_matrix
    zero: Floats
    logits: Floats


@dataclass(frozen=True)
class Embedded:
    """Classifiers of the joint spectral embedding of reference and query.

    `reference` (n, d): embedded reference cells; `types` (n,) theirs; `readouts`: (components d_p, weight (K, d_p),
    bias (K,)) a prefix of the components; `smoothing` and `neighbours` of the joint graph, 0 for none.
    """

    spectral: Spectral
    reference: Floats
    types: NDArray[np.int64]
    readouts: list[tuple[int, Floats, Floats]]
    share: float
    smoothing: float
    neighbours: int

    def place(self, x: sp.csr_matrix, within: bool) -> Placed:
        """Find out where cells x (n, G) lie; `within`: the embedding was made with them. Proteins have no part."""
        embedding, r = self.spectral.project(x[:, : len(self.spectral.weight)], within)
        own = float(np.median(r**2)) if within and not self.spectral.sampled else 0.0
        both = np.concatenate([self.reference, embedding])
        return Placed(joint_walks(both, self._sizes(), self.smoothing, self.neighbours), embedding, r, own)

    def _sizes(self) -> list[int]:
        return [d for d, _, _ in self.readouts]

    def logits(self, placed: Placed) -> Floats:
        """Return the members' mean logits, times their share, of a placed query: (n, K)."""
        both = np.concatenate([self.reference, placed.embedding])
        begin = len(self.reference)
        parts = [
            centred(z[begin:] @ weight.T + bias)
            for (_, weight, bias), z in zip(
                self.readouts, prefixes(both, self._sizes(), self.smoothing, placed.walks), strict=True
            )
        ]
        return np.asarray(self.share * np.mean(parts, axis=0))

    def explained(self, x: sp.csr_matrix, placed: Placed, rows: NDArray[np.int64]) -> Explained:
        """Return what of the cells `rows` of x (n, G) is linear in `maps`, of prefixes * G columns.

        Degrees, row lengths and the graph are held fixed. The rest is what their neighbours of the query have;
        what neighbours of the reference add is left out, for their features are no part of a bundle.
        """
        begin = len(self.reference)
        near = [w[begin + rows][:, begin:] for w in placed.walks]
        # Of a large query, the cells that have a part in it.
        used = np.unique(np.concatenate([rows, *(w.indices for w in near)]))
        y = unit_rows(x[used][:, : len(self.spectral.weight)], self.spectral.weight)
        y.eliminate_zeros()
        at = np.searchsorted(used, rows)
        embedding, r = placed.embedding[used], placed.row_scale[used]
        parts, shares = [], []
        for number, d in enumerate(self._sizes()):
            scale = r * ROW_LENGTH / np.maximum(np.linalg.norm(embedding[:, :d], axis=1), 1e-12)
            own = value = sp.csr_matrix(sp.diags((1 - self.smoothing) * scale[at]) @ y[at])
            if near:
                w = near[number][:, used].multiply(self.smoothing * scale)
                value = sp.csr_matrix(own + sp.csr_matrix(w) @ y)
            share = sp.csr_matrix(own.multiply(value.power(-1)))
            for part in (value, share):
                part.resize(len(rows), x.shape[1])
            parts.append(value)
            shares.append(share)
        features, own = (sp.csr_matrix(sp.hstack(all_of, format="csr")) for all_of in (parts, shares))
        return Explained(features, own, np.zeros(features.shape[1]), self.logits(placed)[rows])

    def maps(self, width: int, own: float) -> tuple[Floats, Floats]:
        """Return weights (K, prefixes * width) of `explained`'s features, bias (K,); own: as of `Ensemble.stacked`."""
        values = self.spectral.values
        directions = self.spectral.directions * (values / (values + own))
        weights, biases = [], []
        for d, weight, bias in self.readouts:
            folded = np.zeros((len(bias), width))
            folded[:, : len(self.spectral.weight)] = centred(weight.T).T @ directions[:, :d].T
            weights.append(folded)
            biases.append(bias - bias.mean())
        share = self.share / len(weights)
        return share * np.concatenate(weights, axis=1), share * np.sum(biases, axis=0)

    def novelty(self, placed: Placed) -> Floats:
        """Return how unlike the reference the cells of a placed query are, (n,): the sum of two ranks in [0, 1].

        Of the mean cosine to the 10 nearest other query cells minus that to the 10 nearest reference cells, and of
        the Mahalanobis distance to the nearest type (one covariance, within types). To rank cells of one query with.
        """
        embedding = placed.embedding
        own = nearest_cosine(embedding, None) - nearest_cosine(embedding, self.reference)
        present, column = np.unique(self.types, return_inverse=True)
        means = np.stack([self.reference[self.types == k].mean(axis=0) for k in present])
        deviation = self.reference - means[column]
        covariance = deviation.T @ deviation / len(deviation)
        covariance += np.eye(len(covariance)) * 1e-3 * (np.trace(covariance) / len(covariance) or 1.0)
        whiten = np.linalg.cholesky(np.linalg.inv(covariance))
        cells, centres = embedding @ whiten, means @ whiten
        squared = (cells**2).sum(axis=1)[:, None] - 2 * cells @ centres.T + (centres**2).sum(axis=1)
        return ranked(own) + ranked(squared.min(axis=1))


@dataclass(frozen=True)
class Smoothed:
    """A classifier of gene activity that is smoothed over graphs of the query's own peaks.

    weight (K, G) of genes that are standardised in each domain by itself, bias (K,); `graphs`: (spectral components,
    neighbours) each; `smoothing`: the share of the neighbours, `steps` times.
    """

    weight: Floats
    bias: Floats
    graphs: list[tuple[int, int]]
    smoothing: float
    steps: int

    def place(self, accessibility: sp.csr_matrix) -> Placed:
        """Find out the graphs of cells by their counts of peaks or windows (n, P)."""
        embedding, _ = spectral(accessibility, max(d for d, _ in self.graphs))
        cells = len(embedding)
        walks = [walk(embedding[:, :d], k) for d, k in self.graphs]
        return Placed(walks, np.zeros((cells, 0)), np.zeros(cells))

    def logits(self, x: sp.csr_matrix, placed: Placed) -> Floats:
        """Return the mean logits over the graphs, (n, K), of log-normalised x (n, G) of a placed query.

        Some features are smoothed at a time: memory grows with the cells, not with cells times genes.
        """
        total = np.zeros((x.shape[0], len(self.bias)))
        for block, _, smoothed in self._smoothed(x, placed.walks):
            total += np.mean([standardised(s) for s in smoothed], axis=0) @ self.weight[:, block].T
        return centred(total + self.bias)

    def _smoothed(
        self, x: sp.csr_matrix, walks: list[sp.csr_matrix]
    ) -> Iterator[tuple[NDArray[np.int64], Floats, list[Floats]]]:
        """Yield some genes, their values and their smoothed log values over each graph, (n, genes)."""
        columns = sp.csc_matrix(x)
        used = np.flatnonzero(np.abs(self.weight).sum(axis=0) > 0)
        for begin in range(0, len(used), BLOCK):
            block = used[begin : begin + BLOCK]
            values = np.expm1(columns[:, block].toarray().astype(np.float64))
            yield block, values, [np.log1p(smooth(values, w, self.smoothing, self.steps)) for w in walks]

    def explained(self, x: sp.csr_matrix, placed: Placed, rows: NDArray[np.int64]) -> Explained:
        """Return what the logits of the cells `rows` of x (n, G) are linear in: smoothed genes over their deviation.

        The logits are `weight` times (features - zero), the mean of all cells, but for values that are cut at 10
        deviations. A cell's own share of a logarithm is its share of the smoothed value.
        """
        shape = (len(rows), x.shape[1])
        found, own, mean = np.zeros(shape, np.float32), np.zeros(shape, np.float32), np.zeros(x.shape[1])
        total = np.zeros((len(rows), len(self.bias)))
        kept = [returning(w, self.smoothing, self.steps, rows) for w in placed.walks]
        for block, values, smoothed in self._smoothed(x, placed.walks):
            for s, stays in zip(smoothed, kept, strict=True):
                total += standardised(s)[rows] @ self.weight[:, block].T / len(smoothed)
                scale = np.divide(1, s.std(axis=0), out=np.zeros(len(block)), where=s.std(axis=0) > FLAT)
                value = s[rows] * scale / len(smoothed)
                whole = np.expm1(s[rows])
                share = np.divide(stays[:, None] * values[rows], whole, out=np.zeros_like(whole), where=whole > 0)
                found[:, block] += value.astype(np.float32)
                own[:, block] += (share * value).astype(np.float32)
                mean[block] += s.mean(axis=0) * scale / len(smoothed)
        shares = sp.csr_matrix(np.divide(own, found, out=own, where=found > 0))
        return Explained(sp.csr_matrix(found), shares, mean, centred(total + self.bias))


@dataclass(frozen=True)
class Members:
    """What `tuned` has beside the network: its linear part, and one part that needs the whole query."""

    linear: Linear | None
    rest: Embedded | Smoothed

    def place(self, x: sp.csr_matrix, accessibility: sp.csr_matrix | None, within: bool) -> Placed:
        """Find out where the cells of a whole query lie.

        x (n, G): log-normalised features of all its cells; accessibility: their peaks, where x is gene activity;
        `within`: whether the joint embedding was made with these cells.
        """
        if isinstance(self.rest, Smoothed):
            return self.rest.place(x if accessibility is None else accessibility)
        return self.rest.place(x, within)

    def logits(self, x: sp.csr_matrix, placed: Placed) -> Floats:
        """Return the logits of the part that needs the whole query, (n, K); x as of `place`."""
        return self.rest.logits(x, placed) if isinstance(self.rest, Smoothed) else self.rest.logits(placed)

    def novelty(self, placed: Placed) -> Floats | None:
        """Return how unlike the reference the cells of a whole query are, (n,), where a joint embedding tells it."""
        return None if isinstance(self.rest, Smoothed) else self.rest.novelty(placed)

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Return the part that needs the whole query as named arrays, for a bundle."""
        rest = self.rest
        if isinstance(rest, Smoothed):
            return {
                "smoothed.weight": rest.weight,
                "smoothed.bias": rest.bias,
                "smoothed.graphs": np.array(rest.graphs, np.int64),
                "smoothed.steps": np.array([rest.smoothing, rest.steps]),
            }
        found: dict[str, NDArray[Any]] = {
            "embedded.weight": rest.spectral.weight,
            "embedded.total": rest.spectral.total,
            "embedded.directions": rest.spectral.directions.astype(np.float32),
            "embedded.values": rest.spectral.values,
            "embedded.reference": rest.reference.astype(np.float32),
            "embedded.types": rest.types,
            "embedded.settings": np.array([rest.share, rest.smoothing, rest.neighbours, rest.spectral.sampled]),
        }
        for d, weight, bias in rest.readouts:
            found |= {f"embedded.readout.{d}.weight": weight, f"embedded.readout.{d}.bias": bias}
        return found


def from_tensors(tensors: dict[str, NDArray[Any]]) -> Members | None:
    """Return what `Members.tensors` gave, none where a bundle has no such part; the linear part is folded elsewhere."""
    t: dict[str, Floats] = {k: np.asarray(v, np.float64) for k, v in tensors.items()}
    if "smoothed.weight" in t:
        graphs = [(int(d), int(k)) for d, k in t["smoothed.graphs"]]
        smoothing, steps = t["smoothed.steps"]
        return Members(None, Smoothed(t["smoothed.weight"], t["smoothed.bias"], graphs, float(smoothing), int(steps)))
    if "embedded.weight" not in t:
        return None
    share, smoothing, k, sampled = t["embedded.settings"]
    weight, total, directions, values = (t[f"embedded.{name}"] for name in ("weight", "total", "directions", "values"))
    names = [name.split(".") for name in t if name.startswith("embedded.readout.")]
    sizes = sorted({int(name[2]) for name in names})
    return Members(
        None,
        Embedded(
            Spectral(weight, total, directions, values, bool(sampled)),
            t["embedded.reference"],
            t["embedded.types"].astype(np.int64),
            [(d, t[f"embedded.readout.{d}.weight"], t[f"embedded.readout.{d}.bias"]) for d in sizes],
            float(share),
            float(smoothing),
            int(k),
        ),
    )


@dataclass(frozen=True)
class Ensemble:
    """The network and its members: one product (K, G) and bias (K,) of all that is linear in a cell's features,
    and what else there is, which has the share 1 - `network_share`."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    members: Members | None
    network_share: float

    def place(self, x: sp.csr_matrix, accessibility: sp.csr_matrix | None, within: bool) -> Placed | None:
        """Find out where the cells of a whole query lie, if a member needs it; arguments as of `Members.place`."""
        return self.members.place(x, accessibility, within) if self.members else None

    def logits(self, x: sp.csr_matrix, placed: Placed | None) -> Floats:
        """Return the logits of a whole query x (n, G), (n, K)."""
        return self._product(x) + self.beyond(x, placed)

    def _product(self, x: sp.csr_matrix) -> Floats:
        return np.asarray(x @ self.weight.T, dtype=np.float64) + self.bias

    def beyond(self, x: sp.csr_matrix, placed: Placed | None) -> Floats:
        """Return what is added to the linear product's logits, (n, K)."""
        if self.members is None or placed is None:
            return np.zeros((x.shape[0], len(self.bias)))
        return (1 - self.network_share) * self.members.logits(x, placed)

    def explained(self, x: sp.csr_matrix, placed: Placed | None, rows: NDArray[np.int64]) -> Explained:
        """Return all features of the cells `rows` of a whole query x (n, G) that logits are linear in.

        Its parts are the log-normalised features themselves, and what the members make of them: smoothed genes over
        their deviation, or the joint embedding's row by a fixed length and degree, smoothed. The logits are `stacked`
        weights times (features - zero), but for what neighbours of the reference add, values that are cut, and how
        far the cells' degrees are from the typical one.
        """
        plain = sp.csr_matrix(x[rows], dtype=np.float64)
        ones = sp.csr_matrix((np.ones(plain.nnz), plain.indices, plain.indptr), shape=plain.shape)
        zero, logits = np.zeros(x.shape[1]), self._product(x[rows])
        if self.members is None or placed is None:
            return Explained(plain, ones, zero, logits)
        rest = self.members.rest.explained(x, placed, rows)
        return Explained(
            sp.csr_matrix(sp.hstack([plain, rest.features], format="csr")),
            sp.csr_matrix(sp.hstack([ones, rest.own], format="csr")),
            np.concatenate([zero, rest.zero]),
            logits + (1 - self.network_share) * rest.logits,
        )

    def spread(self) -> int:
        """Return how many times a cell's own features `explained` may give at most."""
        rest = self.members.rest if self.members else None
        if not isinstance(rest, Embedded):
            return 1
        return 1 + len(rest.readouts) * (1 + (rest.neighbours if rest.smoothing else 0))

    def stacked(self, own: float = 0.0) -> tuple[Floats, Floats]:
        """Return the weights (K, parts * G) and bias (K,) of what `explained` gives; own: `Placed.own_similarity`."""
        weight, bias = self.weight.astype(np.float64), self.bias.astype(np.float64)
        rest = self.members.rest if self.members else None
        if rest is None:
            return weight, bias
        if isinstance(rest, Smoothed):
            more, constant = centred(rest.weight.T).T, rest.bias - rest.bias.mean()
        else:
            more, constant = rest.maps(weight.shape[1], own)
        share = 1 - self.network_share
        return np.concatenate([weight, share * more], axis=1), bias + share * constant

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Return it as named arrays, for a bundle."""
        found: dict[str, NDArray[Any]] = {"folded.weight": self.weight, "folded.bias": self.bias}
        if self.members is not None:
            found |= {"network_share": np.array([self.network_share]), **self.members.tensors()}
        return found

    @staticmethod
    def read(tensors: dict[str, NDArray[Any]]) -> "Ensemble":
        """Return what `tensors` gave."""
        share = float(tensors["network_share"][0]) if "network_share" in tensors else 1.0
        return Ensemble(tensors["folded.weight"], tensors["folded.bias"], from_tensors(tensors), share)


def ensemble(
    network: tuple[NDArray[np.float32], NDArray[np.float32]],
    x_reference: sp.csr_matrix,
    labels: NDArray[np.int64],
    types: int,
    x_query: sp.csr_matrix,
    h: Hyperparameters,
    modalities: tuple[str, str],
    proteins: int = 0,
) -> Ensemble:
    """Fit the members beside a trained network (folded weight and bias), if the preset has any, and join them.

    The network, the one part that adapts to the query, gets the larger share `network_share_sure` where it is at
    least as sure of the query as the members are together (mean max p) and they agree on 60 % of its cells, else
    `network_share`; no label of the query has a part in that. The other arguments as of `fit_within`.
    """
    if h.network_share == 1:
        return Ensemble(*network, None, 1.0)
    if modalities[0] == modalities[1]:
        members = fit_within(x_reference, labels, types, x_query, h, modalities[0], proteins)
    else:
        members = fit_smoothed(x_reference, labels, types, x_query, h)
    weight, bias = (part.astype(np.float64) - part.mean(axis=0, dtype=np.float64) for part in network)
    linear = members.linear or Linear(np.zeros_like(weight), np.zeros_like(bias))
    share = h.network_share
    if h.network_share_sure > share:
        theirs = (
            np.asarray(x_query @ linear.weight.T)
            + linear.bias
            + members.logits(x_query, members.place(x_query, None, within=True))
        )
        own = np.asarray(x_query @ weight.T) + bias
        sure = [softmax(z, axis=1).max(axis=1).mean() for z in (own, theirs)]
        agree = (own.argmax(axis=1) == theirs.argmax(axis=1)).mean()
        share = h.network_share_sure if sure[0] >= sure[1] and agree >= AGREEMENT else share
    weight = share * weight + (1 - share) * linear.weight
    bias = share * bias + (1 - share) * linear.bias
    return Ensemble(weight.astype(np.float32), bias.astype(np.float32), members, share)


def refuse_few(cells: int, name: str) -> None:
    """Raise UserError for a query, or a reference, of fewer cells than genes can be standardised in."""
    if cells < FEWEST:
        raise UserError(
            f"{name} has {cells} cells: `tuned` standardises genes within it and needs {FEWEST}",
            name,
            "give more of its cells, or use --preset paper",
        )


def centred(logits: Floats) -> Floats:
    """Return logits (n, K) minus their mean over the types."""
    return logits - logits.mean(axis=1, keepdims=True)


def ranked(values: Floats) -> Floats:
    """Return the ranks of values (n,), ties their mean, as shares of n."""
    return np.asarray(rankdata(values) / len(values))


def walk(embedding: Floats, k: int) -> sp.csr_matrix:
    """Return the cosine kNN graph of cells, made symmetric, every row divided by its sum: (n, n).

    A cell of zeros, which is near none, is its own neighbour alone.
    """
    near = neighbours(embedding, k)
    n = len(near)
    indptr = np.arange(n + 1) * near.shape[1]
    graph = sp.csr_matrix((np.ones(near.size), near.ravel(), indptr), shape=(n, n))
    graph = graph.maximum(graph.T)
    placed = embedding.any(axis=1)
    graph = sp.diags(placed.astype(np.float64)) @ graph @ sp.diags(placed.astype(np.float64))
    graph += sp.diags((~placed).astype(np.float64))
    # A cell that is alone has no neighbour.
    return sp.csr_matrix(sp.diags(1 / np.maximum(np.asarray(graph.sum(axis=1)).ravel(), 1)) @ graph)


def smooth(x: Floats, w: sp.csr_matrix, share: float, steps: int) -> Floats:
    """Return Y after `steps` times Y <- (1 - share) x + share W Y, from Y = x (n, d)."""
    y = x
    for _ in range(steps):
        y = (1 - share) * x + share * np.asarray(w @ y)
    return y


def standardised(x: Floats) -> Floats:
    """Return the z-scores of the columns of x (n, d), at most 10 either way; a constant column is 0."""
    deviation = x.std(axis=0)
    return np.clip(np.divide(x - x.mean(axis=0), deviation, out=np.zeros_like(x), where=deviation > FLAT), -CLIP, CLIP)


def nearest_cosine(cells: Floats, others: Floats | None, block: int = 2048) -> Floats:
    """Return each cell's mean cosine to its 10 nearest `others` (m, d), or among `cells` (n, d) to other cells."""
    a, b = (
        (e / np.maximum(np.linalg.norm(e, axis=1, keepdims=True), 1e-12)).astype(np.float32)
        for e in (cells, others if others is not None else cells)
    )
    k = min(NEAREST, len(b) - (others is None))
    found = np.zeros(len(a))
    if k < 1:
        return found
    for begin in range(0, len(a), block):
        similarity = a[begin : begin + block] @ b.T
        if others is None:
            rows = np.arange(len(similarity))
            similarity[rows, begin + rows] = -np.inf
        found[begin : begin + block] = largest(similarity, k)[1].mean(axis=1, dtype=np.float64)
    return found


def returning(w: sp.csr_matrix, share: float, steps: int, rows: NDArray[np.int64]) -> Floats:
    """Return which part of a cell's own value `smooth` leaves with it, for the cells `rows`, (rows,)."""
    back = sp.csr_matrix(w.T)[rows]
    ahead = sp.csr_matrix(sp.identity(w.shape[0], format="csr")[rows])
    kept = np.full(len(rows), 1 - share if steps else 1.0)
    for step in range(1, steps + 1):
        home = np.asarray(ahead.multiply(back).sum(axis=1)).ravel()
        kept += share**step * (1 - share if step < steps else 1) * home
        if step < steps:
            ahead = sp.csr_matrix(ahead @ w)
    return kept


def of_one_length(cells: Floats) -> Floats:
    """Return embedded cells (n, d), each of the length 5."""
    return np.asarray(cells * (ROW_LENGTH / np.maximum(np.linalg.norm(cells, axis=1, keepdims=True), 1e-12)))


def joint_walks(both: Floats, sizes: list[int], smoothing: float, k: int) -> list[sp.csr_matrix]:
    """Return the graphs by the first d components of embedded cells (n, d), for each d of `sizes`; none unsmoothed."""
    return [walk(of_one_length(both[:, :d]), k) for d in sizes] if smoothing else []


def prefixes(both: Floats, sizes: list[int], smoothing: float, walks: list[sp.csr_matrix]) -> list[Floats]:
    """Return the first d components of embedded cells (n, d), for each d of `sizes`: rows of one length, smoothed."""
    found = [of_one_length(both[:, :d]) for d in sizes]
    return [smooth(z, w, smoothing, 1) for z, w in zip(found, walks, strict=True)] if walks else found


def fit_smoothed(
    x_reference: sp.csr_matrix, labels: NDArray[np.int64], types: int, x_query: sp.csr_matrix, h: Hyperparameters
) -> Members:
    """Fit the member of RNA -> ATAC on unsmoothed z-scored reference genes (N_R, G), of those that both sides have."""
    common = np.ones(x_reference.shape[1], bool)
    for side in (x_reference, x_query):
        common &= np.bincount(side.indices[side.data > 0], minlength=len(common)) >= COMMON * side.shape[0]
    if not common.any():
        raise UserError(
            "no gene is in 0.5 % of the cells of both reference and query",
            None,
            "give deeper cells, or --preset paper",
        )
    x = sp.csr_matrix(x_reference[:, common], dtype=np.float64)
    mean = np.asarray(x.mean(axis=0)).ravel()
    deviation = np.sqrt(np.maximum(np.asarray(x.multiply(x).mean(axis=0)).ravel() - mean**2, 0))
    deviation = np.where(deviation > FLAT, deviation, np.inf)  # a constant gene says nothing
    x.data = np.minimum(x.data, (mean + CLIP * deviation)[x.indices])  # as z-scores are cut
    weight, bias = fit_logistic(
        Standardised(x, 1 / deviation, mean / deviation), labels, types, h.smoothed_penalty, h.class_balance
    )
    full = np.zeros((types, len(common)))
    full[:, common] = weight
    graphs = list(zip(h.graph_components, h.graph_neighbours, strict=True))
    return Members(None, Smoothed(full, bias, graphs, h.smoothing, h.smoothing_steps))


def fit_within(
    x_reference: sp.csr_matrix,
    labels: NDArray[np.int64],
    types: int,
    x_query: sp.csr_matrix,
    h: Hyperparameters,
    modality: str,
    proteins: int = 0,
) -> Members:
    """Fit the members of one modality: log-normalised features, for RNA joint PCs too, and the joint embedding.

    x_reference (N_R, G), x_query (N_Q, G): log-normalised; the last `proteins` features have no part in the embedding.
    """
    n = len(labels)
    width = x_reference.shape[1]
    rest_share = h.embedded_share
    own = Standardised(sp.csr_matrix(x_reference, dtype=np.float64))
    weight, bias = fit_logistic(own, labels, types, 1 / (h.features_c * n), h.class_balance)
    del own
    both = sp.csr_matrix(sp.vstack([x_reference, x_query], format="csr"))
    parts = [(weight, bias)]
    if modality == "rna":
        exact = sp.csr_matrix(both, dtype=np.float64)
        scores = pca(exact, h.joint_components)
        loadings, mean = loadings_of(exact, scores)
        del exact
        unit = scores[:, 0].std()
        own = Standardised(scores[:n] / unit)
        weight, bias = fit_logistic(own, labels, types, 1 / (h.components_c * n), h.class_balance)
        folded = weight @ loadings.T / unit
        parts.append((folded, bias - folded @ mean))
    linear = Linear(
        (1 - rest_share) * np.mean([w - w.mean(axis=0) for w, _ in parts], axis=0),
        (1 - rest_share) * np.mean([b - b.mean() for _, b in parts], axis=0),
    )
    sizes = list(h.spectral_components)
    embedding, fitted = spectral(both[:, : width - proteins] if proteins else both, max(sizes))
    sizes = sorted({min(d, embedding.shape[1]) for d in sizes})
    readouts = []
    walks = joint_walks(embedding, sizes, h.smoothing, h.joint_neighbours)
    for d, z in zip(sizes, prefixes(embedding, sizes, h.smoothing, walks), strict=True):
        readouts.append((d, *fit_logistic(Standardised(z[:n]), labels, types, 1 / (h.embedded_c * n), h.class_balance)))
    kept = embedding[:n].astype(np.float32).astype(np.float64)  # as a bundle keeps it
    rest = Embedded(fitted, kept, labels, readouts, rest_share, h.smoothing, h.joint_neighbours)
    return Members(linear, rest)
