"""Whether a sample's annotation can be relied on, in words, and what to do where it cannot."""

import math
from dataclasses import dataclass

from cellpredx.report.content import Json, number, percent

LEVELS = ("pass", "warn", "fail")
FEW_CELLS = 50
FEW_TYPED = 0.5
HARDLY_TYPED = 0.1
MANY_LOST = 0.5
LOW_ACCURACY = 0.8
UNSTABLE = 0.5
MISLEADING = 0.1
LOW_FRIP = 0.15
NOISE = 0.05
BASELINES = {
    "logistic_regression": "logistic regression, a linear model,",
    "nearest_neighbours": "a vote of nearest neighbours",
    "celltypist": "CellTypist, a linear model,",
}


@dataclass(frozen=True)
class Finding:
    """One thing that a reader should know before using a sample's labels; `topic` names its kind for the summary."""

    level: str
    topic: str
    reason: str
    remedy: str = ""


def _cells(result: Json) -> list[Finding]:
    found = []
    cells, lost, coverage = result["cells"], result["cells_lost"], result["coverage"]
    if not cells:
        remedy = "Look at the knee plot; lower --min_fragments or --min_tss, or check the barcodes given."
        return [Finding("fail", "No cells", "No cell was left to annotate.", remedy)]
    if cells < FEW_CELLS:
        remedy = "Read its composition and its domain gap as rough; merge it with its replicates where it has some."
        found.append(
            Finding("warn", "Few cells", f"It has only {number(cells)} {'cell' if cells == 1 else 'cells'}.", remedy)
        )
    if lost and lost > MANY_LOST * (cells + lost):
        reason = f"{lost:,} of {cells + lost:,} expected cells were lost in quality control."
        remedy = "Check that barcodes are spelled as in the data; lower --min_fragments or --min_tss."
        found.append(Finding("warn", "Cells lost", reason, remedy))
    if coverage is not None and coverage < FEW_TYPED:
        level = "fail" if coverage < HARDLY_TYPED else "warn"
        reason = f"Only {percent(coverage)} of the cells got a type; the rest is Unknown."
        remedy = (
            "Use a reference that holds the types of this tissue, or accept more errors with --target_error; the "
            "likeliest type of every cell stands under `predicted` in any case."
        )
        found.append(Finding(level, "Low coverage", reason, remedy))
    return found


def _domain_gap(result: Json) -> list[Finding]:
    gap = result["domain_gap"]
    if not gap or gap["level"] == "pass":
        return []
    remedy = "Use a reference nearer in tissue and protocol; check marker genes before relying on the labels."
    reason = f"{gap['reason'][:1].upper()}{gap['reason'][1:]}."
    return [Finding(gap["level"], "Domain gap", reason, remedy)]


def _training(training: Json | None) -> list[Finding]:
    accuracy, cells = (training["held_out_accuracy"], training["held_out_cells"]) if training else (None, 0)
    # Two standard errors: of few cells, many may be wrong by chance alone.
    if accuracy is None or not cells or accuracy + 2 * math.sqrt(accuracy * (1 - accuracy) / cells) >= LOW_ACCURACY:
        return []
    reason = f"Only {percent(accuracy)} of the reference's own cells kept from training got the type of their label."
    remedy = "Merge types that cannot be told apart (--label_map), give them more cells, or check their labels."
    return [Finding("warn", "Low accuracy on the reference", reason, remedy)]


def better_baseline(evaluation: Json) -> tuple[str, Json] | None:
    """Return name and values of the most accurate plain classifier, where it beats the model by more than noise."""
    best = best_baseline(evaluation)
    if best is None:
        return None
    name, values = best
    return (BASELINES[name], values) if values["accuracy"] > evaluation["accuracy"] and values["p"] < NOISE else None


def best_baseline(evaluation: Json) -> tuple[str, Json] | None:
    """Return name and values of the most accurate plain classifier; none where none can be compared."""
    baselines = {
        name: values
        for name, values in (evaluation.get("baselines") or {}).items()
        if values["accuracy"] is not None and evaluation["accuracy"] is not None
    }
    if not baselines:
        return None
    name = max(baselines, key=lambda one: baselines[one]["accuracy"])
    return name, baselines[name]


def _names(evaluation: Json) -> list[Finding]:
    """Return what is to be told of labels that are no type of the reference."""
    strange = evaluation["unmatched_labels"]
    if not strange:
        return []
    if not evaluation["shared_type_cells"]:
        remedy = "Give the labels the reference's names with --label_map."
        return [Finding("warn", "Label names", "No label of the query is a type of the reference.", remedy)]
    reason = f"Types that the reference lacks (their cells get another type or Unknown): {', '.join(strange)}."
    remedy = "Where one is a type of the reference under another name, give --label_map; else add such cells to it."
    return [Finding("warn", "Label names", reason, remedy)]


