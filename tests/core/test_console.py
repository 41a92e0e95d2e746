"""What progress looks like on a terminal and in a pipe."""

import io

from rich.console import Console

from ltgen_bench.core import console


def shown(width=100, terminal=False, stage=("train", 100, "images", 0), steps=((60, "loss 0.5"), (40, "loss 0.4"))):
    out = io.StringIO()
    progress = console.TerminalProgress(Console(file=out, width=width, force_terminal=terminal, color_system=None))
    with progress.stage(*stage) as bar:
        for amount, note in steps:
            bar.advance(amount, note)
    return out.getvalue()


def test_a_short_stage_says_nothing_in_a_pipe():
    assert shown() == ""


def test_a_long_stage_says_a_line_every_ten_seconds_in_a_pipe(monkeypatch):
    clock = iter(range(0, 1000, 3))
    monkeypatch.setattr(console.time, "monotonic", lambda: float(next(clock)))
    lines = shown(steps=[(10, "loss 0.5")] * 10).splitlines()
    assert 3 <= len(lines) <= 8
    assert lines[0].startswith("train ")
    assert "/100 images" in lines[0]
    assert "loss 0.5" in lines[0]
    assert "left" in lines[0]
    assert lines[-1].startswith("train 100/100 images")


def test_a_bar_shows_count_rate_note_and_time():
    last = [line for line in shown(terminal=True, width=140).replace("\r", "\n").splitlines() if "train" in line][-1]
    assert "100/100 images" in last
    assert "loss 0.4" in last
    assert "left" in last


def test_a_narrow_terminal_has_a_short_bar_on_one_line():
    lines = [line for line in shown(terminal=True, width=40).replace("\r", "\n").splitlines() if "train" in line]
    assert lines
    assert "100%" in lines[-1]
    assert "images" not in lines[-1]


def test_a_stage_that_goes_on_counts_what_was_done_before(monkeypatch):
    clock = iter(range(0, 1000, 11))
    monkeypatch.setattr(console.time, "monotonic", lambda: float(next(clock)))
    first = shown(stage=("sample", 100, "images", 50), steps=[(25, "")]).splitlines()[0]
    assert first.startswith("sample 75/100 images")


def test_words_in_brackets_are_shown_as_they_are():
    out = io.StringIO()
    console.TerminalProgress(Console(file=out, width=80)).say("a [b] c: 3.5")
    assert out.getvalue() == "a [b] c: 3.5\n"
