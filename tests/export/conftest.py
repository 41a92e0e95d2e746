"""Networks of tiny runs, exported once."""

import pytest


@pytest.fixture(scope="session")
def made(tiny_run, tmp_path_factory):
    """`made(name, **overrides)`: (a finished tiny run, what it was exported to), made once."""
    from ltgen_bench.api import run
    from ltgen_bench.export.run_export import export, find_trained
    from ltgen_bench.runtime.context import RunContext

    known = {}

    def make(name, **overrides):
        if name not in known:
            less = {"evaluate.metrics": ["is"], "evaluate.downstream": False, "sample.images_per_class": 3}
            config = tiny_run(**{**less, **overrides})
            place = tmp_path_factory.mktemp(name)
            done = run(config, runs=place / "runs", device="cpu")
            known[name] = done, export(find_trained(place / "runs", done.plan.folder.name), place / "net", RunContext())
        return known[name]

    return make
