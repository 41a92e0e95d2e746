"""What the tests of a suite tell, in sentences: no more than the intervals carry."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from ltgen_bench.core.words import counted, listed, some
from ltgen_bench.report.comparisons import seeds_text
from ltgen_bench.report.suite_measured import ALL, FEW, Measured, SuiteTables
from ltgen_bench.report.suite_results import gaps
from ltgen_bench.statistics import Comparison, Difference
from ltgen_bench.statistics.suite_costs import COSTS
from ltgen_bench.statistics.suite_scores import LEAST_TASKS, Estimate

WORDS = {"better": "better than", "worse": "worse than", "equivalent": "equivalent to"}
SCOPES = {FEW: "few classes", ALL: "all classes"}
NAMED = 6  # open differences that are told one by one
EQUAL_COST = 0.02  # costs that differ by less are told together
LIMITS = ("Over tasks, skills are compared with the tasks as blocks, and what is said holds for tasks like those of the suite; "
          "within a task the seeds are the blocks. Intervals are simultaneous (95 %) over the methods of one score and scope, "
          "over tasks or in one task: of twenty such sets of intervals one may be wrong somewhere.")
SKILL = ("Skill is 1 - the geometric mean over tasks of the distance to the ideal score / the baseline's: 0 is as good as the "
         "baseline, 0.5 half its error.")


def told(one: Measured) -> list[str]:
    """Return what is known of one score in one scope."""
    return [*_over_tasks(one), *_by_seeds(one), *_dependence(one)]


def _over_tasks(one: Measured) -> list[str]:
    """Which methods may be the best over the tasks, and what is proven against the baseline there."""
    found, against, tasks = one.over_tasks, one.against_baseline, len(one.scores.tasks)
    if tasks < LEAST_TASKS:
        return [f"{counted(tasks, 'task')}: too few to say anything of other tasks."]
    if found is None or against is None:
        why = next((own.reason for own in one.scores.skill.values() if own.reason), "")
        return [f"Over tasks no skills are compared: {why}."]
    where = f"Over the {tasks} tasks"
    if not found.differences:
        return [f"{where} nothing can be tested, since the methods do not vary."]
    sentences = [_separable([entry for entry in one.scores.order if entry in found.entries], one.best, where)]
    left = [entry for entry in one.scores.order if entry not in found.entries]
    sentences += [f"Not among these: {listed(left)}, without a skill."] if left else []
    return [*sentences, *_against_baseline(against.differences, one.plan.baseline)]


def _separable(entries: Sequence[str], best: Sequence[str], where: str) -> str:
    may, others = [entry for entry in entries if entry in best], [entry for entry in entries if entry not in best]
    number = f"{len(may)} of {counted(len(entries), 'method')}"
    if not others:
        return f"{where} no method is shown to be worse than another: each of the {len(entries)} may be the best."
    if len(may) == 1:
        return f"{where} only {may[0]} may be the best: every other method is worse than some method."
    if len(others) < len(may):
        are = "that one is" if len(others) == 1 else "each of these is"
        return f"{where} all but {listed(others)} may be the best ({number}); {are} worse than some method."
    return f"{where} {listed(may)} may be the best ({number}); each of the others is worse than some method."


def _against_baseline(differences: Sequence[Difference], baseline: str) -> list[str]:
    by: dict[str, list[str]] = {}
    for own in sorted(differences, key=lambda own: own.estimate):
        near = any(round(end, 2) == 0 for end in (skill(own).low, skill(own).high))
        shown = f" (skill {interval_text(skill(own), 3 if near else 2)})" if own.verdict in ("better", "worse") else ""
        by.setdefault(own.verdict, []).append(f"{own.a}{shown}")
    settled = [f"{word} {baseline}: {listed(by[verdict])}" for verdict, word in WORDS.items() if verdict in by]
    rest = by.get("open", [])
    if not settled:
        return [f"For tasks like these no method is shown to be better or worse than {baseline}, nor equivalent to it."]
    open_ones = [f"Not settled against {baseline}: {listed(rest)}."] if rest else []
    return [f"For tasks like these, {'; '.join(settled)}.", *open_ones]


def skill(own: Difference) -> Estimate:
    """Return the skill that a difference from the baseline (of logarithms of distances to the ideal) stands for."""
    value, low, high = (0.0 - math.expm1(one) for one in (own.estimate, own.high, own.low))
    return Estimate(value, low, high)


def interval_text(own: Estimate, decimals: int = 2) -> str:
    """Return `0.31 [0.12, 0.46]`, without an interval where there is none; a dash without a value."""
    if math.isnan(own.value):
        return "\N{EN DASH}"
    value, low, high = (f"{round(one, decimals) + 0.0:.{decimals}f}" for one in (own.value, own.low, own.high))  # no -0.00
    return value if math.isnan(own.low) else f"{value} [{low}, {high}]"


def _by_seeds(one: Measured) -> list[str]:
    """What is proven within tasks by seeds: against the baseline, in how many tasks; and what is open."""
    tested = {task: found for task, found in one.against.items() if found.differences}
    untested = [task for task in one.against if task not in tested]
    sentences = [f"No verdict by seeds in {some(untested)}: too few common seeds to estimate a variance."] if untested else []
    if not tested:
        return sentences
    baseline, parts = one.plan.baseline, []
    for verdict, word in WORDS.items():
        tasks = Counter(own.a for found in tested.values() for own in found.differences if own.verdict == verdict)
        names = [entry if len(tested) == 1 else f"{entry} ({count})" for entry, count in tasks.most_common()]
        parts += [f"{word} {baseline}: {listed(names)}"] if names else []
    within = f"By seeds within {'task ' + next(iter(tested)) if len(tested) == 1 else counted(len(tested), 'task')}"
    proven = f"{'' if len(tested) == 1 else ' (in brackets: in how many)'}, {'; '.join(parts)}" if parts else \
        f" no method is shown to be better or worse than {baseline}, nor equivalent to it"
    return [*sentences, f"{within}{proven}.", *_open([own for found in tested.items() for own in _of(*found)])]


def _of(task: str, found: Comparison) -> list[tuple[str, Difference]]:
    return [(task, own) for own in found.differences]


def _open(every: Sequence[tuple[str, Difference]]) -> list[str]:
    """How much is open within tasks, and how many more seeds would settle it."""
    rest = [(task, own) for task, own in every if own.verdict == "open"]
    if not rest:
        return []
    if len(rest) <= NAMED:
        return [f"Open there: {listed([f'{own.a} in {task} ({seeds_text(own.further_seeds)})' for task, own in rest])}."]
    more = sorted((math.inf if own.further_seeds is None else own.further_seeds) for _, own in rest)
    half, most = more[(len(more) - 1) // 2], more[math.ceil(0.9 * len(more)) - 1]
    beyond = sum(math.isinf(number) for number in more)
    number = f"All {len(every)}" if len(rest) == len(every) else f"{len(rest)} of the {len(every)}"
    if math.isinf(half):
        return [f"{number} differences there are open; {'all' if beyond == len(rest) else beyond} want more than 1,000 further "
                "seeds."]
    want = "wants" if beyond == 1 else "want"
    settle = "" if math.isinf(most) else f", {most:,.0f} nine in ten"
    return [f"{number} differences there are open. If they are as large as measured, {seeds_text(int(half))} would settle half "
            f"of them{settle}{f'; {beyond} {want} more than 1,000' if beyond else ''}."]


def _dependence(one: Measured) -> list[str]:
    """How much the order of the estimates depends on one task."""
    if len(one.scores.without) < LEAST_TASKS:
        return []
    most, order = one.scores.depends_on, one.scores.order
    if most is None:
        return ["The order of the estimates is the same whichever task is left out."]
    firsts = {own.order[0] for own in one.scores.without}
    first = f"{order[0]} stays first whichever task is left out" if firsts == {order[0]} else \
        f"without {most.task}, {most.order[0]} would be first instead of {order[0]}" if most.order[0] != order[0] else \
        f"{order[0]} is not first without {listed([own.task for own in one.scores.without if own.order[0] != order[0]])}"
    return [f"The order of the estimates depends most on {most.task}: without it Kendall's tau with the order of all tasks is "
            f"{most.tau:.2f}; {first}."]


def of_costs(tables: SuiteTables) -> list[str]:
    """Return what costs what, and which methods no other one beats in score and cost."""
    baseline, sentences = tables.results.plan.baseline, []
    for cost, words in COSTS.items():
        ratios = {entry: value for entry, value in tables.cost_of(cost, "ratio").items() if not math.isnan(value)}
        if ratios:
            sentences.append(f"{words[0].upper()}{words[1:].replace(' in seconds', '').replace(' in MB', '')}, as multiples of "
                             f"{baseline}'s: {_grouped(ratios)}.")
    fronts: list[str] = []
    for measurement in tables.measurements:
        of = {scope: tables.front(one) for scope, one in tables.of(measurement).items() if scope in SCOPES}
        same = len(set(of.values())) < len(of)
        best = [f"{listed(list(front))} ({'few and all classes' if same else SCOPES[scope]})" for scope, front in of.items()
                if front and not (same and scope != FEW)]
        fronts += [f"{next(iter(tables.of(measurement).values())).score}: {'; '.join(best)}."] if best else []
    if fronts:
        sentences.append(f"Pareto front of score and {COSTS[tables.cost]}, by the estimates (no other method is as good and "
                         f"costs no more): {' '.join(fronts)}")
    return sentences


def _grouped(ratios: Mapping[str, float]) -> str:
    """`0.75 ddpm; 1 cfg, oc and cm; 1.5 ccua`, ascending, values that are nearly equal together."""
    groups: list[tuple[float, list[str]]] = []
    for entry, ratio in sorted(ratios.items(), key=lambda pair: pair[1]):
        if groups and ratio <= groups[-1][0] * (1 + EQUAL_COST):
            groups[-1][1].append(entry)
        else:
            groups.append((ratio, [entry]))
    return "; ".join(f"{ratio:.2f} {listed(names)}" for ratio, names in groups)


def of_runs(tables: SuiteTables) -> list[str]:
    """Return how many runs there are, what is missing or failed, by which policy it is treated, and what was left out."""
    results, states = tables.results, tables.results.states
    done = int((states["state"] == "done").sum())
    sentences = [f"{done} of {counted(len(states), 'run')} done."]
    rest = results.unfinished
    if len(rest):
        policy = {"drop": "seeds and tasks that not all methods have are left out of skills, win rates and ranks (policy 'drop')",
                  "impute": f"the score of {results.plan.baseline} stands for theirs (policy 'impute')",
                  "error": ""}[tables.policy]
        sentences += [f"Without a score, so that {policy}: {'; '.join(gaps(rest))}."]
    absent = [method for method in results.plan.entries if method not in set(states.loc[states["state"] == "done", "method"])]
    sentences += [f"Not compared, since no run of them is done: {listed(absent)}."] if absent else []
    return [*sentences, *(f"{sentence[0].upper()}{sentence[1:]}." for sentence in results.left_out),
            *tables.shared_notes, *tables.notes]
