"""The folder that a report is written into: nothing else may be in it, and files of an earlier report are deleted."""

import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from ltgen_bench.core.errors import UserError
from ltgen_bench.core.files import write_text

INDEX = "index.html"
MANIFEST = ".ltgen-bench-report.json"  # lists the files that a report wrote
TITLE = "<title>ltgen-bench report</title>"  # of the page, by which reports without a list are known
PARTS = ("tables", "plots")
SUFFIXES = (".md", ".csv", ".tex")
PLOTS = ("recall-by-class-", "downstream", "groups", "fid-recall-", "samples", "confusion-", "curve-")


def check_ours(out: Path) -> None:
    """Raise a `UserError` where `out` holds something other than a report: files of others are not overwritten."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    index = out / INDEX
    page = not index.is_file() or TITLE in index.read_text(encoding="utf-8", errors="replace")[:20_000]
    if not (out.is_dir() and page and ((out / MANIFEST).is_file() or index.is_file())):
        raise UserError(f"--out {out}: it exists and is no report of ltgen-bench, so nothing was written; name another folder.")


def begin(out: Path) -> list[Path]:
    """Mark `out` as a report before its first file is written; returns the files of an earlier report there."""
    earlier = _earlier(out)
    _write_manifest(out, earlier)
    return earlier


def end(out: Path, earlier: Iterable[Path], written: Iterable[Path]) -> None:
    """List the files `written`, and delete those of the `earlier` report that are not among them."""
    written = list(dict.fromkeys(written))
    _write_manifest(out, written)
    for path in set(earlier) - set(written):
        path.unlink(missing_ok=True)
        with suppress(OSError):  # other files lie there
            path.parent.rmdir()


def _write_manifest(out: Path, files: Iterable[Path]) -> None:
    names = sorted(path.relative_to(out).as_posix() for path in files)
    write_text(out / MANIFEST, json.dumps({"report": "ltgen-bench", "files": names}, indent=1) + "\n")


def _earlier(out: Path) -> list[Path]:
    """The tables and plots of the report in `out`: by its list, or by their names where it has none."""
    try:
        names = json.loads((out / MANIFEST).read_text(encoding="utf-8"))["files"]
        listed = [out / name for name in names if isinstance(name, str) and ".." not in Path(name).parts]
        return [path for path in listed if path.parent.parent in [out / part for part in PARTS] and path.is_file()]
    except (OSError, ValueError, KeyError, TypeError):  # no list, or a broken one
        tables = [path for path in out.glob("tables/*/*") if path.suffix in SUFFIXES
                  and (path.name == "curves.csv" or all(path.with_suffix(suffix).is_file() for suffix in SUFFIXES))]
        return tables + [path for path in out.glob("plots/*/*.png") if path.name.startswith(PLOTS)]
