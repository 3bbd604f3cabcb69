"""Parameters, versions, a paragraph for a methods section, and the citation."""

from collections.abc import Iterable

from cellpredx.report.content import NAMED, Html, Json, escape, html_section, html_table, number, percent
from cellpredx.report.run import Run
from cellpredx.report.transfer import JOINS, SCENARIOS

VERSIONS = {
    **{"version": "cellpredx", "nextflow": "Nextflow", "engine": "Container engine", "gpu": "Training on"},
    "profile": "Profile",
}
BASELINES = {
    "logistic_regression": "multinomial logistic regression (L2, C by cross-validation on the reference)",
    "nearest_neighbours": "the 15 nearest neighbours (cosine, 50 joint principal components)",
    "celltypist": "CellTypist with its defaults",
}
DOI = "10.1371/journal.pcbi.1013824"


def _listed(values: Iterable[object]) -> str:
    texts = list(dict.fromkeys(str(value) for value in values))
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"


def packages(run: Run) -> dict[str, list[str]]:
    """Return the versions of every tool that a task reported, by its name; more than one where tasks differ."""
    found: dict[str, list[str]] = {}
    for line in (run.parameters.get("packages") or {}).values():
        for tool in str(line).split(", "):
            name, _, version = tool.strip().rpartition(" ")
            if name and version not in found.setdefault(name, []):
                found[name].append(version)
    return dict(sorted(found.items()))


def _with_version(run: Run, title: str, tool: str) -> str:
    versions = packages(run).get(tool)
    return f"{title} {_listed(versions)}" if versions else title


def _cells(run: Run) -> list[str]:
    """Return how cells were called in fragment files."""
    measured = [sample["fragments"]["thresholds"] for sample in run.samples if sample["fragments"]]
    text, rules = [], []
    if limits := [m["min_fragments"] for m in measured if m["min_fragments"] is not None]:
        knee = " (found in the curve of fragments by rank)" if run.parameters.get("cell_calling") == "knee" else ""
        rules.append(f"at least {_listed(number(limit) for limit in limits)} fragments{knee}")
    if limits := [m["min_tss"] for m in measured if m["min_tss"] is not None]:
        rules.append(f"a TSS enrichment of at least {_listed(number(limit) for limit in limits)}")
    if rules:
        text.append(f"In scATAC-seq fragment files, barcodes with {' and '.join(rules)} were called cells.")
    elif measured:
        text.append("In scATAC-seq fragment files, the barcodes given were taken as cells.")
    if measured and run.parameters.get("remove_doublets"):
        text.append("Doublets by AMULET's count (q < 0.01) were removed.")
    if any(pair["peak_source"] == "called" for pair in run.pairs):
        text.append(
            "Where no peaks were given, they were called on the Tn5 insertions of each sample's cells with "
            f"{_with_version(run, 'MACS3', 'macs3')} (--nomodel --shift -100 --extsize 200 --keep-dup all, q value "
            f"{run.parameters.get('peak_q', 0.01)}) and merged within the group to non-overlapping regions of 501 bp "
            "around their summits, by score per million."
        )
    return text


def _pair(pair: Json) -> str:
    scenario, joined_by = pair["scenario"], pair["joined_by"]
    queries = _listed(pair["queries"]) if len(pair["queries"]) <= NAMED else f"{len(pair['queries'])} queries"
    chosen = "chosen by the data" if pair["chosen"] == "auto" else "given"
    proteins = f" and {number(pair['proteins'])} surface proteins" if pair["proteins"] else ""
    return (
        f"For {pair['transfer']} ({SCENARIOS.get(scenario, scenario)}, {chosen}), "
        f"{queries} and the reference were joined by {JOINS.get(joined_by, joined_by)} "
        f"on {number(pair['shared_features'])} shared features ({pair['features'].replace('_', ' ')}){proteins}."
    )


def _model(model: Json) -> list[str]:
    cells, types, held_out = sum(model["labels"].values()), len(model["labels"]), model["held_out_cells"]
    text = [
        f"The model of {model['transfer']} was trained on {number(cells)} cells of {types} types with the preset "
        f"{model['preset']} for {number(model['iterations'])} iterations; its probabilities were calibrated on "
        f"{number(held_out)} held-out reference cells "
        f"{'(whole batches held out) ' if model['held_out_by_batch'] else ''}by temperature scaling "
        f"(temperature {number(model['temperature'])}).",
        *_members(model),
    ]
    if model["threshold"] is not None:
        target = model["target_error"]
        aim = "" if target is None else f", for a target error of {percent(target)}"
        kind = "confidence" if model["threshold_on"] == "confidence" else "largest uncalibrated probability"
        text.append(f"Cells with a {kind} under {number(model['threshold'])} were left Unknown{aim}.")
    return text


