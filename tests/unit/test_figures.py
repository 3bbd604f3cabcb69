"""Maps and figures of a query, drawn from real files and read back."""

import json
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from PIL import Image

from cellpredx.cli import main
from cellpredx.core.files import read_csv, write_csv, write_json
from cellpredx.matrix.stored import StoredMatrix
from cellpredx.model.bundle import Bundle
from cellpredx.model.calibration import Calibration
from cellpredx.model.graph import lsi
from cellpredx.model.members import Ensemble
from cellpredx.report import embedding
from cellpredx.report.cell_figures import cell_figures
from cellpredx.report.drawing import plain, type_colours, type_markers, write

SVG = "{http://www.w3.org/2000/svg}"
NASTY = ["<b>B & co</b>", "T, naive", "=1+1", "$\\alpha$ cell", "_Tumör-細胞", "a very long name " * 8 + "end"]


class Query:
    """The files of a query that `figures` reads: each type has five features of its own."""

    def __init__(self, folder: Path, types: Sequence[str], cells: int = 240, labels: bool = True) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.types = sorted(types)
        rng = np.random.default_rng(0)
        kinds = len(self.types)
        self.predicted = rng.permutation(np.arange(cells) % kinds)
        rate = np.full((kinds, 5 * kinds), 0.4)
        for k in range(kinds):
            rate[k, 5 * k : 5 * k + 5] = 4
        counts = rng.poisson(rate[self.predicted]).astype(np.float32)
        self.features = [f"{self.types[j // 5]} f{j % 5}" if types is NASTY else f"GENE{j}" for j in range(5 * kinds)]
        confidence = rng.uniform(0.3, 1, cells)
        names = np.array(self.types, dtype=object)[self.predicted]
        self.kept = np.where(confidence < 0.4, "Unknown", names)
        obs = pd.DataFrame(
            {
                "predicted": pd.Categorical(names),
                "predicted_or_unknown": pd.Categorical(self.kept),
                "confidence": confidence,
            },
            index=[f"cell{i}" for i in range(cells)],
        )
        data = ad.AnnData(sp.csr_matrix(counts), obs=obs, var=pd.DataFrame(index=self.features))
        data.obsm["X_cellpredx"] = np.eye(kinds, dtype=np.float32)[self.predicted] + rng.uniform(0, 0.1, (cells, kinds))
        data.uns["cellpredx"] = {"kind": "genes"}
        data.write_h5ad(folder / "annotated.h5ad")
        totals = np.maximum(counts.sum(axis=1, keepdims=True), 1)
        self.values = np.log1p(1e4 * counts / totals)
        rows = [(self.types[j // 5], j % 5 + 1, name, 0.5, 0.1, 9) for j, name in enumerate(self.features)]
        columns = ["cell_type", "rank", "feature", "frequency", "mean_attribution", "cells"]
        write_csv(pd.DataFrame(rows, columns=columns), folder / "determinants.csv")
        centres = rng.normal(size=(kinds, 2)) * 10
        place = centres[self.predicted] + rng.normal(size=(cells, 2))
        reference = {"side": "reference", "barcode": "", "cell_type": names, "predicted_or_unknown": ""}
        query = {"side": "query", "barcode": obs.index, "cell_type": names, "predicted_or_unknown": self.kept}
        parts = [
            pd.DataFrame({**reference, "confidence": np.nan, "own_1": np.nan, "own_2": np.nan}),
            pd.DataFrame({**query, "confidence": confidence, "own_1": place[:, 0], "own_2": place[:, 1]}),
        ]
        both = [part.assign(model_1=place[:, 0], model_2=place[:, 1] + i) for i, part in enumerate(parts)]
        write_csv(pd.concat(both), folder / "embedding.csv")
        flows = [[name, kept, 1] for name, kept in zip(names, self.kept, strict=True)]
        flows[0][0] = "novel"
        counted = Counter((truth, predicted) for truth, predicted, _ in flows)
        self.flows = [[*pair, cells] for pair, cells in sorted(counted.items())]
        bins = [{"confidence": x, "accuracy": x - 0.1, "cells": 20, "low": x - 0.2, "high": x} for x in (0.4, 0.7, 0.9)]
        evaluation = {"flows": self.flows, "reliability": bins} if labels else None
        names_of = {"transfer": "g", "group": "g", "query": "q"}
        write_json({**names_of, "types": self.types, "evaluation": evaluation}, folder / "result.json")

    def draw(self, outdir: str = "figures", embedding: bool = True) -> dict[str, Any]:
        """Run the verb; return figures.json with its figures by name."""
        given = [f"--{name}={self.folder / file}" for name, file in FILES.items() if embedding or name != "embedding"]
        assert main(["figures", *given, "--outdir", str(self.folder / outdir)]) == 0
        found: dict[str, Any] = json.loads((self.folder / outdir / "figures.json").read_text())
        return {**found, "figures": {figure["name"]: figure for figure in found["figures"]}}

    def table(self, name: str) -> pd.DataFrame:
        texts = ("cell_type", "feature", "truth", "predicted_or_unknown", "determines")
        return read_csv(self.folder / "figures" / f"{name}.csv", texts)

    def texts(self, name: str) -> list[str]:
        """The texts of a figure's SVG."""
        root = ElementTree.parse(self.folder / "figures" / f"{name}.svg").getroot()
        return ["".join(item.itertext()).strip() for item in root.iter(f"{SVG}text")]


FILES = {
    "annotated": "annotated.h5ad",
    "determinants": "determinants.csv",
    "result": "result.json",
    "embedding": "embedding.csv",
}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Query, dict[str, Any]]:
    """A query whose names a careless drawing would spoil, and its figures.json."""
    query = Query(tmp_path_factory.mktemp("drawn"), NASTY)
    return query, query.draw()


def test_each_figure_is_there_in_every_form_and_described(drawn: tuple[Query, dict[str, Any]]) -> None:
    query, described = drawn
    assert {key: described[key] for key in ("transfer", "group", "query")} == {
        "transfer": "g",
        "group": "g",
        "query": "q",
    }
    parts = {name: figure["part"] for name, figure in described["figures"].items()}
    assert parts == {
        "umap_own": "embedding",
        "umap_model": "embedding",
        "composition": "predictions",
        "dot_plot": "determinants",
        "violins": "determinants",
        "river": "accuracy",
        "confusion": "accuracy",
        "reliability": "accuracy",
    }
    folder = query.folder / "figures"
    for name, figure in described["figures"].items():
        assert (folder / f"{name}.csv").stat().st_size > 0
        with Image.open(folder / f"{name}.png") as image:
            assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
        with Image.open(folder / figure["png"]) as image:
            assert (image.mode, image.width, image.height) == ("P", figure["width"], figure["height"])
            assert image.convert("RGBA").getpixel((0, 0))[3] == 0  # type: ignore[index]
        assert all(figure[key] for key in ("title", "description", "alt"))
        text = (folder / f"{name}.svg").read_text(encoding="utf-8")
        assert "<text" in text
        assert 'href="http' not in text
        assert "<dc:date>" not in text
    assert sum((folder / figure["png"]).stat().st_size for figure in described["figures"].values()) < 150_000


def test_names_are_drawn_as_the_text_that_they_are(drawn: tuple[Query, dict[str, Any]]) -> None:
    query, described = drawn
    for name in ("composition", "dot_plot", "confusion"):
        texts = query.texts(name)
        for cell_type in NASTY[:-1]:
            assert cell_type in texts, (name, cell_type)
    legend = query.texts("umap_model")
    for number, cell_type in enumerate(query.types, start=1):
        assert f"{number}  {cell_type}"[:15] in {text[:15] for text in legend}
    long = [text for text in query.texts("composition") if text.startswith("a very long name")]
    assert len(long) == 1
    assert len(long[0]) == 32
    assert long[0].endswith(" end")
    # Nothing of a user's goes into what the page shows beside the image.
    said = json.dumps(described, ensure_ascii=False)
    assert not any(cell_type in said for cell_type in NASTY)
    assert "'=1+1" in (query.folder / "figures" / "composition.csv").read_text(encoding="utf-8")


def test_a_name_with_line_ends_and_control_characters_is_one_line() -> None:
    assert plain("a\nb\t\x00\x1b[0mc ") == "a b [0mc"
    assert plain("0123456789", 5) == "01…89"


def test_the_numbers_beside_a_figure_are_those_of_the_cells(drawn: tuple[Query, dict[str, Any]]) -> None:
    query, _ = drawn
    names = np.array(query.types, dtype=object)[query.predicted]
    dots = query.table("dot_plot")
    assert len(dots) == 5 * 6 * 6
    assert list(dots["feature"][:30]) == query.features
    for row in dots.to_dict("records"):
        x = query.values[names == row["cell_type"], query.features.index(row["feature"])]
        assert row["mean"] == pytest.approx(x.mean(), rel=1e-5)
        assert row["share_with_counts"] == pytest.approx((x > 0).mean(), rel=1e-5)
    for row in query.table("violins").to_dict("records"):
        own = names == row["cell_type"]
        x = query.values[own if row["cells_of"] == "in type" else ~own, query.features.index(row["feature"])]
        assert row["cells"] == len(x)
        assert [row["q25"], row["median"], row["q75"]] == pytest.approx(np.quantile(x, [0.25, 0.5, 0.75]), rel=1e-5)
    for row in query.table("composition").to_dict("records"):
        own = names == row["cell_type"]
        assert (row["cells"], row["unknown"]) == (own.sum(), (query.kept[own] == "Unknown").sum())
    confusion = query.table("confusion")
    assert confusion[["truth", "predicted_or_unknown", "cells"]].to_numpy().tolist() == query.flows
    assert confusion.groupby("truth")["share_of_label"].sum().to_numpy() == pytest.approx(1, abs=1e-5)
    assert len(query.table("umap_own")) == 240
    assert len(query.table("umap_model")) == 480


def test_without_labels_and_maps_the_rest_is_drawn_the_same_twice(tmp_path: Path) -> None:
    query = Query(tmp_path, ["A", "B"], cells=60, labels=False)
    assert list(query.draw("one", embedding=False)["figures"]) == ["composition", "dot_plot", "violins"]
    query.draw("two", embedding=False)
    one, two = ({path.name: path.read_bytes() for path in (tmp_path / folder).iterdir()} for folder in ("one", "two"))
    assert len(one) == 3 * 4 + 1
    assert one == two


def test_forty_types_and_many_cells_stay_readable_and_small(tmp_path: Path) -> None:
    types = [f"Type {i:02d}" for i in range(40)]
    query = Query(tmp_path, types, cells=4000)
    looks = list(zip(list(type_colours(types).values())[:40], type_markers(types).values(), strict=True))
    assert len(set(looks)) == 40
    table = read_csv(tmp_path / "embedding.csv", ("cell_type",))
    figure = next(cell_figures(tmp_path / "annotated.h5ad", pd.DataFrame(), table, types))
    (tmp_path / "figures").mkdir()
    entry = write(figure, tmp_path / "figures")
    texts = query.texts("umap_own")
    assert all(f"{i + 1}  {name}" in texts for i, name in enumerate(types))
    # Above 2,000 points the points are an image, whose size has a bound.
    assert "<image" in (tmp_path / "figures" / "umap_own.svg").read_text()
    assert (tmp_path / "figures" / "umap_own.svg").stat().st_size < 2_000_000
    assert (tmp_path / "figures" / entry["png"]).stat().st_size < 100_000


def bundle_of(types: list[str], labels: bool, modality: str = "rna") -> Bundle:
    """A bundle with ten reference cells a type; its encoder has no part in a map."""
    numbers = np.repeat(np.arange(len(types)), 10)
    z = np.eye(len(types), dtype=np.float32)[numbers] + np.random.default_rng(1).uniform(0, 0.1, (len(numbers), 1))
    nothing = np.zeros((0, 0), np.float32)
    hyperparameters = {"scale": 1e4, "binarize": False, "pca_components": 5, "lsi_components": 4}
    return Bundle(
        encoder_weight=nothing,
        encoder_bias=nothing,
        ensemble=Ensemble(nothing, nothing, None, 1.0),
        reference_embedding=z.astype(np.float32),
        reference_labels=numbers if labels else None,
        features=pd.DataFrame(),
        labels=types,
        calibration=Calibration(*([0.0] * len(Calibration.__dataclass_fields__))),  # type: ignore[arg-type]
        info={"hyperparameters": hyperparameters, "query_modality": modality},
    )


def test_both_maps_keep_types_together_and_are_the_same_twice(tmp_path: Path) -> None:
    query = Query(tmp_path, ["A", "B", "C"], cells=240)
    tables = [
        embedding.embedding_table(tmp_path / "annotated.h5ad", None, bundle_of(query.types, labels), 150)
        for labels in (True, False)
    ]
    one, two = tables
    columns = ["own_1", "own_2", "model_1", "model_2"]
    pd.testing.assert_frame_equal(one[columns], two[columns])
    assert set(two.loc[two["side"] == "reference", "cell_type"]) == {""}
    assert one["side"].value_counts().to_dict() == {"query": 150, "reference": 30}
    assert one.loc[one["side"] == "query", "cell_type"].value_counts().to_dict() == {"A": 50, "B": 50, "C": 50}
    for part, names in ((one[one["side"] == "query"], columns[:2]), (one, columns[2:])):
        x, types = part[names].to_numpy(float), part["cell_type"].to_numpy()
        distance = np.linalg.norm(x[:, None] - x[None], axis=2)
        np.fill_diagonal(distance, np.inf)
        assert (types[distance.argmin(axis=1)] == types).mean() > 0.98


def test_a_query_of_few_cells_has_no_map(tmp_path: Path) -> None:
    Query(tmp_path, ["A", "B"], cells=8)
    model = bundle_of(["A", "B"], labels=False)
    model = replace(model, reference_embedding=model.reference_embedding[:1])
    table = embedding.embedding_table(tmp_path / "annotated.h5ad", None, model, 100)
    assert len(table) == 9
    assert table[["own_1", "own_2", "model_1", "model_2"]].isna().all(axis=None)


def test_accessibility_is_mapped_by_the_peaks_and_of_too_many_by_the_most_common(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Query(tmp_path / "features", ["A", "B"], cells=60)
    rng = np.random.default_rng(3)
    counts = rng.poisson(np.linspace(0.05, 1, 40), (60, 40)).astype(np.float32)
    peaks = ad.AnnData(sp.csr_matrix(counts), obs=pd.DataFrame(index=[f"cell{i}" for i in range(60)]))
    peaks.uns["cellpredx"] = {"kind": "peaks"}
    peaks.write_h5ad(tmp_path / "peaks.h5ad")
    model = bundle_of(["A", "B"], labels=True, modality="atac")
    cells = np.arange(60)
    with StoredMatrix(tmp_path / "features" / "annotated.h5ad") as stored:
        own = embedding.own_space(stored, tmp_path / "peaks.h5ad", cells, model)
        np.testing.assert_allclose(own, lsi(sp.csr_matrix(counts), 4))
        in_cells = (counts > 0).sum(axis=0)
        monkeypatch.setattr(embedding, "ENTRIES", 500)
        own = embedding.own_space(stored, tmp_path / "peaks.h5ad", cells, model)
    order = np.argsort(-in_cells, kind="stable")
    kept = np.sort(order[np.cumsum(in_cells[order]) <= 500])
    np.testing.assert_allclose(own, lsi(sp.csr_matrix(counts[:, kept]), 4))
