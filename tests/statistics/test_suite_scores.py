"""Skill, win rate and mean rank over tasks against plain loops, and every state in which a number does not exist."""

import math
from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ltgen_bench.core.errors import UserError
from ltgen_bench.statistics import compare, fit, scale_of
from ltgen_bench.statistics.suite_cells import SuitePlan, complete_cells
from ltgen_bench.statistics.suite_costs import pareto_front, suite_costs
from ltgen_bench.statistics.suite_scores import judge_by_seeds, judge_by_table, suite_scores
from ltgen_bench.statistics.task_means import mean_interval, share_interval

TASKS = {"f5-a": "f5", "f5-b": "f5", "f20": "f20", "f50": "f50"}
ENTRIES = ("cfg", "ddpm", "oc", "cm")
SEEDS = (0, 1, 2)
PLAN = SuitePlan(TASKS, ENTRIES, SEEDS, "cfg")


@pytest.fixture
def scores():
    rng = np.random.default_rng(0)
    values = {"cfg": 2.0, "ddpm": 3.0, "oc": 1.5, "cm": 1.9}
    return pd.DataFrame([(task, entry, seed, values[entry] * float(np.exp(0.2 * rng.normal())))
                         for task, entry, seed in product(TASKS, ENTRIES, SEEDS)], columns=["task", "entry", "seed", "value"])


def far_apart(task, values):
    """Better where all seeds are, else open; only pairs in alphabetical order."""
    return {(a, b): "better" if (values[a] < values[b]).all() else "worse" if (values[a] > values[b]).all() else "open"
            for a in values for b in values if a < b}


def table_of(scores, task):
    return scores[scores["task"] == task].pivot(index="seed", columns="entry", values="value")


def without(scores, *cells):
    gone = pd.Series(False, index=scores.index)
    for task, entry, seed in cells:
        gone |= (scores["task"] == task) & (scores["entry"] == entry) & ((scores["seed"] == seed) if seed is not None else True)
    return scores[~gone]


def slow_skill(scores, entry, distance=lambda value: value):
    """Nested loops: the mean over seeds, the logarithm of the ratio, tasks of one group, groups."""
    logs = []
    for group in dict.fromkeys(TASKS.values()):
        own = []
        for task in [task for task, of in TASKS.items() if of == group]:
            error, base = 0.0, 0.0
            for seed in SEEDS:
                rows = scores[(scores["task"] == task) & (scores["seed"] == seed)].set_index("entry")["value"]
                error, base = error + distance(rows[entry]), base + distance(rows["cfg"])
            own.append(math.log(error / base))
        logs.append(sum(own) / len(own))
    return 1 - math.exp(sum(logs) / len(logs)), logs


def test_the_skill_is_one_less_the_geometric_mean_of_ratios(scores):
    found = suite_scores(scores, PLAN, far_apart, direction="lower", ideal=0.0)
    for entry in ENTRIES:
        skill, logs = slow_skill(scores, entry)
        half = stats.t.ppf(0.975, 2) * stats.sem(logs)
        own = found.skill[entry]
        assert (own.value, own.low, own.high) == pytest.approx(
            (skill, 1 - math.exp(np.mean(logs) + half), 1 - math.exp(np.mean(logs) - half)))
        assert own.reason == ""
    assert (found.skill["cfg"].value, found.skill["cfg"].low, found.skill["cfg"].high) == (0.0, 0.0, 0.0)
    assert found.tasks == ("f5", "f20", "f50")
    assert found.order == tuple(sorted(ENTRIES, key=lambda entry: -found.skill[entry].value))


def test_the_skill_of_a_share_is_of_the_distance_to_its_ideal(scores):
    shares = scores.assign(value=1 - scores["value"] / 10)
    found = suite_scores(shares, PLAN, far_apart, direction="higher", ideal=1.0)
    errors = suite_scores(scores, PLAN, far_apart, direction="lower", ideal=0.0)
    assert {entry: own.value for entry, own in found.skill.items()} == pytest.approx(
        {entry: own.value for entry, own in errors.skill.items()})
    assert found.order == errors.order
    assert found.mean_rank == errors.mean_rank


def test_a_score_that_should_be_near_a_value_has_the_skill_of_its_distance(scores):
    around = scores.assign(value=np.where(scores["seed"] == 1, 5 - scores["value"], 5 + scores["value"]))
    found = suite_scores(around, PLAN, far_apart, direction="nearest", ideal=5.0)
    assert found.skill["oc"].value == pytest.approx(slow_skill(scores, "oc")[0])


