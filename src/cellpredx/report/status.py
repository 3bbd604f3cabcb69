"""Whether a query's annotation can be relied on, in words."""

import math
from dataclasses import dataclass

from cellpredx.report.content import Json, number, percent

LEVELS = ("pass", "warn", "fail")
FEW_TYPED = 0.5
HARDLY_TYPED = 0.1
MANY_LOST = 0.5
NOISE = 0.05
BASELINES = {
    "logistic_regression": "logistic regression, a linear model,",
    "nearest_neighbours": "a vote of nearest neighbours",
    "celltypist": "CellTypist, a linear model,",
}


@dataclass(frozen=True)
class Finding:
    """One thing that a reader should know before using a query's labels."""

    level: str
    reason: str
    remedy: str = ""


def _cells(result: Json) -> list[Finding]:
    found = []
    cells, lost, coverage = result["cells"], result["cells_lost"], result["coverage"]
    if not cells:
        remedy = "Look at the knee plot; lower --min_fragments or --min_tss, or check the barcodes given."
        return [Finding("fail", "No cell was left to annotate.", remedy)]
    if lost and lost > MANY_LOST * (cells + lost):
        reason = f"{lost:,} of {cells + lost:,} expected cells were lost in quality control."
        remedy = "Check that barcodes are spelled as in the data; lower --min_fragments or --min_tss."
        found.append(Finding("warn", reason, remedy))
    if coverage is not None and coverage < FEW_TYPED:
        level = "fail" if coverage < HARDLY_TYPED else "warn"
        reason = f"Only {percent(coverage)} of the cells got a type; the rest is Unknown."
        remedy = "Use a reference that holds the types of this tissue, or accept more errors with --target_error."
        found.append(Finding(level, reason, remedy))
    return found


def _domain_gap(result: Json) -> list[Finding]:
    gap = result["domain_gap"]
    if not gap or gap["level"] == "pass":
        return []
    remedy = "Use a reference nearer in tissue and protocol; check marker genes before relying on the labels."
    return [Finding(gap["level"], gap["reason"], remedy)]


def better_baseline(evaluation: Json) -> tuple[str, Json] | None:
    """Return name and values of the most accurate plain classifier, where it beats the model by more than noise."""
    baselines = evaluation.get("baselines")
    if not baselines:
        return None
    name = max(baselines, key=lambda one: baselines[one]["accuracy"])
    values = baselines[name]
    return (BASELINES[name], values) if values["accuracy"] > evaluation["accuracy"] and values["p"] < NOISE else None


def _evaluation(result: Json, training: Json | None) -> list[Finding]:
    evaluation = result["evaluation"]
    if not evaluation:
        return []
    found = []
    if better := better_baseline(evaluation):
        name, values = better
        reason = (
            f"{name[:1].upper()}{name[1:]} does better than CellPredX here: {percent(values['accuracy'])} of the "
            f"cells agree with their label, against {percent(evaluation['accuracy'])} "
            f"(McNemar's p = {number(values['p'], 2)})."
        )
        remedy = "Prefer its labels, in baselines.csv, and look for a reference that fits."
        found.append(Finding("warn", reason, remedy))
    if evaluation["unmatched_labels"] and not evaluation["shared_type_cells"]:
        remedy = "Give the labels the reference's names with --label_map."
        found.append(Finding("warn", "No label of the query is a type of the reference.", remedy))
    accuracy, accepted = evaluation["selective_accuracy"], evaluation["evaluated_cells"] * (evaluation["coverage"] or 0)
    target = training["target_error"] if training else None
    if accuracy is not None and target is not None and accepted:
        # Two standard errors: a small query errs more often than the target by chance alone.
        margin = 2 * math.sqrt(target * (1 - target) / accepted)
        if 1 - accuracy > target + margin:
            wrong = percent(1 - accuracy)
            reason = f"{wrong} of the cells with a type disagree with their label; the target was {percent(target)}."
            remedy = "Look at the confusion matrix; merge types that cannot be told apart, or lower --target_error."
            found.append(Finding("warn", reason, remedy))
    return found


def judge(result: Json, pair: Json | None, training: Json | None, samples: list[Json]) -> list[Finding]:
    """Return what is noteworthy about a query, the worst first; nothing means that it passes.

    `samples` are those of the query and its references: their warnings, and the stages', count too.
    """
    found = _cells(result) + _domain_gap(result) + _evaluation(result, training)
    told = [(sample["sample"], sample["warnings"]) for sample in samples]
    told += [(stage["transfer"], stage["warnings"]) for stage in (pair, training) if stage]
    told.append((result["query"], result["warnings"]))
    reasons = dict.fromkeys(f"{name}: {text}" for name, texts in told for text in texts)
    found += [Finding("warn", reason) for reason in reasons]
    return sorted(found, key=lambda finding: -LEVELS.index(finding.level))


def level(findings: list[Finding]) -> str:
    """Return pass, or the worst level found."""
    return findings[0].level if findings else "pass"
