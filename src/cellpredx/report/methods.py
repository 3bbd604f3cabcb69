"""Parameters, versions, a paragraph for a methods section, and the citation."""

from collections.abc import Iterable

from cellpredx.report.content import Html, Json, escape, html_section, html_table, number, percent
from cellpredx.report.run import Run
from cellpredx.report.transfer import JOINS, SCENARIOS

VERSIONS = {"version": "cellpredx", "nextflow": "Nextflow", "engine": "Container engine", "profile": "Profile"}
BASELINES = {
    "logistic_regression": "multinomial logistic regression (L2, C by cross-validation on the reference)",
    "nearest_neighbours": "the 15 nearest neighbours (cosine, 50 joint principal components)",
    "celltypist": "CellTypist with its defaults",
}
DOI = "10.1371/journal.pcbi.1013824"


def _listed(values: Iterable[object]) -> str:
    texts = list(dict.fromkeys(str(value) for value in values))
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"


def paragraph(run: Run) -> str:
    """Return what was done, as a paragraph of plain text that can be pasted into a manuscript."""
    versions = [f"{VERSIONS[key]} {run.parameters[key]}" for key in ("version", "nextflow") if run.parameters.get(key)]
    text = [f"Cell types were assigned by label transfer with CellPredX [1], run by {' on '.join(versions)}."]
    measured = [sample["fragments"]["thresholds"] for sample in run.samples if sample["fragments"]]
    rules = []
    if limits := [m["min_fragments"] for m in measured if m["min_fragments"] is not None]:
        rules.append(f"at least {_listed(number(limit) for limit in limits)} fragments")
    if limits := [m["min_tss"] for m in measured if m["min_tss"] is not None]:
        rules.append(f"a TSS enrichment of at least {_listed(number(limit) for limit in limits)}")
    if rules:
        text.append(f"In scATAC-seq fragment files, barcodes with {' and '.join(rules)} were called cells.")
    if any(pair["peak_source"] == "called" for pair in run.pairs):
        text.append(
            "Where no peaks were given, they were called on the Tn5 insertions of each sample's cells with MACS3 "
            f"(--nomodel --shift -100 --extsize 200 --keep-dup all, q value {run.parameters.get('peak_q', 0.01)}) and "
            "merged within the group to non-overlapping regions of 501 bp around their summits, by score per million."
        )
    for pair in run.pairs:
        scenario, joined_by = pair["scenario"], pair["joined_by"]
        proteins = f" and {number(pair['proteins'])} surface proteins" if pair["proteins"] else ""
        text.append(
            f"For {pair['transfer']} ({SCENARIOS.get(scenario, scenario)}), "
            f"{_listed(pair['queries'])} and the reference were joined by {JOINS.get(joined_by, joined_by)} "
            f"on {number(pair['shared_features'])} shared features ({pair['features'].replace('_', ' ')}){proteins}."
        )
    for model in run.training:
        cells, types, held_out = sum(model["labels"].values()), len(model["labels"]), model["held_out_cells"]
        text.append(
            f"The model of {model['transfer']} was trained on {number(cells)} cells of {types} types with the preset "
            f"{model['preset']} for {number(model['iterations'])} iterations; its probabilities were calibrated on "
            f"{number(held_out)} held-out reference cells "
            f"{'(whole batches held out) ' if model['held_out_by_batch'] else ''}by temperature scaling "
            f"(temperature {number(model['temperature'])})."
        )
        if model["threshold"] is not None:
            target = model["target_error"]
            aim = "" if target is None else f", for a target error of {percent(target)}"
            kind = "confidence" if model["threshold_on"] == "confidence" else "largest uncalibrated probability"
            text.append(f"Cells with a {kind} under {number(model['threshold'])} were left Unknown{aim}.")
    used = {method for transfer in run.baselines for method in transfer["methods"]}
    if used:
        names = [words for method, words in BASELINES.items() if method in used]
        text.append(f"For comparison, {_listed(names)} were trained on the same cells and features.")
    return " ".join(text)


def _parameters(run: Run) -> Html:
    given = {key: value for key, value in run.parameters.items() if key not in VERSIONS}
    rows = [(VERSIONS[key], run.parameters[key]) for key in VERSIONS if run.parameters.get(key)]
    rows += [(f"--{key}", "not set" if given[key] is None else given[key]) for key in sorted(given)]
    return html_table(("Parameter", "Value"), rows)


def method_sections(run: Run) -> list[Json]:
    """Return the paragraph, the citation, parameters and versions."""
    citation = (
        "<p>[1] Liu et al., CellPredX, <em>PLOS Computational Biology</em>, "
        f'<a href="https://doi.org/{DOI}" target="_blank" rel="noopener">doi:{DOI}</a>.</p>'
    )
    return [
        html_section("methods", "paragraph", "Text and citation", f"<p>{escape(paragraph(run))}</p>{citation}"),
        html_section("methods", "parameters", "Versions and parameters", _parameters(run)),
    ]
