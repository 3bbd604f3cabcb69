"""The features that decide for each type, and how far they are to be trusted."""

from cellpredx.report.content import Html, Json, escape, filled_table, folded, html_section, number, percent
from cellpredx.report.run import Run

TOP_FEATURES = 5
INCOMPLETE = 0.1


def _gene(feature: Json) -> str:
    gene = feature.get("nearest_gene")
    if not gene:
        return "-"
    distance = feature.get("distance")
    where = "" if distance is None else " (inside)" if not distance else f" ({number(distance)} bp)"
    return f"{gene}{where}"


def _own(feature: Json) -> str:
    """Return which share of an attribution comes from the cells' own counts, where neighbours have a part in it."""
    own, mean = feature.get("own_attribution"), feature["mean_attribution"]
    return "-" if own is None or own == mean or not mean else percent(own / mean)


def _features(determinants: dict[str, list[Json]]) -> Html | None:
    """Return the table of a query's top features; columns that say nothing of any of them are left out."""
    rows = [
        (
            *(cell_type, feature["feature"], number(feature["mean_attribution"]), _own(feature)),
            percent(feature["frequency"]),
            *(percent(feature.get("stability")), number(feature.get("q"), 2), _gene(feature)),
            "yes" if feature.get("is_marker") in (True, "True") else "-",
        )
        for cell_type, features in determinants.items()
        for feature in features[:TOP_FEATURES]
    ]
    headers = ("Type", "Feature", "Attribution", "Own counts", "Cells", "Stability", "q", "Nearest gene", "Marker")
    return filled_table(headers, rows, 4) if rows else None


def _hits(values: Json, of: str) -> str:
    found = (values.get("hit_rate") or {}).get(of)
    if not found or found.get("rate") is None:
        return "-"
    return f"{number(found['hits'])} of {number(found['of'])} ({percent(found['rate'])}, p = {number(found['p'], 2)})"


def _residual(share: float | None) -> str:
    """Return what attributions leave unexplained, marked where that is too much."""
    return percent(share) + (" (over 10 %: incomplete)" if share is not None and share > INCOMPLETE else "")


def _trust(run: Run) -> list[Json]:
    rows = []
    for result in run.results:
        for cell_type, values in ((result.get("explain") or {}).get("types") or {}).items():
            shares = values.get("decision_share") or {}
            rows.append(
                (
                    *(run.name(result), cell_type, number(values.get("cells"))),
                    *(percent(shares.get(top)) for top in ("10", "50", "100")),
                    *(percent(values.get("stability")), number(values.get("significant"))),
                    *(_hits(values, "markers"), _hits(values, "reference"), _residual(values.get("residual"))),
                )
            )
    if not rows:
        return []
    headers = (
        *("Query", "Type", "Cells", "Top 10", "Top 50", "Top 100", "Stability", "q < 0.05"),
        *("Hits in the marker list", "Hits in the reference's markers", "Residual"),
    )
    settings = next(r["explain"] for r in run.results if r.get("explain"))
    seeds, permutations = settings.get("seeds") or 0, settings.get("permutations") or 0
    text = (
        "Top 10, 50 and 100: share of the decision that so many features carry. Stability: share of the top 50 that "
        f"trainings with other seeds have in common ({seeds} trained; with the preset tuned another seed changes the "
        "network alone, so that stability is high by itself). q < 0.05: how many of the top 50 are beyond "
        f"what shuffled labels give ({permutations} shuffles). Hits: key genes among the top 50, and the chance of so "
        "many. Residual: what attributions leave unexplained of a decision. "
        "A column that was not computed is left out; --explain_seeds and --null_permutations switch them on."
    )
    return [html_section("determinants", "trust", "How far to trust them", filled_table(headers, rows, 3), text)]


def determinant_sections(run: Run) -> list[Json]:
    """Return the top features of each type of each query, and how far they are to be trusted."""
    pieces = [
        (run.name(result), table) for result in run.results if (table := _features(result["determinants"])) is not None
    ]
    if not pieces:
        return []
    text = (
        f"The first {TOP_FEATURES} features of each type. Attribution: mean over the type's cells. Own counts: how "
        "much of it comes from the cells' own, the rest from their neighbours'. Cells: share of them in which the "
        "feature is among the 100 strongest. All are in determinants.csv."
    )
    return [
        *_trust(run),
        html_section("determinants", "table", "Top features of each type", folded(pieces), escape(text)),
    ]