def test_win_rates_and_ranks_by_loops(scores):
    found = suite_scores(scores, PLAN, far_apart, direction="lower", ideal=0.0)
    points = {"better": 1, "open": 0.5, "worse": 0}
    for entry in ENTRIES:
        rates, ranks = {}, {}
        for task, group in TASKS.items():
            table = table_of(scores, task)
            means, verdicts = table.mean(), far_apart(task, table)
            won = [points[verdicts[entry, other]] if entry < other else 1 - points[verdicts[other, entry]]
                   for other in ENTRIES if other != entry]
            rates.setdefault(group, []).append(sum(won) / 3)
            ranks.setdefault(group, []).append(1 + sum(means[other] < means[entry] for other in ENTRIES))
        assert found.win_rate[entry].value == pytest.approx(np.mean([np.mean(own) for own in rates.values()]))
        assert found.mean_rank[entry].value == pytest.approx(np.mean([np.mean(own) for own in ranks.values()]))
        assert found.wins.loc[entry].mean() == pytest.approx(found.win_rate[entry].value)
        low, high = found.win_rate[entry].low, found.win_rate[entry].high
        assert 0 <= low < found.win_rate[entry].value < high <= 1 or found.win_rate[entry].value in (0, 1)
        assert 1 <= found.mean_rank[entry].low <= found.mean_rank[entry].value <= found.mean_rank[entry].high <= 4
    turned = 1 - found.wins.T
    pd.testing.assert_frame_equal(found.wins, turned)
    assert sum(own.value for own in found.win_rate.values()) == pytest.approx(len(ENTRIES) / 2)


def test_equivalent_and_missing_verdicts_count_half_and_a_table_gives_the_same_as_a_function(scores):
    rows = [(task, a, b, verdict) for task in TASKS for (a, b), verdict in far_apart(task, table_of(scores, task)).items()]
    table = pd.DataFrame(rows, columns=["task", "a", "b", "verdict"])
    function = suite_scores(scores, PLAN, far_apart, direction="lower", ideal=0.0)
    assert suite_scores(scores, PLAN, judge_by_table(table), direction="lower", ideal=0.0).win_rate == function.win_rate
    few = table[table["verdict"] != "open"]
    assert suite_scores(scores, PLAN, judge_by_table(few), direction="lower", ideal=0.0).win_rate == function.win_rate
    none = suite_scores(scores, PLAN, lambda *_: {}, direction="lower", ideal=0.0)
    assert {own.value for own in none.win_rate.values()} == {0.5}
    assert all(0.1 < own.low < 0.2 and 0.8 < own.high < 0.9 for own in none.win_rate.values())  # three tasks show little


def test_the_judge_of_seeds_gives_the_verdicts_of_one_task(scores):
    judge = judge_by_seeds("log", "lower")
    table = table_of(scores, "f20")
    direct = compare(fit(table, scale=scale_of("log", table)))
    assert judge("f20", table) == {(one.a, one.b): one.verdict for one in direct.differences}
    clear = scores.assign(value=scores["value"] * scores["entry"].map({"cfg": 1, "ddpm": 100, "oc": 1e-4, "cm": 1}))
    found = suite_scores(clear, PLAN, judge, direction="lower", ideal=0.0)
    assert found.win_rate["oc"].value == 1
    assert found.win_rate["ddpm"].value == 0
    around = clear.assign(value=np.where(clear["seed"] == 1, 5 - clear["value"], 5 + clear["value"]))
    nearest = judge_by_seeds("log", "nearest", 5.0)("f20", table_of(around, "f20"))
    assert nearest["cfg", "ddpm"] == "better"
    assert judge("one seed", table[:1]) == {}


def test_the_frame_has_every_number_in_the_order_of_the_methods(scores):
    found = suite_scores(scores[scores["entry"] != "ddpm"], PLAN, far_apart, direction="lower", ideal=0.0)
    frame = found.frame().set_index("entry")
    assert list(frame.index) == [*found.order, "ddpm"]
    assert frame.loc["oc", "skill_low"] == found.skill["oc"].low
    assert frame.loc["cm", "mean_rank"] == found.mean_rank["cm"].value
    assert frame.loc["ddpm", "failures"] == 12
    assert frame.loc["ddpm", "win_rate_reason"] == found.win_rate["ddpm"].reason
    assert math.isnan(frame.loc["ddpm", "skill"])


