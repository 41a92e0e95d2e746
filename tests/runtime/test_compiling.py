"""A compiled network changes no result: in training, in sampling, and with whatever a method does around it."""

import inspect

import pytest
import torch
from short_trainings import CASES, trainer_of
from torch._dynamo.utils import counters

from ltgen_bench.config.schema import SampleConfig
from ltgen_bench.diffusion import low_rank, network
from ltgen_bench.diffusion.guidance import guided
from ltgen_bench.diffusion.network import ConditionalUNet
from ltgen_bench.experiments.check.trial import Trial, tiny_dataset
from ltgen_bench.runtime.compiling import asks_for_compiling, compiled
from ltgen_bench.runtime.context import RunContext
from ltgen_bench.sampling.chunks import Sampling, chunk_size
from ltgen_bench.sampling.draw import sample
from ltgen_bench.sampling.solve import guidance_of

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
IMAGES = 3 * 8 + 5  # three steps of 8, and a shorter one


@pytest.fixture
def shapes(monkeypatch):
    """Compiling goes all its way but for the kernels, which would take a minute; the numbers of images that it was done for."""
    found = []
    # without the type checks of the tests, which cannot be compiled
    for owner, name in ((ConditionalUNet, "forward"), (network, "_keep_output"), (low_rank.LowRankReserve, "forward"),
                        (low_rank.LowRankReserve, "full_weight")):
        monkeypatch.setattr(owner, name, inspect.unwrap(getattr(owner, name)))
    plain = torch.compile

    def backend(graph, inputs):
        from torch._dynamo.backends.debugging import aot_eager

        found.append(next(value.shape[0] for value in inputs if value.ndim == 4 and value.shape[1:] == SHAPE))
        return aot_eager(graph, inputs) if torch.is_grad_enabled() else graph.forward  # sampling needs no backward graph

    def compiling(call, *, dynamic, mode):
        assert (dynamic, mode) == (False, None)
        return plain(call, dynamic=dynamic, backend=backend)

    torch.compiler.reset()
    monkeypatch.setattr(torch, "compile", compiling)
    yield found
    torch.compiler.reset()


SHAPE = (1, 8, 8)


def losses(name, settings, folder, **train):
    trainer = trainer_of(Trial(name, folder, settings), batch_size=8, budget_images=IMAGES, **train)
    found = []
    while trainer.images_seen < IMAGES:
        found.append(trainer.step().total.item())
    return found


def test_who_asks_for_compiling():
    assert [asks_for_compiling(how, CPU) for how in ("auto", "yes", "no", "graphs")] == [False, True, False, True]
    assert [asks_for_compiling(how, CUDA) for how in ("auto", "yes", "no", "graphs")] == [True, True, False, True]
    assert not asks_for_compiling("auto", CUDA, worth_it=False)
    assert asks_for_compiling("yes", CPU, worth_it=False)


def test_graphs_are_a_mode_of_torch_and_every_shape_is_compiled_for_itself(monkeypatch):
    asked = []
    monkeypatch.setattr(torch, "compile", lambda call, **how: asked.append(how) or call)
    compiled(abs), compiled(abs, graphs=True)
    assert asked == [{"dynamic": False, "mode": None}, {"dynamic": False, "mode": "reduce-overhead"}]


@pytest.mark.parametrize(("name", "settings"), [
    pytest.param(name, settings, id="-".join([name, *settings.values()]), marks=[] if name == "cbdm" else pytest.mark.slow)
    for name, settings in CASES])
def test_training_under_every_method_is_that_of_the_network_as_it_stands(name, settings, shapes, tmp_path):
    counters.clear()
    assert losses(name, settings, tmp_path, compile="yes") == pytest.approx(losses(name, settings, tmp_path, compile="no"),
                                                                           rel=1e-6)
    assert set(shapes) <= {8, 16}, "the shorter step is not compiled"
    assert shapes
    assert not counters["graph_break"], "the network is one graph"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ddpm", "cbdm", "coral", "cm", "igd-ml-style"])
def test_a_network_that_is_cut_for_several_processes_trains_alike(name, shapes, tmp_path, monkeypatch):
    """With DistributedDataParallel torch cuts the graph where gradients are sent together; here at every few weights."""
    from torch._dynamo.backends.debugging import aot_eager
    from torch._dynamo.backends.distributed import DDPOptimizer

    pieces, plain = [], torch._dynamo.optimize

    def piece(graph, inputs):
        pieces.append(graph)
        return aot_eager(graph, inputs)

    cut = DDPOptimizer(1000, piece, first_bucket_cap=1000)
    monkeypatch.setattr(torch, "compile", lambda call, *, dynamic, mode: plain(cut.compile_fn, dynamic=dynamic)(call))
    assert losses(name, {}, tmp_path, compile="yes") == pytest.approx(losses(name, {}, tmp_path, compile="no"), rel=1e-6)
    assert len(pieces) > 3


