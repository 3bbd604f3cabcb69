"""Maps and figures of a query, drawn from real files and read back."""

import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
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
        self.flows = pd.DataFrame(flows, columns=["truth", "predicted_or_unknown", "cells"])
        self.flows = self.flows.groupby(["truth", "predicted_or_unknown"], as_index=False)["cells"].sum()
        bins = [{"confidence": x, "accuracy": x - 0.1, "cells": 20, "low": x - 0.2, "high": x} for x in (0.4, 0.7, 0.9)]
        evaluation = {"flows": self.flows.to_numpy().tolist(), "reliability": bins} if labels else None
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
