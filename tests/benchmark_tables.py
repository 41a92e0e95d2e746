"""Writes the generated tables of BENCHMARK.md and the plots of scores anew from results/: python tests/benchmark_tables.py"""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from ltgen_bench.evaluation.protocol import REFERENCES
from ltgen_bench.report.benchmark_page import measured_blocks, write_results
from ltgen_bench.report.numbers import facts, metric_order, show
from ltgen_bench.report.pictures import save_drawings
from ltgen_bench.report.plots import drawings, for_pictures

ROOT = Path(__file__).parents[1]


def presets(results: Path) -> pd.DataFrame:
    """One set of samples scored under several presets, with the protocol id below each score."""
    frame = pd.read_csv(results / "presets-digits-lt.csv", dtype="str")
    frame["reference"] = frame["reference"].map(REFERENCES).str.removeprefix("the ")
    frame["cell"] = frame["value"] + "<br><sub>" + frame["protocol"] + "</sub>"
    return by_metric(frame, ["preset", "reference"])


def references(results: Path) -> pd.DataFrame:
    """Real images, copies and collapsed images on the photographs."""
    frame = pd.read_csv(results / "references-photos.csv", dtype="str")
    return by_metric(frame.assign(samples="`" + frame["samples"] + "`", cell=frame["value"]), ["samples"])


def samplers(results: Path) -> pd.DataFrame:
    """Mean and standard deviation over seeds of `cfg` under each sampler of the process ddpm; two network passes a step."""
    frame = pd.read_csv(results / "samplers-digits-lt.csv")
    frame = frame[(frame["method"] == "cfg") & (frame["metric"] != "label_accuracy")]
    entry = ["sampler", "network passes an image"]
    frame = frame.assign(**{entry[1]: (2 * frame["steps"]).map("{:,}".format)})
    frame["sampler"] = "`" + frame["sampler"] + "` " + frame["steps"].astype("str")
    means = frame.groupby([*entry, "metric"], sort=False)["value"].agg(["mean", "std"]).reset_index()
    means["cell"] = [show(*row) for row in means[["metric", "mean", "std"]].itertuples(index=False)]
    return by_metric(means, entry)


def by_metric(frame: pd.DataFrame, rows: list[str]) -> pd.DataFrame:
    """The `cell`s of a tidy frame as a table: `rows` as they come, a column a metric in the order of all tables."""
    table = frame.pivot(index=rows, columns="metric", values="cell").fillna("")
    table = table[sorted(table.columns, key=metric_order)].rename(columns=lambda metric: facts(metric).heading)
    return table.loc[frame.set_index(rows).index.unique()].reset_index()


def markdown(table: pd.DataFrame, words: int) -> str:
    """`table` as Markdown, the first `words` columns to the left and the numbers to the right."""
    lines = [table.columns, ["---"] * words + ["---:"] * (len(table.columns) - words), *table.itertuples(index=False)]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


TABLES = {"presets": (presets, 2), "references": (references, 1), "samplers": (samplers, 1)}


def with_tables(text: str, results: Path) -> str:
    """`text` with the tables of TABLES, each between its markers `<!-- NAME:begin -->` and `<!-- NAME:end -->`."""
    for name, (make, words) in TABLES.items():
        begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
        before, rest = text.split(begin)
        text = f"{before}{begin}\n\n{markdown(make(results), words)}\n\n{end}{rest.split(end)[1]}"
    return text


def draw_figures(results: Path) -> None:
    """Draw the plots of scores that are there anew; those of images need run folders (`report --update-benchmark`)."""
    for name, block in measured_blocks(results):
        with TemporaryDirectory() as folder:
            for path in save_drawings(drawings(for_pictures(block)), Path(folder), print).values():
                if (target := results / "figures" / f"{name}-{path.name}").is_file():
                    shutil.copyfile(path, target)


if __name__ == "__main__":
    draw_figures(ROOT / "results")
    page = write_results(ROOT / "BENCHMARK.md", ROOT / "results")
    page.write_text(with_tables(page.read_text(encoding="utf-8"), ROOT / "results"), encoding="utf-8")
