"""The verbs of the report: embed, figures, report."""

import argparse
from typing import Any


def register(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add this stage's verbs."""
    verb = verbs.add_parser("embed", help="maps of a query's own space and of the model's -> embedding.csv")
    verb.add_argument("--annotated", required=True, help="annotated.h5ad of `annotate`")
    verb.add_argument("--bundle", required=True)
    verb.add_argument("--graph", help="the query's peaks or windows, if there is such a file: LSI is then theirs")
    verb.add_argument("--cells", type=int, default=50_000, help="most cells of the query")
    verb.add_argument("--out", default="embedding.csv")
    verb.set_defaults(run=run_embed)

    verb = verbs.add_parser("figures", help="the figures of a query as SVG and PNG, and their numbers -> figures")
    verb.add_argument("--annotated", required=True, help="annotated.h5ad of `annotate`")
    verb.add_argument("--determinants", required=True, help="determinants.csv of `explain`")
    verb.add_argument("--result", required=True, help="result.json of `evaluate`")
    verb.add_argument("--embedding", help="embedding.csv of `embed`")
    verb.add_argument("--outdir", default="figures")
    verb.set_defaults(run=run_figures)

    verb = verbs.add_parser("report", help="the tables of a run and the content of the MultiQC report")
    verb.add_argument("--samples", nargs="*", default=[], metavar="JSON", help="sample.json, one a sample")
    verb.add_argument(
        "--counted", nargs="*", default=[], metavar="JSON", help="counted.json, one a matrix of fragments"
    )
    verb.add_argument("--pairs", nargs="*", default=[], metavar="JSON", help="pair.json, one a transfer")
    verb.add_argument("--training", nargs="*", default=[], metavar="JSON", help="training.json, one a transfer")
    verb.add_argument("--baselines", nargs="*", default=[], metavar="JSON", help="baselines.json, one a transfer")
    verb.add_argument("--results", nargs="*", default=[], metavar="JSON", help="result.json, one a query of a transfer")
    verb.add_argument(
        "--figures", nargs="*", default=[], metavar="FOLDER", help="images and their figures.json, a folder a query"
    )
    verb.add_argument(
        "--parameters", required=True, metavar="JSON", help="parameters and versions of the run (- is standard input)"
    )
    verb.add_argument("--outdir", required=True, help="folder for MultiQC to read")
    verb.add_argument(
        "--tables", required=True, metavar="FOLDER", help="where summary.csv, composition.csv and cells_lost.csv go"
    )
    verb.set_defaults(run=run_report)


def run_embed(args: argparse.Namespace) -> None:
    """Write where each cell lies on both maps."""
    from cellpredx.core.threads import limit

    limit(1)

    from cellpredx.core.files import write_csv
    from cellpredx.model import bundle
    from cellpredx.report.embedding import embedding_table

    write_csv(embedding_table(args.annotated, args.graph, bundle.read(args.bundle), args.cells), args.out)


def run_figures(args: argparse.Namespace) -> None:
    """Draw what there is to draw of a query."""
    from cellpredx.core.threads import limit

    limit(1)

    from pathlib import Path

    from cellpredx.core.files import atomic, read_csv, read_json, write_json
    from cellpredx.report.cell_figures import cell_figures
    from cellpredx.report.drawing import write
    from cellpredx.report.label_figures import label_figures

    result = read_json(args.result)
    determinants = read_csv(args.determinants, ("cell_type", "feature"))
    texts = ("side", "barcode", "cell_type", "predicted_or_unknown")
    embedding = read_csv(args.embedding, texts) if args.embedding else None
    found = [*cell_figures(Path(args.annotated), determinants, embedding, result["types"]), *label_figures(result)]
    with atomic(args.outdir) as folder:
        folder.mkdir()
        entries = [write(figure, folder) for figure in found]
        names = {key: result[key] for key in ("transfer", "group", "query")}
        write_json({**names, "figures": entries}, folder / "figures.json")


def run_report(args: argparse.Namespace) -> None:
    """Write the sections that have data, and the tables of the run."""
    import json
    import sys
    from pathlib import Path

    from cellpredx.core.files import atomic, read_json, together, write_csv, write_json
    from cellpredx.report.accuracy import accuracy_sections
    from cellpredx.report.baselines import agreement_sections, baseline_sections
    from cellpredx.report.content import natural
    from cellpredx.report.determinants import determinant_sections
    from cellpredx.report.figures import figure_sections, read_figures
    from cellpredx.report.fragments import fragment_sections
    from cellpredx.report.gap import gap_sections
    from cellpredx.report.methods import method_sections
    from cellpredx.report.overview import matrix_sections, sample_sections, step_sections, summary_sections
    from cellpredx.report.predictions import prediction_sections
    from cellpredx.report.run import Run
    from cellpredx.report.summary import cells_lost, composition, summary
    from cellpredx.report.transfer import pairing_sections, training_sections

    def read(paths: list[str], *keys: str) -> list[dict[str, Any]]:
        # The workflow hands files over in the order in which tasks end.
        return sorted((read_json(path) for path in paths), key=lambda value: [natural(value[key]) for key in keys])

    run = Run(
        read(args.samples, "sample"),
        read(args.counted, "sample", "name"),
        read(args.pairs, "transfer"),
        read(args.training, "transfer"),
        read(args.baselines, "transfer"),
        read(args.results, "transfer", "query"),
        json.loads(sys.stdin.read()) if args.parameters == "-" else read_json(args.parameters),
        read_figures(args.figures),
    )
    makers = (
        *(summary_sections, sample_sections, step_sections, matrix_sections, fragment_sections, pairing_sections),
        *(training_sections, prediction_sections, agreement_sections, gap_sections, accuracy_sections),
        *(baseline_sections, determinant_sections, figure_sections, method_sections),
    )
    with atomic(args.outdir) as folder:
        for make in makers:
            for content in make(run):
                write_json(content, Path(folder) / f"{content['id']}_mqc.json")
    with together(args.tables) as folder:
        for name, make_table in (("summary", summary), ("composition", composition), ("cells_lost", cells_lost)):
            write_csv(make_table(run), folder / f"{name}.csv")
