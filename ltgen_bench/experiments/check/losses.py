"""The part of the contract of methods that is about the loss of a step and the draws and network passes behind it."""

import torch

from ltgen_bench.core.validation import validate
from ltgen_bench.experiments.check.trial import COUNTS, LABELS, Built, Trial, Unmet, Waits, untouched_generators
from ltgen_bench.methods import variant_values
from ltgen_bench.methods.base import Batch, Loss

STEPS = 8  # positions at which losses are looked at, so that steps with and without label are among them
MANY_STEPS = 60  # after which a coin of one in ten has come up, but once in 550 times
ROUNDING = 1e-5  # of float32 sums, relative to the largest term


def its_loss_is_finite_in_float32(trial: Trial) -> None:
    """A float32 number with a gradient; the terms are detached."""
    _finite_losses(trial.build())


def its_loss_is_finite_in_bf16(trial: Trial) -> None:
    """The loss is finite where autocast lets the network compute in bfloat16."""
    _finite_losses(trial.build(), bf16=True)


def _finite_losses(built: Built, where: str = "", labels: tuple[int, ...] = LABELS, *, bf16: bool = False) -> Loss:
    for position in range(STEPS):
        loss = built.loss(labels, position, bf16=bf16)
        if loss.total.dtype != torch.float32:
            raise Unmet(f"{where}total has the type {loss.total.dtype}; it must be a float32 number.")
        if not loss.terms:
            raise Unmet(f"{where}terms is empty; name at least one part of the loss for the log.")
        for name, term in {"total": loss.total, **loss.terms}.items():
            if not term.isfinite():
                raise Unmet(f"{where}{name} is {term.item()} at step {position} with the labels {list(labels)}.")
        attached = [name for name, term in loss.terms.items() if term.requires_grad]
        if attached:
            raise Unmet(f"{where}the terms {', '.join(attached)} carry a gradient; write term.detach().")
    return loss


def its_variants_are_valid(trial: Trial) -> None:
    """The settings of every variant exist, are in range and differ from the defaults, and give a finite loss."""
    defaults = trial.kind.Settings()
    for name in trial.kind.variants:
        values = variant_values(trial.name, name)
        settings = validate(trial.kind.Settings, values, where=f"variant {name}", prefix="method.")
        same = [key for key in values if getattr(settings, key) == getattr(defaults, key)]
        if same or not values:
            raise Unmet(f"variant {name}: {', '.join(same) or 'it'} does not differ from the defaults; state only what differs.")
        _finite_losses(Trial(trial.name, trial.folder, {**trial.settings, **values}).build(), f"variant {name}: ")


def the_terms_add_up_to_the_loss(trial: Trial) -> None:
    """The logged terms add up to the loss."""
    built = trial.build()
    for position in range(STEPS):
        loss = built.loss(position=position)
        total, values = loss.total.item(), [term.item() for term in loss.terms.values()]
        if abs(sum(values) - total) > ROUNDING * max(map(abs, values)):
            raise Unmet(f"the terms ({', '.join(loss.terms)}) sum to {sum(values):.6g} and total is {total:.6g}; let terms hold "
                        "every part of total, weighted as it is there.")


def equal_draws_give_equal_losses(trial: Trial) -> None:
    """The loss is a function of network, batch and draws, and other draws give another."""
    first, again, other = (trial.build().loss(position=position).total for position in (0, 0, 1))
    built = trial.build()
    if not torch.equal(first, again) or not torch.equal(built.loss().total, built.loss().total):
        raise Unmet("the same network, batch and draws give two different losses; take every random number from `draws` and "
                    "let nothing of one step change the next.")
    if torch.equal(first, other):
        raise Unmet("other draws give the same loss; take t and noise from `self.noised(batch, draws)`.")


def every_random_number_comes_from_the_draws(trial: Trial) -> None:
    """Nothing is drawn from a global generator, in the loss or around it."""
    built = trial.build()
    with untouched_generators():
        built.method.class_weights()
        built.net.eval()
        for position in range(STEPS):
            built.loss(position=position)


def its_draws_have_names_of_their_own(trial: Trial) -> None:
    """Two draws of one name are the same random numbers."""
    built = trial.build()
    for position in range(STEPS):
        draws = built.draws(position=position)
        built.method.loss(built.net, built.method.transform_batch(built.batch(), draws), draws)
        twice = sorted({name for name in draws.names if draws.names.count(name) > 1})
        if twice:
            raise Unmet(f"{', '.join(map(repr, twice))} is drawn more than once in a step, which gives the same random numbers "
                        "again; give each draw a name of its own, and leave 't', 'noise', 'label-drop', 'flip' and 'order' to "
                        "the shared ones.")


def a_step_moves_everything_that_is_trained(trial: Trial) -> None:
    """Every parameter has a gradient within a few steps and most of them move; the null label stays at zero.

    Not all move: the network normalises groups of one channel here, which takes the effect of some biases away.
    """
    built = trial.build()
    before = {name: parameter.detach().clone() for name, parameter in built.parameters().items()}
    optimizer = torch.optim.SGD(built.parameters().values(), lr=0.1)
    reached: set[str] = set()
    for position in range(STEPS):
        optimizer.zero_grad(set_to_none=True)
        built.loss(position=position).total.backward()  # type: ignore[no-untyped-call]
        reached |= {name for name, parameter in built.parameters().items() if parameter.grad is not None}
        optimizer.step()
    left = [name for name in before if name not in reached]
    if left:
        raise Unmet(f"{len(left)} of {len(before)} parameters never have a gradient ({', '.join(left[:3])}); let the loss depend "
                    "on them, or set their requires_grad to False.")
    moved = [name for name, parameter in built.parameters().items() if not torch.equal(parameter, before[name])]
    if len(moved) < 0.9 * len(before):
        raise Unmet(f"only {len(moved)} of {len(before)} parameters move in {STEPS} steps; look whether the gradient of the loss "
                    "is zero.")
    if built.net.label_embedding.weight[-1].any():
        raise Unmet("the embedding of the null label is no longer zero; let the network's label embedding be.")


