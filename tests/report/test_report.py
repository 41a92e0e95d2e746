import base64
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from synthetic_runs import FEW_METRICS, HALF, TEST, write_run

from ltgen_bench.core.errors import UserError
from ltgen_bench.core.files import shipped_folder
from ltgen_bench.report.framing import footer
from ltgen_bench.report.latex_table import latex
from ltgen_bench.report.table_formats import comma_separated, markdown
from ltgen_bench.report.write_report import report

LEADERBOARD = "paper_id,method,dataset,imbalance_factor,split,metric,value\nmine,<b>mine</b>,digits-lt,20,all,fid,1.5\n"


@pytest.fixture
def made(three_report):
    return three_report


def test_every_table_is_written_in_three_forms(made):
    (section,) = made.sections
    for table in section.tables:
        base = made.out / "tables" / "digits-lt" / table.name
        assert base.with_name(f"{table.name}.md").read_text() == markdown(table)
        assert base.with_name(f"{table.name}.csv").read_text() == comma_separated(table)
        assert base.with_name(f"{table.name}.tex").read_text() == latex(table)
    names = [table.name for table in section.tables]
    assert len(names) == len(set(names))
    assert {
        "comparison",
        "verdicts",
        "downstream",
        "groups-fid-classifier-thirds",
        "groups-recall-classifier-count",
        "classes-recall-classifier",
        "classes-downstream_recall-cnn-8x8-synthetic",
    } <= set(names)


def test_all_files_are_there_and_listed(made):
    there = {path for path in made.out.rglob("*") if path.is_file()}
    assert there == set(made.files)
    assert made.index in there
    assert (made.out / "plots" / "digits-lt" / "samples.png") in there


def test_the_terminal_shows_tables_and_where_the_page_is(made):
    text = made.terminal(100)
    assert "digits-lt: few and all classes" in text
    assert "digits-lt: verdicts" in text
    assert f"page      {made.index}" in text
    assert "\x1b" not in text
    assert str(made).startswith("digits-lt: few and all classes")


