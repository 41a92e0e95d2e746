"""The folder that a report is written into: never one that holds something else, and nothing of an earlier report stays in it."""

import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from ltgen_bench.core.errors import UserError
from ltgen_bench.core.files import write_text

INDEX = "index.html"
MARK = ".ltgen-bench-report.json"  # which files of the folder a report wrote
TITLE = "<title>ltgen-bench report</title>"  # of the page, by which reports without a mark are known
PARTS = ("tables", "plots")
FORMS = (".md", ".csv", ".tex")
PLOTS = ("recall-by-class-", "downstream", "groups", "fid-recall-", "samples", "confusion-", "curve-")


def check_ours(out: Path) -> None:
    """A `UserError` where `out` is there, not empty, and no report: nobody's files are overwritten."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    index = out / INDEX
    page = not index.is_file() or TITLE in index.read_text(encoding="utf-8", errors="replace")[:20_000]
    if not (out.is_dir() and page and ((out / MARK).is_file() or index.is_file())):
        raise UserError(f"--out {out}: it is there and is no report of ltgen-bench, so nothing is written into it; name another "
                        "folder.")


def begin(out: Path) -> list[Path]:
    """Mark `out` as a report's before the first file of a new one; what an earlier one wrote there is given back."""
    earlier = _earlier(out)
    _mark(out, earlier)
    return earlier


def end(out: Path, earlier: Iterable[Path], written: Iterable[Path]) -> None:
    """Mark `out` with the files `written`, and take away those of the `earlier` report that are none of them."""
    written = list(dict.fromkeys(written))
    _mark(out, written)
    for path in set(earlier) - set(written):
        path.unlink(missing_ok=True)
        with suppress(OSError):  # other files lie there
            path.parent.rmdir()


def _mark(out: Path, files: Iterable[Path]) -> None:
    names = sorted(path.relative_to(out).as_posix() for path in files)
    write_text(out / MARK, json.dumps({"report": "ltgen-bench", "files": names}, indent=1) + "\n")


def _earlier(out: Path) -> list[Path]:
    """The files of the report that lies in `out`, in folders of tables and plots; of one without a mark by their names."""
    try:
        names = json.loads((out / MARK).read_text(encoding="utf-8"))["files"]
        listed = [out / name for name in names if isinstance(name, str) and ".." not in Path(name).parts]
        return [path for path in listed if path.parent.parent in [out / part for part in PARTS] and path.is_file()]
    except (OSError, ValueError, KeyError, TypeError):  # none, or a broken one
        tables = [path for path in out.glob("tables/*/*") if path.suffix in FORMS
                  and (path.name == "curves.csv" or all(path.with_suffix(form).is_file() for form in FORMS))]
        return tables + [path for path in out.glob("plots/*/*.png") if path.name.startswith(PLOTS)]
