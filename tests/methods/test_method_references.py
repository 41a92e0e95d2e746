"""References: the shipped BibTeX is whole, every method and augmentation cites what is there, and `cite` prints it once."""

import re

import pytest
from click.testing import CliRunner

from ltgen_bench.cli import cli
from ltgen_bench.core.errors import UserError
from ltgen_bench.methods import METHODS, add_method_file
from ltgen_bench.methods.references import SHIPPED, Work, bibtex, citable, entries
from ltgen_bench.training.augmentation import AUGMENTATIONS

KEYS = ["ho2020ddpm", "ho2022cfg", "qin2023cbdm", "zhang2024oc", "hong2026cm", "rodriguez2025coral", "chen2025ccua",
        "das2025igdml", "yan2024diffrop", "karras2022edm", "karras2020ada", "dhariwal2021guidance", "menon2021logit",
        "cui2019effective", "mahajan2018limits", "khosla2020supcon"]


class TestShipped:
    def test_every_paper_is_there(self):
        assert set(KEYS) <= set(entries(SHIPPED))
        assert SHIPPED.read_text(encoding="utf-8").count("@") == len(entries(SHIPPED)), "nothing is left out in reading"

    @pytest.mark.parametrize("key", list(entries(SHIPPED)))
    def test_an_entry_is_whole(self, key):
        text = entries(SHIPPED)[key]
        fields = dict(re.findall(r"^  (\w+)\s*= \{(.*?)\},$", text, re.MULTILINE | re.DOTALL))
        assert {"title", "author", "year"} <= set(fields)
        assert {"journal", "booktitle"} & set(fields)
        assert fields["year"] in key
        assert text.count("{") == text.count("}")
        assert all(fields.values())
        for author in re.split(r"\s+and\s+", fields["author"]):
            assert re.fullmatch(r"\S.*, \S.*", author), author
        first = re.sub(r"\W", "", fields["author"].partition(",")[0]).lower()
        assert key.startswith(first)
        assert text.isascii()

    def test_methods_and_augmentations_cite_what_is_there(self):
        for registry in (METHODS, AUGMENTATIONS):
            for name in registry:
                assert set(registry[name].cites) <= set(citable(registry[name].__module__)), name

    def test_what_is_read_in_others_code_cites_somebody(self):
        assert [name for name in METHODS if METHODS[name].evidence in ("code", "copy") and not METHODS[name].cites] == []


class TestBibtex:
    def test_an_entry_stands_once_under_the_first_that_cites_it(self):
        text = bibtex([Work("a", "first", "x", ("ho2020ddpm", "ho2022cfg")), Work("b", "second", "y", ("ho2022cfg",))])
        assert text.count("@") == 2
        assert text.startswith("% a: first\n\n@inproceedings{ho2020ddpm,\n")
        assert text.endswith("}\n\n% b: second; ho2022cfg is above\n")

    def test_without_a_paper_a_comment_says_where_it_is_from(self):
        assert bibtex([Work("a", "first", "nobody", ())]) == "% a: no paper of its own; source: nobody\n"

    def test_an_unknown_key_is_a_sentence(self):
        with pytest.raises(UserError, match="cites 'ho1920ddpm'"):
            bibtex([Work("a", "first", "x", ("ho1920ddpm",))])

    def test_a_file_beside_a_users_method_is_known_to_that_method_alone(self, tmp_path, monkeypatch):
        from ltgen_bench.methods.ddpm import DDPM

        monkeypatch.setattr(METHODS, "_entries", dict(METHODS._entries))
        (tmp_path / "references.bib").write_text("@misc{me2026mine,\n  title = {Mine},\n}\n")
        (tmp_path / "mine.py").write_text(
            "from ltgen_bench.methods.ddpm import DDPM\n\n\nclass Mine(DDPM):\n    name = 'mine'\n    cites = ('me2026mine',)\n")
        assert add_method_file(tmp_path / "mine.py") == "mine"
        assert citable(METHODS["mine"].__module__)["me2026mine"] == "@misc{me2026mine,\n  title = {Mine},\n}"
        assert "me2026mine" not in citable(DDPM.__module__)


class TestCommand:
    def run(self, *words):
        return CliRunner().invoke(cli, ["cite", *words])

    def test_it_prints_bibtex_of_methods_and_augmentations(self):
        text = self.run("cbdm", "ada", "cbdm").stdout
        assert re.findall(r"^@\w+\{(\w+),$", text, re.MULTILINE) == ["qin2023cbdm", *AUGMENTATIONS["ada"].cites]
        assert "Qin, Yiming and Zheng, Huangjie" in text

    def test_an_unknown_name_is_answered_with_the_near_one(self):
        with pytest.raises(UserError, match=r"'cbmd'\. Did you mean 'cbdm'\?"):
            raise self.run("cfg", "cbmd").exception
