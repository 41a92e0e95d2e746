"""A whole run small enough for a test: digits, a network of a few thousand parameters, a few steps of everything."""

import pytest

TINY = {
    "data": {"name": "digits-lt"},
    "network": {"preset": "digits", "channels": [8, 16], "dropout": 0.1},
    "method": {"name": "cbdm"},
    "train": {"budget_images": 200, "batch_size": 16, "learning_rate": 2e-3, "warmup_images": 32,
              "ema_halflife_images": 60, "precision": "float32"},
    "sample": {"sampler": "dpm-solver++", "steps": 3, "omega": 0.5, "images_per_class": 12, "batch_size": 25},
    "evaluate": {"downstream_steps": 6},
}


@pytest.fixture(scope="session")
def tiny_run():
    """`tiny_run(**{"sample.omega": 1.0})`: the configuration of a whole tiny run."""
    from ltgen_bench.config.schema import RunConfig

    return lambda **overrides: RunConfig.from_values(TINY, overrides=overrides)


@pytest.fixture(scope="session")
def undisturbed(tiny_run, tmp_path_factory):
    """A finished tiny run that nothing interrupted; read it, do not write into it."""
    from ltgen_bench.experiments.pipeline import run

    return run(tiny_run(), runs=tmp_path_factory.mktemp("undisturbed"), device="cpu", command="ltgen-bench run")


@pytest.fixture(scope="session")
def result_files():
    """`result_files(run)`: what a run is for, byte by byte: weights, samples, scores."""
    from ltgen_bench.training.checkpoint import checkpoints, load_checkpoint

    def read(run):
        tensors, _ = load_checkpoint(checkpoints(run.plan.folder / "train")[0])
        samples = (run.plan.sample_folder / "samples.npz").read_bytes()
        return {name: value.numpy().tobytes() for name, value in tensors.items()}, samples, \
            (run.plan.score_folder / "scores.csv").read_text()

    return read


@pytest.fixture(scope="session")
def read_back():
    """`read_back("ltgen-bench run ...")`: the configuration that the real command line makes of it."""
    import shlex

    from ltgen_bench.cli.run_command import config_of, run

    def read(command):
        program, name, *arguments = shlex.split(command)
        assert (program, name) == ("ltgen-bench", "run")
        options = run.make_context("run", arguments).params
        taken = {key: options.pop(key) for key in ("method", "dataset", "recipe", "method_file", "settings")}
        return config_of(**taken, options=options)

    return read