def test_equal_means_share_a_rank_whatever_the_order_of_their_seeds(scores):
    same = scores.assign(value=scores["seed"].map({0: 0.1, 1: 0.7, 2: 0.2}))
    turned = same.assign(value=np.where(same["entry"] == "oc", same["seed"].map({0: 0.2, 1: 0.1, 2: 0.7}), same["value"]))
    found = suite_scores(turned, PLAN, far_apart, direction="lower", ideal=0.0)
    assert {own.value for own in found.mean_rank.values()} == {2.5}
    assert {own.value for own in found.skill.values()} == {0.0}


def test_class_orders_of_one_factor_count_as_one_task(scores):
    """Three more copies of a class order change nothing."""
    copies = [scores[scores["task"] == "f5-a"].assign(task=f"f5-{copy}") for copy in "cde"]
    base = scores[scores["task"] != "f5-b"]
    one = SuitePlan({"f5-a": "f5", "f20": "f20", "f50": "f50"}, ENTRIES, SEEDS, "cfg")
    many = SuitePlan({**one.tasks, "f5-c": "f5", "f5-d": "f5", "f5-e": "f5"}, ENTRIES, SEEDS, "cfg")
    first = suite_scores(base, one, far_apart, direction="lower", ideal=0.0)
    second = suite_scores(pd.concat([base, *copies]), many, far_apart, direction="lower", ideal=0.0)
    assert second.skill["oc"].value == pytest.approx(first.skill["oc"].value)
    assert second.skill["oc"].high == pytest.approx(first.skill["oc"].high)
    assert second.win_rate == first.win_rate


def test_leaving_out_the_one_task_that_decides_changes_the_order(scores):
    even = scores.assign(value=scores["entry"].map({"cfg": 2.0, "ddpm": 2.5, "oc": 1.5, "cm": 1.9}))
    turned = even.assign(value=np.where((even["task"] == "f50") & (even["entry"] == "ddpm"), 0.1, even["value"]))
    found = suite_scores(turned, PLAN, far_apart, direction="lower", ideal=0.0)
    assert found.order[0] == "ddpm"
    assert [one.task for one in found.without] == ["f5", "f20", "f50"]
    assert found.depends_on.task == "f50"
    assert found.depends_on.order == ("oc", "cm", "cfg", "ddpm")
    assert found.depends_on.tau == pytest.approx(0.0)
    assert suite_scores(even, PLAN, far_apart, direction="lower", ideal=0.0).depends_on is None


def test_error_names_the_missing_and_failed_cells(scores):
    missing = without(scores, ("f20", "oc", 1)).assign(value=lambda rows: rows["value"].mask(
        (rows["task"] == "f50") & (rows["entry"] == "cm") & (rows["seed"] == 2)))
    with pytest.raises(UserError, match=r"2 runs .*f20, oc, seed 1, f50, cm, seed 2.*'drop'.*'impute'"):
        suite_scores(missing, PLAN, far_apart, direction="lower", ideal=0.0)


def test_drop_keeps_the_seeds_and_tasks_that_all_have(scores):
    missing = without(scores, ("f20", "oc", 1), ("f50", "cm", None))
    found = suite_scores(missing, PLAN, far_apart, direction="lower", ideal=0.0, policy="drop")
    assert found.tasks == ("f5", "f20")
    assert found.failures == {"cfg": 0, "ddpm": 0, "oc": 1, "cm": 3}
    assert "f50" in " ".join(found.notes)
    kept = scores[(scores["task"] != "f50") & ~((scores["task"] == "f20") & (scores["seed"] == 1))]
    logs = []
    for tasks in (["f5-a", "f5-b"], ["f20"]):
        means = [kept[kept["task"] == task].groupby("entry")["value"].mean() for task in tasks]
        logs.append(np.mean([math.log(mean["oc"] / mean["cfg"]) for mean in means]))
    assert found.skill["oc"].value == pytest.approx(1 - math.exp(np.mean(logs)))


def test_impute_puts_the_score_of_the_baseline(scores):
    missing = without(scores, ("f20", "oc", None), ("f50", "oc", 0))
    found = suite_scores(missing, PLAN, far_apart, direction="lower", ideal=0.0, policy="impute")
    filled = scores.set_index(["task", "entry", "seed"])["value"].copy()
    for task, seed in [("f20", 0), ("f20", 1), ("f20", 2), ("f50", 0)]:
        filled[task, "oc", seed] = filled[task, "cfg", seed]
    whole = suite_scores(filled.reset_index(), PLAN, far_apart, direction="lower", ideal=0.0)
    assert (found.skill, found.win_rate, found.mean_rank) == (whole.skill, whole.win_rate, whole.mean_rank)
    assert found.failures == {"cfg": 0, "ddpm": 0, "oc": 4, "cm": 0}
    with pytest.raises(UserError, match=r"baseline 'cfg' .* f20, seed 1"):
        suite_scores(without(missing, ("f20", "cfg", 1)), PLAN, far_apart, direction="lower", ideal=0.0, policy="impute")


