"""ArchR's gene scores against a plain computation, gene by gene and tile by tile."""

from collections import Counter
from math import exp
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from cellpredx.core.annotation import Annotation
from cellpredx.core.errors import UserError
from cellpredx.fragments import store as store_module
from cellpredx.matrix.gene_score import gene_scores
from tests.unit.test_matrix import CELLS, csr, make_store

LENGTH = 600_000
Gene = tuple[str, int, int, str]


def annotation_of(genes: list[Gene]) -> Annotation:
    table = pd.DataFrame(genes, columns=["chrom", "start", "end", "strand"])
    names = [f"g{i}" for i in range(len(table))]
    return Annotation(table.assign(gene_id=names, gene_name=names, name=names), pd.DataFrame(), "")


def hard_genes() -> list[Gene]:
    """Draw genes in an order of their own: nested, overlapping, at both ends, alone, twice at the same place."""
    rng = np.random.default_rng(3)
    start = rng.integers(0, LENGTH - 1, 25)
    end = np.minimum(start + rng.integers(1, 60_000, 25), LENGTH)
    strand = rng.choice(["+", "-"], 25)
    genes: list[Gene] = [("chr1", int(s), int(e), str(d)) for s, e, d in zip(start, end, strand, strict=True)]
    genes += [("chr1", 300_000, 310_000, "+"), ("chr1", 300_000, 310_000, "-"), ("chr1", 300_000, 310_000, "+")]
    genes += [("chr1", 0, 40, "+"), ("chr1", LENGTH - 40, LENGTH, "-"), ("chr1", 499, 999, "-")]
    genes += [("chr2", 250_000, 251_000, "-"), ("chrM", 10, 900, "+"), ("chrY", 10, 900, "+"), ("chr9", 5, 900, "+")]
    return [genes[i] for i in rng.permutation(len(genes))]


def random_fragments() -> pd.DataFrame:
    rng = np.random.default_rng(4)
    start = np.r_[rng.integers(0, LENGTH - 1, 3000), rng.integers(249_000, 253_000, 500), np.arange(490, 510)]
    end = np.minimum(start + rng.choice([1, 2, 150, 500, 9000], len(start)), LENGTH)
    chrom = rng.choice(["chr1", "chr2", "chrM", "chrY"], len(start), p=[0.6, 0.3, 0.05, 0.05])
    chrom[-520:] = "chr2"
    return pd.DataFrame(
        {"chrom": chrom, "start": start, "end": end, "barcode": rng.integers(0, len(CELLS) + 1, len(start))}
    )


def plain_scores(fragments: pd.DataFrame, genes: list[Gene]) -> NDArray[np.float64]:
    """Score by ArchR's source: positions count from 1, both ends of an interval are in it."""
    tiles: Counter[tuple[str, int, int]] = Counter()
    for chrom, start, end, cell in fragments.values.tolist():
        for position in (start + 1, end):
            tiles[chrom, position // 500, cell] += 1
    bodies = [(c, s + 1 - 5000, e) if d == "+" else (c, s + 1, e + 5000) for c, s, e, d in genes]
    shares = [1 / (last - first + 1) for _, first, last in bodies]
    scores = np.zeros((len(CELLS) + 1, len(genes)))
    ranked = sorted(range(len(genes)), key=lambda i: bodies[i])
    for place, i in enumerate(ranked):
        chrom, first, last = bodies[i]
        low, high = first - 100_000, last + 100_000
        if place > 0 and bodies[ranked[place - 1]][0] == chrom:
            low = max(low, bodies[ranked[place - 1]][2] + 500)
        if place + 1 < len(ranked) and bodies[ranked[place + 1]][0] == chrom:
            high = min(high, bodies[ranked[place + 1]][1] - 500)
        low, high = max(1, min(low, first - 1000)), max(high, last + 1000)
        size = 1 + 4 * shares[i] / (max(shares) - min(shares))
        for (own, tile, cell), count in tiles.items():
            begin, stop = 500 * tile, 500 * tile + 499
            if own == chrom and begin <= high and stop >= low:
                distance = max(0, begin - last - 1, first - stop - 1)
                scores[cell, i] += min(count, 4) * (exp(-distance / 5000) + exp(-1)) * size
    return scores[:-1]


@pytest.mark.parametrize("chunk", [97, store_module.CHUNK])
def test_scores_equal_a_plain_computation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(store_module, "CHUNK", chunk)
    fragments, genes = random_fragments(), hard_genes()
    kept = [i for i, gene in enumerate(genes) if gene[0] not in ("chrM", "chrY")]
    counts, table = gene_scores(make_store(tmp_path / "store", fragments), annotation_of(genes), {})
    scores = csr(counts)
    expected = plain_scores(fragments, [genes[i] for i in kept])
    assert list(table.index) == [f"g{i}" for i in kept]
    assert scores.dtype == np.float32
    assert scores.has_sorted_indices
    assert (expected > 0).mean() > 0.8
    np.testing.assert_allclose(scores.toarray(), expected, rtol=1e-6)


def test_a_tile_holds_four_insertions_and_the_next_begins_one_base_before_a_round_position(tmp_path: Path) -> None:
    start = [9_999] * 5 + [9_998] * 3
    fragments = pd.DataFrame({"chrom": "chr1", "start": start, "end": 10_000, "barcode": [0] * 5 + [1] * 3})
    scores, _ = gene_scores(
        make_store(tmp_path / "store", fragments), annotation_of([("chr1", 9_900, 12_000, "-")]), {}
    )
    np.testing.assert_allclose(csr(scores).toarray()[:2, 0] / (1 + exp(-1)), [4, 6], rtol=1e-6)


def test_genes_of_another_genome_are_refused_with_both_names(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", random_fragments())
    for genes in ([("1", 5, 900, "+")], [("chrM", 5, 900, "+")]):
        with pytest.raises(UserError) as caught:
            gene_scores(store, annotation_of(genes), {})
        assert "the fragments have chr1, chr2, chrM, chrY" in str(caught.value.remedy)
