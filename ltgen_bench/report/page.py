"""The page of a report: one HTML file with tables, plots and sources, without anything from the network."""

import base64
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from ltgen_bench.report.provenance import machine_lines, protocol_words, run_lines
from ltgen_bench.report.table import Table

if TYPE_CHECKING:
    from ltgen_bench.report.write_report import Section

PAPER_ROWS = 1000  # of a table of papers' numbers
FOLDED = ("groups-", "classes-")  # tables that the page shows on a click


def page(sections: Sequence["Section"], papers: Sequence[Table], protocols: Mapping[str, Mapping[str, Any]],
         left_out: Sequence[str] = ()) -> str:
    """The page as HTML. Every text is escaped, whatever a run or a leaderboard calls itself.

    `left_out` are sentences on runs that are damaged and not shown.
    """
    shown = [
        {
            "name": section.name,
            "title": section.block.title,
            "fingerprint": section.block.fingerprint,
            "tables": [table.shown for table in section.tables if not table.name.startswith(FOLDED)],
            "folded": [table.shown for table in section.tables if table.name.startswith(FOLDED)],
            "plots": [(title, data_uri(path)) for title, path in section.plots.items()],
            "runs": run_lines(section.records),
            "machine": machine_lines(section.records),
            "protocols": [(one, protocol_words(protocols[one])) for one in section.block.protocols if one in protocols],
        }
        for section in sections
    ]
    published = [table.first(PAPER_ROWS, f"tables/papers/{table.name}.csv") for table in papers]
    return template("page.html.j2").render(sections=shown, papers=published, left_out=left_out)


def template(name: str) -> Template:
    """A template of this package, in which every text is escaped."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["sort_value"] = _sort_value
    return environment.get_template(name)


def data_uri(path: Path) -> str:
    """A PNG as part of the page."""
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")


def _sort_value(value: float) -> str:
    """What a column is sorted by; empty for a text cell, which is sorted as text."""
    return "" if math.isnan(value) else repr(float(value))