@pytest.mark.parametrize("policy", ["error", "drop", "impute"])
def test_a_method_without_the_metric_disturbs_no_other(scores, policy):
    lacking = scores[scores["entry"] != "ddpm"]
    found = suite_scores(lacking, PLAN, far_apart, direction="lower", ideal=0.0, policy=policy)
    three = SuitePlan(TASKS, ("cfg", "oc", "cm"), SEEDS, "cfg")
    alone = suite_scores(lacking, three, far_apart, direction="lower", ideal=0.0)
    assert found.order == alone.order
    for ours, theirs in ((found.skill, alone.skill), (found.win_rate, alone.win_rate), (found.mean_rank, alone.mean_rank)):
        assert math.isnan(ours["ddpm"].value)
        assert "no run" in ours["ddpm"].reason
        assert {entry: own for entry, own in ours.items() if entry != "ddpm"} == theirs
    assert found.failures["ddpm"] == 12
    assert "ddpm" in found.notes[0]


def test_without_scores_of_the_baseline_there_is_no_skill_but_ranks(scores):
    found = suite_scores(scores[scores["entry"] != "cfg"], PLAN, far_apart, direction="lower", ideal=0.0)
    assert all(math.isnan(own.value) and own.reason for own in found.skill.values())
    assert "baseline" in found.skill["oc"].reason
    assert found.ordered_by == "mean rank"
    assert found.mean_rank["oc"].value >= 1


@pytest.mark.parametrize(("entry", "without_skill"), [("oc", {"oc"}), ("cfg", set(ENTRIES))])
@pytest.mark.parametrize("value", [0.0, -0.1])
def test_an_error_of_zero_has_no_geometric_mean(scores, entry, without_skill, value):
    zero = scores.assign(value=scores["value"].mask((scores["entry"] == entry) & (scores["task"] == "f20"), value))
    found = suite_scores(zero, PLAN, far_apart, direction="lower", ideal=0.0)
    assert {name for name, own in found.skill.items() if math.isnan(own.value)} == without_skill
    assert "f20" in found.skill["oc"].reason
    assert found.ordered_by == "mean rank"
    assert all(math.isfinite(own.value) for own in [*found.win_rate.values(), *found.mean_rank.values()])
    one_seed = scores.assign(value=scores["value"].mask((scores["entry"] == entry) & (scores["seed"] == 0), 0.0))
    assert suite_scores(one_seed, PLAN, far_apart, direction="lower", ideal=0.0).ordered_by == "skill"


def test_a_score_without_an_ideal_has_no_skill(scores):
    found = suite_scores(scores, PLAN, lambda *_: {}, direction="higher", ideal=None)
    assert all(math.isnan(own.value) and "ideal" in own.reason for own in found.skill.values())
    assert found.order[0] == "ddpm"  # the largest


def test_one_task_has_values_and_no_intervals(scores):
    one = SuitePlan({"f20": "f20"}, ENTRIES, SEEDS, "cfg")
    found = suite_scores(scores, one, far_apart, direction="lower", ideal=0.0)
    for own in (found.skill["oc"], found.win_rate["oc"], found.mean_rank["oc"]):
        assert math.isfinite(own.value)
        assert math.isnan(own.low)
        assert math.isnan(own.high)
        assert "one task" in own.reason
    assert found.without == ()
    orders = SuitePlan({"f5-a": "f5", "f5-b": "f5"}, ENTRIES, SEEDS, "cfg")
    assert "one task" in suite_scores(scores, orders, far_apart, direction="lower", ideal=0.0).skill["oc"].reason


def test_one_seed_and_two_methods(scores):
    two = SuitePlan(TASKS, ("cfg", "oc"), (1,), "cfg")
    found = suite_scores(scores, two, far_apart, direction="lower", ideal=0.0)
    assert math.isfinite(found.skill["oc"].low)
    assert found.win_rate["oc"].value + found.win_rate["cfg"].value == pytest.approx(1)
    assert found.mean_rank["oc"].value + found.mean_rank["cfg"].value == pytest.approx(3)


@pytest.mark.parametrize(("plan", "words"), [
    (lambda: SuitePlan({}, ENTRIES, SEEDS, "cfg"), "one task"),
    (lambda: SuitePlan(TASKS, ("cfg",), SEEDS, "cfg"), "two methods"),
    (lambda: SuitePlan(TASKS, ENTRIES, SEEDS, "cgf"), "Did you mean 'cfg'"),
])
def test_a_plan_that_compares_nothing_is_refused(plan, words):
    with pytest.raises(UserError, match=words):
        plan()


