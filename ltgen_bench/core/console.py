"""Display of progress on stderr: a bar on a terminal, a line every ten seconds in a pipe."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.text import Text

from ltgen_bench.core.plain_text import printable_lines
from ltgen_bench.core.progress import Stage

LINE_SECONDS = 10.0


class _Count(ProgressColumn):
    """Column of a bar: `21,504/44,800 images  512/s`."""

    def render(self, task: Task) -> Text:
        text = f"{int(task.completed):,}/{int(task.total or 0):,} {task.fields['unit']}"
        return Text(f"{text}  {task.speed:,.0f}/s" if task.speed else text)


class _BarStage:
    def __init__(self, bars: Bars, task: TaskID) -> None:
        self.bars, self.task = bars, task

    def advance(self, amount: int, note: str = "") -> None:
        self.bars.update(self.task, advance=amount, note=note)


class _LineStage:
    """Progress in a pipe: a line every ten seconds, and one at the end of a stage that took longer."""

    def __init__(self, console: Console, name: str, total: int, unit: str, done: int) -> None:
        self.console, self.name, self.total, self.unit, self.done = console, name, total, unit, done
        self.first = done
        self.start = self.last_line = time.monotonic()

    def advance(self, amount: int, note: str = "") -> None:
        self.done += amount
        now = time.monotonic()
        if now - self.last_line >= LINE_SECONDS:
            self.last_line = now
            self.print_line(note)

    def print_line(self, note: str = "") -> None:
        rate = (self.done - self.first) / max(time.monotonic() - self.start, 1e-9)
        left = timedelta(seconds=round((self.total - self.done) / rate)) if rate else "?"
        words = [f"{self.name} {self.done:,}/{self.total:,} {self.unit}", f"{rate:,.1f}/s", note, f"{left} left"]
        self.console.print(", ".join(word for word in words if word), soft_wrap=True)


class TerminalProgress:
    """Implementation of `Progress` for the command line, on a rich console."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def say(self, message: str) -> None:
        """Print one line. Control characters in it are escaped, so that names from files cannot change the terminal."""
        self.console.print(printable_lines(message), soft_wrap=True, highlight=False, markup=False, emoji=False)

    def stage(self, name: str, total: int, unit: str, done: int = 0) -> AbstractContextManager[Stage]:
        """Open a stage: a bar on a terminal, else lines."""
        return self._bar(name, total, unit, done) if self.console.is_terminal else self._lines(name, total, unit, done)

    @contextmanager
    def _bar(self, name: str, total: int, unit: str, done: int) -> Iterator[Stage]:
        wide = self.console.width >= 80
        columns: list[ProgressColumn] = [TextColumn(" {task.description:<10}"), BarColumn(bar_width=28 if wide else 10)]
        columns += [_Count(), TextColumn("{task.fields[note]}")] if wide else [TextColumn("{task.percentage:>3.0f}%")]
        columns += [TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn()] if self.console.width >= 100 else \
            [TimeRemainingColumn()]
        # the elapsed column freezes the time of a finished bar, so finished bars stay readable
        with Bars(*columns, console=self.console, speed_estimate_period=30.0) as bars:
            task = bars.add_task(name, total=total, completed=done, unit=unit, note="")
            yield _BarStage(bars, task)

    @contextmanager
    def _lines(self, name: str, total: int, unit: str, done: int) -> Iterator[Stage]:
        stage = _LineStage(self.console, name, total, unit, done)
        yield stage
        if stage.last_line > stage.start:
            stage.print_line()