def test_a_step_begins_once_whatever_its_micro_batches(tmp_path, monkeypatch):
    begun = []
    monkeypatch.setattr("ltgen_bench.training.trainer.begin_step", lambda: begun.append(1))
    trainer = trainer_of(Trial("ddpm", tmp_path), batch_size=8, budget_images=80, micro_batch=2)
    trainer.step()
    assert begun == [], "without CUDA there are no graphs"
    trainer.graphs = True
    trainer.step()
    trainer.step()
    assert begun == [1, 1]


def test_a_channels_last_network_is_compiled_once_for_a_sampling(shapes, make_network, tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "SHAPE", (3, 8, 8))
    net = make_network((3, 8, 8), 3).eval().requires_grad_(False).to(memory_format=torch.channels_last)
    config = SampleConfig(sampler="dpm-solver++", steps=5, images_per_class=6, batch_size=6, omega=1.5, compile="yes")
    sample(guided(net, guidance_of(config, 3, CPU), 3), Sampling(config, (3, 8, 8), 3), tmp_path, RunContext())
    assert shapes == [12]


def test_micro_batches_and_another_training_need_no_more_than_their_own_shapes(shapes, tmp_path):
    assert losses("ddpm", {}, tmp_path, compile="yes", micro_batch=5) == pytest.approx(losses("ddpm", {}, tmp_path), rel=1e-6)
    assert shapes == [4]
    losses("cfg", {}, tmp_path, compile="yes", micro_batch=4)
    assert shapes == [4], "networks of one form share what is compiled"


@pytest.mark.parametrize(("name", "omega"), [
    pytest.param("ddpm", 0.0, marks=pytest.mark.slow), ("cfg", 1.5), pytest.param("cm", 0.5, marks=pytest.mark.slow),
    pytest.param("classifier-guidance", 1.0, marks=pytest.mark.slow)])
@pytest.mark.parametrize("precision", ["float32", pytest.param("bf16", marks=pytest.mark.slow)])
def test_sampling_is_that_of_the_network_as_it_stands(name, omega, precision, shapes, tmp_path):
    trainer = trainer_of(Trial(name, tmp_path))
    plain = SampleConfig(sampler="ddim", steps=4, images_per_class=3, batch_size=8, omega=omega, precision=precision)
    found = []
    for how in ("no", "yes"):
        config = plain.model_copy(update={"compile": how})
        denoiser = trainer.method.denoiser(trainer.ema.net, guidance_of(config, trainer.method.problem.num_classes, CPU))
        samples = sample(denoiser, Sampling(config, SHAPE, trainer.method.problem.num_classes), tmp_path / how, RunContext())
        found.append(samples.images.astype(int))
    assert abs(found[0] - found[1]).max() <= 1
    assert len(shapes) == 1


def test_that_compiling_takes_a_while_is_said_once_a_stage(shapes, tmp_path, told):
    from ltgen_bench.training.loop import train

    config = Trial("cfg", tmp_path).config(batch_size=8, budget_images=16, compile="yes")
    for _ in range(2):  # the second finds all of it done
        trained = train(config, tiny_dataset(), tmp_path / "run", RunContext(progress=told))
        drawn = SampleConfig(sampler="ddim", steps=4, images_per_class=2, omega=0.5, compile="yes")
        denoiser = trained.method.denoiser(trained.net, guidance_of(drawn, 3, CPU))
        sample(denoiser, Sampling(drawn, SHAPE, 3), tmp_path / "samples", RunContext(progress=told))
    training, sampling = told.messages
    assert "first step compiles" in training
    assert "first images compile" in sampling


def test_only_large_sets_are_worth_compiling():
    small = SampleConfig(sampler="dpm-solver++", steps=25, images_per_class=5000)
    assert not guidance_of(small, 10, CUDA).compiled
    assert guidance_of(small.model_copy(update={"omega": 1.5}), 10, CUDA).compiled
    assert not guidance_of(small.model_copy(update={"omega": 1.5}), 10, CPU).compiled
    assert guidance_of(small.model_copy(update={"compile": "yes"}), 1, CPU).compiled
    assert not guidance_of(small.model_copy(update={"compile": "no", "steps": 1000}), 100, CUDA).compiled


def test_the_search_for_a_number_of_images_compiles_for_none_of_those_it_tries(shapes, tmp_path, monkeypatch):
    monkeypatch.setattr("ltgen_bench.runtime.batch_size.SECONDS", 0.2)
    trainer = trainer_of(Trial("cfg", tmp_path))
    config = SampleConfig(sampler="ddim", steps=4, images_per_class=2, batch_size="auto", omega=1.5, compile="yes")
    denoiser = trainer.method.denoiser(trainer.ema.net, guidance_of(config, 3, CPU))
    assert chunk_size(denoiser, Sampling(config, SHAPE, 3), CPU) >= 1
    assert shapes == []
