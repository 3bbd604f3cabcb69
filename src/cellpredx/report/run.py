"""What a run left, as the report's sections take it."""

from collections import Counter
from dataclasses import dataclass, field

from cellpredx.report.content import Json
from cellpredx.report.figures import Figure
from cellpredx.report.status import Finding, judge, judge_sample


@dataclass(frozen=True)
class Run:
    """The files of every stage of a run, and what its parameters were."""

    samples: list[Json]
    counted: list[Json]
    pairs: list[Json]
    training: list[Json]
    baselines: list[Json]
    results: list[Json]
    parameters: Json
    figures: list[Figure] = field(default_factory=list)
    names: dict[tuple[str, str], str] = field(init=False)

    def __post_init__(self) -> None:
        counts = Counter(result["query"] for result in self.results)
        names = {
            (r["transfer"], r["query"]): r["query"] if counts[r["query"]] == 1 else f"{r['group']}: {r['query']}"
            for r in self.results
        }
        object.__setattr__(self, "names", names)

    def name(self, result: Json) -> str:
        """Return the name of a query's result: the query's own, with its group where that is not enough."""
        return self.names[result["transfer"], result["query"]]

    def pair(self, result: Json) -> Json | None:
        """Return how a result's query was joined to its reference."""
        return next((p for p in self.pairs if p["transfer"] == result["transfer"]), None)

    def trained(self, result: Json) -> Json | None:
        """Return how a result's model was trained; none where a ready bundle was used."""
        return next((t for t in self.training if t["transfer"] == result["transfer"]), None)

    def sample(self, name: str) -> Json | None:
        """Return what was read of a sample."""
        return next((s for s in self.samples if s["sample"] == name), None)

    def findings(self, result: Json) -> list[Finding]:
        """Return what is noteworthy about a result."""
        pair = self.pair(result)
        names = {result["query"], *(pair["references"] if pair else ())}
        samples = [sample for sample in self.samples if sample["sample"] in names]
        return judge(result, pair, self.trained(result), samples, self.counted) + self._strange_markers(result)

    def _strange_markers(self, result: Json) -> list[Finding]:
        """Return that no type of --markers is one of any model: one list may serve groups of different tissues."""
        explained = [one["explain"] for one in self.results if one.get("explain")]
        own = (result.get("explain") or {}).get("markers_of_other_types") or []
        matched = any(one.get("marker_types", 0) > len(one.get("markers_of_other_types", ())) for one in explained)
        if matched or not own:
            return []
        reason = f"No type of --markers is one of the model's: {', '.join(own[:5])}."
        return [
            Finding("warn", "Marker list", reason, "Name its types as in the reference's labels (after --label_map).")
        ]

    def only_references(self) -> list[tuple[Json, list[Finding]]]:
        """Return the samples that are no query, with what is noteworthy about each."""
        queries = {result["query"] for result in self.results}
        return [
            (sample, judge_sample(sample, [one for one in self.counted if one["sample"] == sample["sample"]]))
            for sample in self.samples
            if sample["sample"] not in queries
        ]