class Page(HTMLParser):
    """What a browser would fetch, run or show of a page."""

    def __init__(self, text):
        super().__init__()
        self.sources, self.tags, self.open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]
        if tag not in ("meta", "br", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_one_well_formed_file_that_fetches_nothing(made):
    text = made.index.read_text()
    page = Page(text)
    assert page.open == []
    assert all(source.startswith(("data:image/png;base64,", "#")) for source in page.sources)
    assert not re.search(r"url\(|@import|https?://", re.sub(r"base64,[A-Za-z0-9+/=]*", "", text))
    pictures = [source for source in page.sources if source.startswith("data:")]
    assert len(pictures) == len(made.sections[0].plots)
    assert base64.b64decode(pictures[0].partition(",")[2]).startswith(b"\x89PNG")
    assert 'name="viewport"' in text
    assert "prefers-color-scheme: dark" in text


def test_the_page_escapes_whatever_things_are_called(tmp_path, no_plots):
    write_run(tmp_path / "runs", "cbdm", 0, label="<script>alert(1)</script>", names=["<i>", '"', "&", *"3456789"])
    (tmp_path / "theirs.csv").write_text(LEADERBOARD)
    text = report(tmp_path / "runs", tmp_path / "out", leaderboards=[tmp_path / "theirs.csv"]).index.read_text()
    page = Page(text)
    assert page.tags.count("script") == 1
    assert "i" not in page.tags
    assert "b" not in page.tags
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


def test_no_runs_say_what_to_type(tmp_path):
    with pytest.raises(
        UserError, match=r"ltgen-bench run .*--leaderboard FILE"
    ):
        report(tmp_path / "runs", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_published_numbers_alone_can_be_shown(tmp_path):
    path = shipped_folder("results") / "published" / "downstream.csv"
    made = report(tmp_path / "runs", tmp_path / "out", leaderboards=[path], dataset="cifar10-lt")
    assert made.sections == ()
    assert {table.name for table in made.papers} >= {"leaderboard-1-cifar10-lt-accuracy", "papers-cifar10-lt-images"}
    assert "downstream.csv" in made.terminal(100)
    assert Page(made.index.read_text()).open == []


def test_a_bad_leaderboard_is_refused_before_anything_is_written(three_seeds, tmp_path):
    (tmp_path / "good.csv").write_text(LEADERBOARD)
    (tmp_path / "bad.csv").write_text(LEADERBOARD.replace("1.5", "good"))
    with pytest.raises(UserError, match=r"1 problem\n  row 2"):
        report(three_seeds, tmp_path / "out", leaderboards=[tmp_path / "good.csv", tmp_path / "bad.csv"])
    assert not (tmp_path / "out").exists()


def test_only_papers_on_the_shown_data_sets_stand_beside_unless_all_are_wanted(tmp_path, no_plots):
    write_run(tmp_path / "runs", "cbdm", 0, dataset="cifar100-lt", **FEW_METRICS)
    few = report(tmp_path / "runs", tmp_path / "few")
    assert {table.name for table in few.papers} == {"papers-cifar100-lt-images", "papers-cifar100-lt-accuracy"}
    every = report(tmp_path / "runs", tmp_path / "all", all_papers=True)
    assert len(every.papers) > 15


def test_an_unknown_data_set_is_answered_with_the_near_one(three_seeds, tmp_path):
    with pytest.raises(UserError, match=r"'digit-lt'\. Did you mean 'digits-lt'\?"):
        report(three_seeds, tmp_path / "out", dataset="digit-lt")
    with pytest.raises(
        UserError, match=r"cifar10-lt under .* ltgen-bench run"
    ):
        report(three_seeds, tmp_path / "out", dataset="cifar10-lt")


def test_unlike_protocols_and_odd_names_get_folders_of_their_own(tmp_path, no_plots):
    write_run(tmp_path / "runs", "cbdm", 0, **FEW_METRICS)
    write_run(tmp_path / "runs", "ddpm", 0, variant="b", **FEW_METRICS)
    made = report(tmp_path / "runs", tmp_path / "out")
    entries = {section.name: section.block.entries for section in made.sections}
    assert entries == {"digits-lt": ["cbdm"], "digits-lt-k-3-omega-fixed": ["ddpm"]}
    assert "samples.png" not in {path.name for path in made.files}


@pytest.mark.parametrize("others", [{"variant": "b"}, {"variant": HALF}, {"variant": TEST}])
def test_a_name_does_not_depend_on_what_else_lies_in_the_folder(tmp_path, no_plots, others):
    for method in ("cbdm", "cfg"):
        write_run(tmp_path / "a", method, 0, **FEW_METRICS)
    write_run(tmp_path / "b", "ddpm", 0, finished="2020-01-01T00:00:00+00:00", **FEW_METRICS, **others)
    alone = {name: report(tmp_path / name, tmp_path / f"out-{name}").sections[0] for name in "ab"}
    assert alone["a"].name == "digits-lt" != alone["b"].name
    shutil.copytree(tmp_path / "b", tmp_path / "a", dirs_exist_ok=True)
    both = {section.name: section for section in report(tmp_path / "a", tmp_path / "out").sections}
    assert both.keys() == {alone["a"].name, alone["b"].name}
    assert both["digits-lt"].block.entries == ["cbdm", "cfg"]
    for name in "ab":
        folder = Path("tables", alone[name].name, "comparison.csv")
        assert (tmp_path / f"out-{name}" / folder).read_text() == (tmp_path / "out" / folder).read_text()


def test_of_blocks_that_differ_in_numbers_of_images_the_older_keeps_its_name(tmp_path, no_plots):
    write_run(tmp_path / "runs", "cbdm", 0, **FEW_METRICS, finished="2026-01-01T00:00:00+00:00")
    write_run(tmp_path / "runs", "ddpm", 0, **FEW_METRICS, fingerprint="0" * 16, finished="2026-01-02T00:00:00+00:00")
    first, second = report(tmp_path / "runs", tmp_path / "out").sections
    assert (first.name, first.block.entries) == ("digits-lt", ["cbdm"])
    assert second.name == f"digits-lt-{second.block.keys[0][3]}"


def test_rows_alike_in_what_was_asked_for_get_tables_plots_and_titles_of_their_own(tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr("ltgen_bench.report.write_report._drawings", lambda block, *_: drawn.update({block.title: block}) or {})
    for method, omega in (("cbdm", 1.0), ("cfg", 1.0), ("ddpm", 0.0)):
        write_run(tmp_path / "runs", method, 0, omega=omega, metrics=("fid",))
    made = report(tmp_path / "runs", tmp_path / "out", equal=["omega", "sampler"])
    names = [f"digits-lt-omega-{omega}-sampler-dpm-solver" for omega in (0, 1)]
    assert [section.name for section in made.sections] == names
    title = "digits-lt, omega 1, sampler dpm-solver++"
    assert [block.entries for block in drawn.values()] == [["ddpm"], ["cbdm", "cfg"]]
    assert all(table.title.startswith(f"{title}: ") for table in made.sections[1].tables)
    assert footer(drawn[title], []).startswith(f"{title} · ")
    assert (made.out / "plots" / names[1] / "samples.png").is_file()
    assert (made.out / "tables" / names[1] / "comparison.tex").read_text().count(title) == 1
    assert f"<h2>{title} <small>" in made.index.read_text()


def test_of_two_tables_of_one_name_the_second_says_what_they_differ_in(tmp_path, no_plots):
    write_run(tmp_path / "runs", "cbdm", 0, **FEW_METRICS)
    write_run(tmp_path / "runs", "ddpm", 0, variant="b", **FEW_METRICS)
    write_run(tmp_path / "runs", "cfg", 0, fingerprint="f" * 16, **FEW_METRICS)
    first, second, third = (section.tables[0] for section in report(tmp_path / "runs", tmp_path / "out").sections)
    assert not any("cannot be compared" in note for note in first.notes)
    assert re.search(r"cannot be compared .* protocols differ \(.*: guidance: omega ", second.notes[0])
    assert re.search(r"cannot be compared .* data differ .*0123456789abcdef there, ffffffffffffffff here", third.notes[0])


def test_the_page_names_the_preset_and_where_it_was_departed_from(tmp_path, no_plots):
    asked = "1,000 images where cbdm-paper asks for 50,000"
    write_run(tmp_path / "runs", "cbdm", 0, preset="cbdm-paper", departures=[asked], **FEW_METRICS)
    write_run(tmp_path / "runs", "ddpm", 0, variant="b", preset="standard", **FEW_METRICS)
    made = report(tmp_path / "runs", tmp_path / "out")
    assert {section.name for section in made.sections} == {
        "digits-lt-after-cbdm-paper-not-that-protocol", "digits-lt-standard"
    }
    text = made.index.read_text()
    assert "<h2>digits-lt (after cbdm-paper" in text
    assert f"<li>Not cbdm-paper: {asked}.</li>" in text
    assert "<h2>digits-lt, standard <small>" in text


def test_every_score_of_the_page_has_its_protocol_id(made):
    text = made.index.read_text()
    (section,) = made.sections
    for table in section.tables:
        for head in table.shown.heads:
            if head.number and head.key != "training_images":
                assert re.search(rf"<small>[^<]*{head.subtitle[-8:]}</small>", text)


def test_the_name_of_a_data_set_leads_no_file_elsewhere(tmp_path, no_plots):
    (tmp_path / "theirs.csv").write_text(LEADERBOARD.replace("digits-lt", "../../x y"))
    made = report(tmp_path / "runs", tmp_path / "out", leaderboards=[tmp_path / "theirs.csv"])
    assert all(path.resolve().is_relative_to(tmp_path / "out") for path in made.files)
    assert set(tmp_path.iterdir()) == {tmp_path / "theirs.csv", tmp_path / "out"}


def test_records_and_report_import_no_torch():
    code = (
        "import sys, pkgutil, importlib\n"
        "import ltgen_bench.records, ltgen_bench.report\n"
        "for package in (ltgen_bench.records, ltgen_bench.report):\n"
        "    for module in pkgutil.iter_modules(package.__path__, package.__name__ + '.'):\n"
        "        importlib.import_module(module.name)\n"
        "print(sorted({'torch', 'diffusers', 'torchvision', 'torch_fidelity'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