def _evaluation(result: Json, training: Json | None) -> list[Finding]:
    evaluation = result["evaluation"]
    if not evaluation:
        return []
    found = _names(evaluation)
    if better := better_baseline(evaluation):
        name, values = better
        reason = (
            f"{name[:1].upper()}{name[1:]} does better than CellPredX here: {percent(values['accuracy'])} of the "
            f"cells agree with their label, against {percent(evaluation['accuracy'])} "
            f"(McNemar's p = {number(values['p'], 2)})."
        )
        remedy = "Prefer its labels, in baselines.csv, and look for a reference that fits."
        found.append(Finding("warn", "A plain classifier is better", reason, remedy))
    accuracy, accepted = (
        evaluation["selective_accuracy"],
        evaluation["shared_type_cells"] * (evaluation["coverage"] or 0),
    )
    target = training["target_error"] if training else None
    if accuracy is not None and target is not None and accepted:
        # Two standard errors: a small query errs more often than the target by chance alone.
        margin = 2 * math.sqrt(target * (1 - target) / accepted)
        if 1 - accuracy > target + margin:
            wrong = percent(1 - accuracy)
            reason = f"{wrong} of the cells with a type disagree with their label; the target was {percent(target)}."
            remedy = "Look at the confusion matrix; merge types that cannot be told apart, or lower --target_error."
            found.append(Finding("warn", "More errors than aimed at", reason, remedy))
    by_chance = evaluation.get("ece_perfect") or 0
    if evaluation["ece"] is not None and evaluation["ece"] > MISLEADING + by_chance:
        reason = f"Confidence and the share of right types differ by {percent(evaluation['ece'])} on average (ECE)."
        remedy = "Do not read the confidence as a probability here; look at the calibration below."
        found.append(Finding("warn", "Confidence misleads", reason, remedy))
    return found


def _determinants(result: Json) -> list[Finding]:
    trust = (result.get("explain") or {}).get("types", {})
    unstable = {
        name: values["stability"]
        for name, values in trust.items()
        if values.get("stability") is not None and values["stability"] < UNSTABLE
    }
    found = []
    if unstable:
        listed = ", ".join(f"{name} ({percent(share)})" for name, share in unstable.items())
        reason = f"Determinant features change from one training to the next; shared of the top 50: {listed}."
        remedy = "Rely on features with a stability of 1 in determinants.csv alone, or give these types more cells."
        found.append(Finding("warn", "Unstable features", reason, remedy))
    by_chance = [name for name, values in trust.items() if values.get("significant") == 0]
    if by_chance:
        reason = f"No determinant feature weighs more than shuffled labels give (q < 0.05): {', '.join(by_chance)}."
        remedy = "Read these features as what the model used, not as markers of the type."
        found.append(Finding("warn", "Features within chance", reason, remedy))
    return found


def judge_sample(sample: Json, counted: list[Json]) -> list[Finding]:
    """Return what is noteworthy about a sample's own data; `counted` are the matrices of its fragments."""
    name = sample["sample"]
    found = [Finding("warn", "Warnings of the input", f"{name}: {text}") for text in sample["warnings"]]
    low = [one["frip"] for one in counted if one["frip"] is not None and one["frip"] < LOW_FRIP]
    if low:
        reason = f"{name}: only {percent(low[0])} of a cell's fragments lie in peaks (median)."
        remedy = "Check that the peaks are of this tissue, or leave --call_peaks on; look at the TSS profile."
        found.append(Finding("warn", "Few fragments in peaks", reason, remedy))
    return found


def judge(
    result: Json, pair: Json | None, training: Json | None, samples: list[Json], counted: list[Json] | None = None
) -> list[Finding]:
    """Return what is noteworthy about a query, the worst first; nothing means that it passes.

    `samples` are those of the query and its references, `counted` the matrices of their fragments: what is noteworthy
    about them, and the stages' warnings, count too.
    """
    found = _cells(result) + _domain_gap(result) + _training(training) + _evaluation(result, training)
    found += _determinants(result)
    for sample in samples:
        found += judge_sample(sample, [one for one in counted or () if one["sample"] == sample["sample"]])
    told = [(stage["transfer"], stage["warnings"]) for stage in (pair, training) if stage]
    told.append((result["query"], result["warnings"]))
    reasons = dict.fromkeys(f"{name}: {text}" for name, texts in told for text in texts)
    found += [Finding("warn", "Warnings of the run", reason) for reason in reasons]
    return sorted(found, key=lambda finding: -LEVELS.index(finding.level))


def level(findings: list[Finding]) -> str:
    """Return pass, or the worst level found."""
    return findings[0].level if findings else "pass"