def _members(model: Json) -> list[str]:
    share = model.get("network_share", 1)
    if share == 1:
        return []
    h = model["hyperparameters"]
    if h.get("graph_components"):
        others = (
            "a multinomial logistic regression (L2) of the reference's genes, applied to gene activity smoothed over "
            "the nearest neighbours of each cell in a spectral embedding of the query's own accessibility"
        )
    else:
        components = ", of joint principal components" if h.get("joint_components") else ""
        others = (
            f"multinomial logistic regressions (L2) of the log-normalised features{components} and of a joint spectral "
            "embedding of reference and query"
        )
    return [f"Its logits are the weighted mean of the network's (weight {number(share)}) and of {others}."]


def _results(run: Run) -> list[str]:
    cells, unknown = (sum(result[key] for result in run.results) for key in ("cells", "unknown_cells"))
    text = []
    if cells:
        text.append(
            f"In all, {number(cells)} cells of {len({r['query'] for r in run.results})} "
            f"{'samples' if len(run.results) > 1 else 'sample'} were annotated; {number(unknown)} of them "
            f"({percent(unknown / cells)}) were left Unknown."
        )
    explained = next((r["explain"] for r in run.results if r.get("explain")), None)
    text.append(
        "Determinant features are those most often among the 100 of a cell with the largest attribution (Integrated "
        "Gradients from a baseline of zero, for the predicted type)."
    )
    if explained and (explained.get("seeds") or 0) > 1:
        text.append(f"Their stability was measured over {explained['seeds']} trainings with different seeds.")
    if explained and explained.get("permutations"):
        text.append(f"Their q values come from {explained['permutations']} trainings on shuffled labels.")
    return text


def paragraph(run: Run) -> str:
    """Return what was done, as a paragraph of plain text that can be pasted into a manuscript."""
    versions = [f"{VERSIONS[key]} {run.parameters[key]}" for key in ("version", "nextflow") if run.parameters.get(key)]
    text = [
        f"Cell types were assigned by label transfer with CellPredX [1], run by {' on '.join(versions)}.",
        *_cells(run),
    ]
    text += [_pair(pair) for pair in run.pairs]
    if not run.training:
        text.append("A model trained before was used as it was.")
    text += [sentence for model in run.training for sentence in _model(model)]
    text += _results(run)
    used = {method for transfer in run.baselines for method in transfer["methods"]}
    if used:
        names = [words for method, words in BASELINES.items() if method in used]
        versions = [
            _with_version(run, title, tool)
            for title, tool, methods in (
                ("scikit-learn", "scikit-learn", {"logistic_regression", "nearest_neighbours"}),
                ("CellTypist", "celltypist", {"celltypist"}),
            )
            if methods & used and packages(run).get(tool)
        ]
        by = f" ({_listed(versions)})" if versions else ""
        text.append(f"For comparison, {_listed(names)} were trained on the same cells and features{by}.")
    return " ".join(text)


def _versions(run: Run) -> Html:
    rows = [(VERSIONS[key], run.parameters[key]) for key in VERSIONS if run.parameters.get(key)]
    rows += [(name, ", ".join(versions)) for name, versions in packages(run).items() if name != "cellpredx"]
    return html_table(("Software", "Version"), rows)


def _parameters(run: Run) -> Html:
    given = {key: value for key, value in run.parameters.items() if key not in VERSIONS and key != "packages"}
    rows = [(f"--{key}", "not set" if given[key] is None else given[key]) for key in sorted(given)]
    return html_table(("Parameter", "Value"), rows)


def method_sections(run: Run) -> list[Json]:
    """Return the paragraph, the citation, parameters and versions."""
    citation = (
        "<p>[1] Liu et al., CellPredX, <em>PLOS Computational Biology</em>, "
        f'<a href="https://doi.org/{DOI}" target="_blank" rel="noopener">doi:{DOI}</a>.</p>'
    )
    return [
        html_section("methods", "paragraph", "Text and citation", f"<p>{escape(paragraph(run))}</p>{citation}"),
        html_section("methods", "versions", "Versions", _versions(run), "What each task reported of itself."),
        html_section("methods", "parameters", "Parameters", _parameters(run)),
    ]
