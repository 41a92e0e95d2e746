"""`method show` and `list methods`: everything that a method states, on terminals and in pipes of any width."""

import json

import pytest
from click.testing import CliRunner

from ltgen_bench.cli import cli
from ltgen_bench.cli.list_command import _methods_table
from ltgen_bench.core.errors import UserError
from ltgen_bench.experiments.speed.speed_rows import shipped_costs
from ltgen_bench.methods import METHODS


def run(*words, width=80):
    done = CliRunner(env={"COLUMNS": str(width)}).invoke(cli, list(words))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.stdout


class TestShow:
    def test_the_objective_is_printed_as_it_stands_in_the_code(self):
        shown = run("method", "show", "cbdm")
        formula = "    L = mean((h - target)^2) + mean(w (h - sg[h'])^2) + gamma mean(w (sg[h] - h')^2),   w = tau t / T\n"
        assert formula in shown
        assert "(Qin et al., CVPR 2023)." in shown

    def test_every_setting_has_its_default_its_range_and_its_description(self):
        shown = " ".join(run("method", "show", "cbdm").split())
        assert "method.tau = 1 a number" in shown
        assert 'method.label_drop_unit = "batch" "batch" |' in shown
        assert ">= 0 and <= 1" in shown

    def test_source_evidence_citation_cost_and_recipes_follow(self):
        shown = " ".join(run("method", "show", "cbdm").split())
        assert "authors' public code" in shown
        assert "cite qin2023cbdm (ltgen-bench cite cbdm)" in shown
        assert "digits-lt/cbdm 20,800 images, dpm-solver++ 20" in shown
        assert f"cost {shipped_costs().relative['cbdm']:.2f} of ddpm's training time an image, on digits-lt" in shown

    @pytest.mark.parametrize("name", list(METHODS))
    @pytest.mark.parametrize("width", [60, 100])
    def test_prose_keeps_to_the_width(self, name, width):
        kept = [line for line in run("method", "show", name, width=width).splitlines()[1:] if not line.startswith(" ")]
        assert [line for line in kept if len(line) > width] == []

    @pytest.mark.parametrize("name", list(METHODS))
    def test_json_says_the_same(self, name):
        found, kind = json.loads(run("method", "show", name, "--json")), METHODS[name]
        assert found["name"] == name
        assert [setting["name"] for setting in found["settings"]] == list(kind.Settings.model_fields)
        assert list(found["variants"]) == list(kind.variants)
        assert (found["source"], found["cites"], found["evidence"]) == (kind.source, list(kind.cites), kind.evidence)
        assert all(value["allowed"] and value["allowed"] != "a value" for value in found["settings"])

    def test_a_file_of_the_users_own(self, tmp_path, monkeypatch):
        monkeypatch.setattr(METHODS, "_entries", dict(METHODS._entries))
        (tmp_path / "mine.py").write_text(
            'from ltgen_bench.methods.ddpm import DDPM\n\n\nclass Mine(DDPM):\n    """L = mine."""\n\n    name = "mine"\n'
            '    variants = {"paper": {}}\n')
        shown = run("method", "show", str(tmp_path / "mine.py"))
        assert "\nL = mine.\n" in shown
        assert "no settings" in shown
        assert "variants, by --set method.variant=NAME\n\n  paper\n" in shown
        assert "not measured" in shown
        assert "recipe of its own:" in shown

    def test_an_unknown_name_is_a_sentence(self):
        with pytest.raises(UserError, match=r"'cbmd'\. Did you mean 'cbdm'\?"):
            run("method", "show", "cbmd")


class TestList:
    ROWS = (("cbdm", "1.45", "code", "an idea of words that go on and on beyond the line", "1 on 90 % of the steps", "paper"),
            ("classifier-guidance", "", "ours", "another", "K + 1 on the steps on which labels are there", "nobody"))

    @pytest.mark.parametrize("width", [60, 80])
    def test_a_narrow_terminal_shows_all_six_columns(self, width):
        shown = _methods_table(list(self.ROWS), "this machine", width, False)
        assert max(map(len, shown.splitlines())) <= width
        words = " ".join(shown.split())
        for row in self.ROWS:
            assert all(cell in words for cell in row)
        assert "left out" not in shown

    @pytest.mark.parametrize("width", [60, 80])
    def test_the_real_list_fits_too(self, width):
        rows = [(name, "1.00", METHODS[name].evidence, METHODS[name].summary, METHODS[name].extra_forwards, METHODS[name].source)
                for name in METHODS]
        shown = _methods_table(rows, "this machine", width, False)
        assert "left out" not in shown
        for name, cost, evidence, *_ in rows:
            assert f"{name} {cost} {evidence}" in " ".join(shown.split())

    def test_in_a_pipe_there_are_six_cells_a_line(self):
        costs = shipped_costs().relative
        lines = [line.split("\t") for line in run("list", "methods").splitlines()]
        assert [line[0] for line in lines] == list(METHODS)
        for name, idea, source, passes, cost, evidence in lines:
            kind = METHODS[name]
            assert (source, passes, evidence) == (kind.source, kind.extra_forwards, kind.evidence)
            assert idea.startswith(kind.summary)
            assert (idea == kind.summary) == (kind.needs_process is None), "else the process is named behind it"
            assert cost == (f"{costs[name]:.2f}" if name in costs else "")