def test_bad_cells_are_refused(scores):
    with pytest.raises(UserError, match="two scores of task f5-a, cfg, seed 0"):
        complete_cells(pd.concat([scores, scores[:1]]), PLAN)
    with pytest.raises(UserError, match="impute"):
        complete_cells(scores, PLAN, "imput")
    with pytest.raises(UserError, match="Fewer than two methods"):
        complete_cells(scores[scores["entry"] == "oc"], PLAN)
    apart = scores[scores["entry"].map(dict(zip(ENTRIES, TASKS, strict=True))) == scores["task"]]
    with pytest.raises(UserError, match="nothing to compare"):
        complete_cells(apart, PLAN, "drop")
    other = scores.iloc[:1].assign(entry="unplanned")
    assert complete_cells(pd.concat([scores, other]), PLAN).entries == list(ENTRIES)


def test_intervals_of_few_tasks():
    values = [0.1, 0.4, 0.5, 0.9]
    assert mean_interval(values) == pytest.approx(stats.t.interval(0.95, 3, np.mean(values), stats.sem(values)))
    assert all(map(math.isnan, (*mean_interval([1.0]), *share_interval([1.0], 0.1))))
    low, high = share_interval([1.0] * 4, 1.0)
    assert high == 1
    assert low == pytest.approx(1 / (1 + stats.t.ppf(0.975, 3) ** 2 / 4))  # the score interval of 4 successes of 4
    assert share_interval([1.0] * 4, 0.05)[0] > low
    assert share_interval([0.0] * 4, 0.05) == pytest.approx([1 - end for end in share_interval([1.0] * 4, 0.05)][::-1])
    assert share_interval([0.5] * 4, 0.05)[0] < 0.5 < share_interval([0.5] * 4, 0.05)[1]


def test_an_interval_of_shares_holds_the_means_that_a_t_test_does_not_reject():
    """The ends are where |mean - p| equals t times the standard error under p."""
    shares, step = [0.2, 0.6, 0.7, 0.9, 0.4], 0.05
    mean, variance, t = np.mean(shares), np.var(shares, ddof=1), stats.t.ppf(0.975, 4)
    ratio = variance / (mean * (1 - mean) + variance / 5)
    for end in share_interval(shares, step):
        assert abs(mean - end) == pytest.approx(t * math.sqrt(ratio * end * (1 - end) / 5))


def test_costs_are_means_over_tasks_and_ratios_to_the_baseline(scores):
    factor = {"cfg": 1.0, "ddpm": 2.0, "oc": 4.0, "cm": 1.0}
    size = {"f5-a": 10.0, "f5-b": 30.0, "f20": 40.0, "f50": 100.0}
    rows = scores.assign(seconds=scores["task"].map(size) * scores["entry"].map(factor),
                         memory_mb=np.where(scores["entry"] == "cm", np.nan, 100.0))
    found = suite_costs(rows, PLAN, ["f5", "f20", "f50"]).set_index(["cost", "entry"])
    assert found.loc[("seconds", "ddpm"), "mean"] == pytest.approx(2 * (20 + 40 + 100) / 3)
    assert found.loc[("seconds", "oc"), "ratio"] == pytest.approx(4.0)
    assert found.loc["memory_mb", "ratio"].isna().to_dict() == {"cfg": False, "ddpm": False, "oc": False, "cm": True}
    assert set(found.index.get_level_values("cost")) == {"seconds", "memory_mb"}
    unknown = suite_costs(rows[rows["task"] != "f50"], PLAN, ["f5", "f20", "f50"])
    assert unknown["mean"].isna().all()
    assert suite_costs(scores, PLAN, ["f20"]).empty


def test_the_front_has_what_no_other_beats():
    quality = {"a": 0.5, "b": 0.4, "c": 0.5, "d": 0.1, "e": math.nan, "f": 0.5, "g": 0.9}
    cost = {"a": 2.0, "b": 1.0, "c": 3.0, "d": 1.5, "e": 0.1, "f": 2.0}
    assert pareto_front(quality, cost) == ("b", "a", "f")
    both = {name: (quality[name], -cost[name]) for name in cost if not math.isnan(quality[name])}
    slow = {a for a, own in both.items() if not any(
        other != own and other[0] >= own[0] and other[1] >= own[1] for other in both.values())}
    assert slow == {"a", "b", "f"}
    assert pareto_front({}, {}) == ()