def a_batch_in_parts_has_the_loss_of_the_whole(trial: Trial) -> None:
    """A mean over images, so that micro-batches and several devices change nothing; or `whole_batch` says that it is none."""
    built = trial.build()
    if built.method.whole_batch():
        return
    parts = (range(3), range(3, len(LABELS)))
    for position in range(STEPS):
        whole = built.loss(position=position).total.item()
        mean = sum(len(part) * built.loss(position=position, part=part).total.item() for part in parts) / len(LABELS)
        if abs(mean - whole) > ROUNDING * max(1.0, abs(whole)):
            raise Unmet(f"the loss of a batch is {whole:.6g}, and the mean of its parts {mean:.6g}; let it be a mean over images "
                        "with draws of each, or return True from `whole_batch` and take what images are compared with from "
                        "`draws.gathered`.")


def it_works_with_two_classes(trial: Trial) -> None:
    """The smallest problem."""
    _works(trial.build((5, 3)), "two classes: ", (0, 1, 0))


def it_works_with_a_hundred_classes(trial: Trial) -> None:
    """The loss works with more classes than images in a batch, as in CIFAR-100-LT."""
    _works(trial.build(tuple(range(100, 0, -1))), "100 classes: ", (0, 99, 50, 3))


def it_works_with_a_class_of_one_image(trial: Trial) -> None:
    """The end of a long tail."""
    _works(trial.build((9, 1, 1)), "a class of one image: ", (2, 0, 1))


def it_works_with_a_batch_of_one_image(trial: Trial) -> None:
    """The last batch of a budget may be that short."""
    built = trial.build()
    for label in range(len(COUNTS)):
        _works(built, "a batch of one image: ", (label,))


def _works(built: Built, where: str, labels: tuple[int, ...]) -> None:
    _finite_losses(built, where, labels).total.backward()  # type: ignore[no-untyped-call]


def the_augmentation_vector_reaches_the_network(trial: Trial) -> None:
    """Every pass of the network gets the condition vector of the augmentation."""
    dim = trial.kind.augment_dim or 9
    built = trial.build(augment_dim=dim)
    for position in range(STEPS):
        built.calls.clear()
        batch, draws = built.batch(), built.draws(position=position)
        vectors = torch.arange(1.0, len(LABELS) + 1).repeat_interleave(dim).view(-1, dim) / len(LABELS)
        built.method.loss(built.net, Batch(batch.x_0, batch.labels, vectors), draws)
        given = [call.augment for call in built.calls]
        rows = [None if vector is None else (vector.unsqueeze(1) == vectors).all(2) for vector in given]
        if any(row is None or not bool(row.any(1).all()) for row in rows):
            raise Unmet("a pass of the network lacks the augmentation vector; write net(x_t, t, labels, batch.augment), and "
                        "repeat or select batch.augment as you do x_t.")
        noisy = torch.cat([call.x_t for call in built.calls])
        which = torch.cat([row.int().argmax(1) for row in rows if row is not None])
        same = (noisy.unsqueeze(1) == noisy).flatten(2).all(2)
        if bool((which.unsqueeze(1) != which)[same].any()):
            raise Unmet("one noisy image goes through the network with the augmentation vectors of several; keep batch.augment "
                        "in the order of x_t.")


def guidance_is_taught_where_it_is_offered(trial: Trial) -> None:
    """With `has_null_label` the network gets the null label in training, without it never; and every class."""
    built = trial.build()
    null = built.method.problem.null_label
    seen: set[int] = set()
    with torch.no_grad():
        for position in range(MANY_STEPS):
            built.loss((0, 1, 2, 0), position)
            seen |= {int(label) for call in built.calls for label in call.labels}
            built.calls.clear()
            if seen == set(range(null + 1)) and trial.kind.has_null_label:
                return
    if trial.kind.has_null_label and null not in seen:
        raise Unmet(f"has_null_label is True and {MANY_STEPS} steps never show the network the null label; drop labels "
                    "(ltgen_bench.methods.label_drop), or set has_null_label = False.")
    if not trial.kind.has_null_label and null in seen:
        raise Unmet("has_null_label is False and the loss shows the network the null label; set it to True.")
    unseen, foreign = set(range(null)) - seen, seen - set(range(null + 1))
    if unseen or foreign:
        raise Unmet(f"of the labels 0 to {null - 1} the network never sees {sorted(unseen)}." if unseen else
                    f"the network is given the labels {sorted(foreign)}, and 0 to {null} exist.")


def a_step_waits_for_no_device(trial: Trial) -> None:
    """On CUDA a step goes through without reading a value back."""
    built = trial.build()
    for position in range(STEPS):
        draws = built.draws(position=position)
        with Waits() as waits:
            built.method.loss(built.net, built.method.transform_batch(built.batch(), draws), draws)
        if waits.found:
            raise Unmet(f"on a GPU every step would wait for {waits.found[0]}; write it with tensors (torch.where, a product "
                        "with a mask) instead of .item(), a Python `if` on a tensor, or a selection by a mask.")
