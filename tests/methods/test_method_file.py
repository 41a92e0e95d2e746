"""A method of the user's own in one file: what it may be, and a sentence for every mistake; settings of methods."""

import pytest
from brief import brief

from ltgen_bench.config.schema import MethodConfig
from ltgen_bench.core.errors import MethodError, UserError
from ltgen_bench.experiments.recipes import resolve_recipe
from ltgen_bench.methods import add_method_file, method_settings, normalised
from ltgen_bench.runtime.context import RunContext
from ltgen_bench.sampling.chunks import Sampling
from ltgen_bench.training.loop import train

WHOLE = '''
"""A method of my own."""

from pydantic import Field

from ltgen_bench.methods.base import Loss, Method, Settings


class MineSettings(Settings):
    power: float = Field(2.0, gt=0)


class Mine(Method):
    name = "mine"
    summary = "another power of the error"
    source = "nobody"
    has_null_label = False
    Settings = MineSettings

    def loss(self, net, batch, draws):
        x_t, t, noise = self.noised(batch, draws)
        total = (net(x_t, t, batch.labels, batch.augment) - noise).abs().pow(self.settings.power).mean()
        return Loss(total, {"error": total.detach()})
'''


@pytest.fixture
def written(tmp_path):
    def write(text, name="mine.py"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


class TestAWholeFile:
    def test_it_is_registered_under_its_name(self, methods, written):
        assert add_method_file(written(WHOLE)) == "mine"
        assert methods["mine"].summary == "another power of the error"
        assert method_settings(MethodConfig(name="mine", power=3.0)).power == 3.0

    def test_it_trains_and_samples_like_any_other(self, methods, written, make_config, tiny_dataset, tmp_path):
        from ltgen_bench.diffusion.guidance import Guidance
        from ltgen_bench.sampling.draw import sample
        from ltgen_bench.training.loop import train

        add_method_file(written(WHOLE))
        config = make_config({"method.name": "mine", "method.power": 1.5, "train.budget_images": 16})
        trained = train(config, tiny_dataset, tmp_path / "train", RunContext())
        assert trained.images_seen == 16
        assert '"error"' in (tmp_path / "train" / "log.jsonl").read_text()
        denoiser = trained.method.denoiser(trained.net, Guidance(0.0))
        sampling = Sampling(config.sample, tiny_dataset.image_shape, 3)
        assert len(sample(denoiser, sampling, tmp_path / "samples", RunContext())) == 9

    def test_a_mistake_in_its_settings_is_explained_like_any_other(self, methods, written):
        add_method_file(written(WHOLE))
        with pytest.raises(UserError) as caught:
            method_settings(MethodConfig(name="mine", power=-1.0, pwer=2), where="mine.toml")
        assert brief(caught.value.problems) == ["method.power: -1.0", "method.pwer: unknown"]
        assert "Did you mean 'power'?" in str(caught.value)


class TestMistakes:
    @pytest.mark.parametrize(("text", "sentence"), [
        ("x = 1\n", "defines 0 classes derived from Method; it must define one"),
        ("from ltgen_bench.methods.cfg import CFG\n", "defines 0 classes derived from Method"),
        (WHOLE + "\nclass Second(Mine):\n    name = 'second'\n", "defines 2 classes derived from Method"),
        (WHOLE.replace('    name = "mine"\n', ""), "class Mine lacks name"),
        (WHOLE.replace('    source = "nobody"\n', "").replace("    Settings = MineSettings\n", ""),
         "class Mine lacks source, Settings"),
        (WHOLE.replace("def loss", "def lose"), "class Mine lacks loss"),
        (WHOLE.replace("Settings = MineSettings", "Settings = dict"), r"Mine\.Settings must be a class derived from"),
        (WHOLE.replace("Settings = MineSettings", "Settings = {'power': 2}"), r"Mine\.Settings must be a class"),
        (WHOLE.replace('"mine"', '"cbdm"'), "the name 'cbdm' is taken; known: ddpm, cfg, cbdm, "),
        ("def broken(:\n", "fails when it is read: SyntaxError"),
        ("import no_such_module\n", "fails when it is read: ModuleNotFoundError: No module named 'no_such_module'"),
        ("1 / 0\n", "fails when it is read: ZeroDivisionError"),
    ])
    def test_each_has_its_sentence(self, methods, written, text, sentence):
        before = list(methods)
        with pytest.raises(UserError, match=rf"--method-file: .*mine\.py:? {sentence}"):
            add_method_file(written(text))
        assert list(methods) == before

    def test_a_missing_file_and_one_that_is_no_python(self, methods, written, tmp_path):
        with pytest.raises(UserError, match="--method-file: there is no file"):
            add_method_file(tmp_path / "absent.py")
        with pytest.raises(UserError, match="is not a Python file"):
            add_method_file(written(WHOLE, "mine.txt"))


class TestVariants:
    @pytest.fixture
    def varied(self, methods, written):
        lines = "    Settings = MineSettings\n    variants = {'released-code': {'power': 4.0}}\n"
        return add_method_file(written(WHOLE.replace("    Settings = MineSettings\n", lines)))

    def test_it_stands_for_its_settings_and_leaves_no_trace_in_the_digest(self, varied):
        named, spelled = MethodConfig(name=varied, variant="released-code"), MethodConfig(name=varied, power=4.0)
        assert normalised(named) == normalised(spelled)
        assert method_settings(named).power == 4.0

    def test_what_stands_beside_it_wins(self, varied):
        assert method_settings(MethodConfig(name=varied, variant="released-code", power=3.0)).power == 3.0

    def test_on_the_command_line_it_wins_over_the_recipe(self, varied, tmp_path):
        recipe = tmp_path / "mine.toml"
        recipe.write_text(f'[method]\nname = "{varied}"\npower = 2.5\n')
        more = {"recipe": recipe, "method": None, "dataset": None}
        assert resolve_recipe(**more, overrides={"method.variant": "released-code"}).method.settings == {"power": 4.0}
        both = {"method.power": 5.0, "method.variant": "released-code"}
        assert resolve_recipe(**more, overrides=both).method.settings == {"power": 5.0}

    def test_an_unknown_one_is_a_sentence(self, varied):
        with pytest.raises(UserError, match=r"'released-cod'. Did you mean 'released-code'\?"):
            method_settings(MethodConfig(name=varied, variant="released-cod"))
        with pytest.raises(UserError, match=r"method.variant: ddpm has no variants"):
            method_settings(MethodConfig(name="ddpm", variant="paper"))


class TestSettings:
    def test_every_fault_of_a_method_is_told_with_its_key(self):
        config = MethodConfig(name="cbdm", tua=1, tau=-1.0, label_drop=2, label_drop_unit="pixel")
        with pytest.raises(UserError) as caught:
            method_settings(config, where="mine.toml")
        assert brief(caught.value.problems) == ["method.label_drop: 2", "method.label_drop_unit: 'pixel'", "method.tau: -1.0",
                                                "method.tua: unknown"]
        assert "'batch' or 'sample'" in str(caught.value)
        assert "Did you mean 'tau'?" in str(caught.value)

    def test_an_unknown_method_is_answered_with_the_near_match(self):
        with pytest.raises(UserError, match=r"'cdbm'\. Did you mean 'cbdm'\?"):
            method_settings(MethodConfig(name="cdbm"))

    def test_defaults_are_the_public_codes(self):
        settings = method_settings(MethodConfig(name="cbdm"))
        assert settings.model_dump() == {"tau": 1.0, "gamma": 0.25, "auxiliary_labels": "train-frequency",
                                         "label_drop": 0.1, "label_drop_unit": "batch"}

    def test_equal_methods_are_equal_once_normalised(self):
        written_out = MethodConfig(name="cbdm", tau=1, gamma=0.25, label_drop=0.1)
        assert normalised(written_out) == MethodConfig(name="cbdm")
        assert normalised(MethodConfig(name="cbdm", tau=2)).settings == {"tau": 2.0}

    def test_the_dropped_share_can_be_everything_or_nothing(self):
        for share in (0, 1, 0.5):
            assert method_settings(MethodConfig(name="cfg", label_drop=share)).label_drop == share


@pytest.mark.parametrize("name", ["../../../evil", "a/b", "a\\nb", "x" * 300, "", "a\\x1b[2J"])
def test_a_name_that_leads_elsewhere_is_refused(methods, written, name):
    with pytest.raises(UserError, match=r"mine\.py: the method"):
        add_method_file(written(WHOLE.replace('name = "mine"', f'name = "{name}"')))


LOSS = "        total = (net(x_t, t, batch.labels, batch.augment) - noise).abs().pow(self.settings.power).mean()\n"


class TestWhatFails:
    """Where a method fails, its file and line are told, and nothing ends the program as if all were done."""

    @pytest.fixture
    def fails(self, methods, written, make_config, tiny_dataset, tmp_path):
        def train_it(old, new):
            text = WHOLE.replace(old, new)
            assert text != WHOLE
            add_method_file(written(text))
            train(make_config({"method.name": "mine", "train.budget_images": 16}), tiny_dataset, tmp_path / "train", RunContext())

        return train_it

    @pytest.mark.parametrize(("line", "sentence"), [
        ("        total = 1 / 0\n", r"ZeroDivisionError: division by zero \(mine\.py"),
        ("        import sys; sys.exit(0)\n", r"calls sys\.exit\(0\).*\(mine\.py, line 22"),
        ("        return net(x_t, t)\n", r"TypeError: .*labels.* \(mine\.py, line 22"),
        ("        return 0.5\n", r"Loss is needed.*\(mine\.py, line 20\)"),
        (LOSS + "        total = total.detach()\n", r"cannot be differentiated.*\(mine\.py, line 20\)"),
        (LOSS.replace(".mean()", ""), r"has the shape \[8, 1, 8, 8\]|f32\[8,1,8,8\].*mine\.py"),
        (LOSS + "        return Loss(total, {'error': total[None]})\n", "term 'error'"),
    ])
    def test_a_loss_that_fails_is_told_with_its_place(self, fails, line, sentence):
        with pytest.raises(MethodError, match=sentence):
            fails(LOSS, line)

    @pytest.mark.parametrize("hook", ["prepare(self, trainer)", "adapt_network(self, net)", "class_weights(self)",
                                      "transform_batch(self, batch, draws)", "__init__(self, *given)"])
    def test_so_is_every_hook(self, fails, hook):
        with pytest.raises(MethodError, match=r"KeyError: 'x' \(mine\.py, line 21"):
            fails("    def loss(self", f"    def {hook}:\n        raise KeyError('x')\n\n    def loss(self")

    def test_a_file_that_ends_the_program_is_refused(self, methods, written):
        with pytest.raises(UserError, match=r"sys\.exit\(0\).*line 2"):
            add_method_file(written("import sys\nsys.exit(0)\n"))
