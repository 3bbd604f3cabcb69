"""What a run left, as the report's sections take it."""

from collections import Counter
from dataclasses import dataclass, field

from cellpredx.report.content import Json
from cellpredx.report.status import Finding, judge


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

    def findings(self, result: Json) -> list[Finding]:
        """Return what is noteworthy about a result."""
        pair = self.pair(result)
        names = {result["query"], *(pair["references"] if pair else ())}
        samples = [sample for sample in self.samples if sample["sample"] in names]
        return judge(result, pair, self.trained(result), samples)
