"""A trial of a study: its jobs once of each kind, on its own models and as small as can be, before a cluster is spent.

`config/trial.yaml`, laid over any study, asks for one. Responses are so short that hardly any is right; so whatever
waits for right ones takes wrong ones as well. Its numbers mean nothing.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from selfdistill.settings import Count, Tokens, key, settings
from selfdistill.training.methods import SDPO, SELF_TAUGHT

SUFFIX = "_trial"  # of the name of its study
SAMPLES = 2  # responses to each problem
Values = dict[str, Any]
# Keys that distinguish kinds of on-policy runs: weights, loss, data, or a teacher that is another model.
KIND = ("model", "method", "problem_set", "moving")


@settings
class Trial:
    """How small a trial is."""

    problems: Count = key(4, doc="Problems of each set, and prompts per step.")
    steps: Count = key(2, doc="Steps of training.")
    tokens: Tokens = key(256, doc="Longest response.")


def reduced(values: Mapping[str, Any]) -> Values:
    """The configuration of the trial that ``values``, a whole configuration in plain values, ask for."""
    trial, kept = Trial(**values["trial"]), _first_of_each(values["models"])
    trained = _of(values["sft"]["models"] or values["selection"]["models"], kept)
    benchmarks, evaluated = _benchmarks(values), _one_of(values["evaluation"]["benchmarks"], values)
    asked = {values["selection"]["problem_set"], *evaluated, *benchmarks, *itertools.chain(*benchmarks.values())}
    runs = _runs(_rows(values["onpolicy"]["runs"], kept))
    rates = {run["method"]: run["learning_rate"] for run in runs}
    released = list(_released(values["onpolicy"]["released"], rates))
    used = {*trained, *(run["model"] for run in [*runs, *released]), *(run["checkpoint"] for run in released)}
    return {
        **values,
        "study": values["study"].removesuffix(SUFFIX) + SUFFIX,
        "models": dict(_models(values["models"], used, trial)),
        "pretraining": {**values["pretraining"], "preset": "tiny", "held_out": None},
        "problem_sets": {
            name: problem_set | {"size": _at_most(problem_set["size"], trial.problems)}
            for name, problem_set in values["problem_sets"].items()
            if name in asked
        },
        "sampling": {name: _short(sampling, trial) for name, sampling in values["sampling"].items()},
        "selection": _selection(values["selection"], trial) | {"models": trained[:1]},
        # no "alignment": a gradient of success needs responses that are right
        "guidance": {"samples": SAMPLES, "information": values["guidance"]["information"]},
        "sft": _sft(values["sft"], trial) | {"models": trained[:1] if values["sft"]["models"] else []},
        "onpolicy": _onpolicy(values["onpolicy"], trial)
        | {"runs": runs, "released": released, "benchmarks": benchmarks},
        "evaluation": {"benchmarks": evaluated, "samples": SAMPLES, "words": _words(values["evaluation"]["words"])},
        "figures": values["figures"] | {"views": _of_runs(values["figures"]["views"], rates)},
        "claims": {"roles": _roles(values["claims"]["roles"], rates, benchmarks)},
    }


def _at_most(size: int | None, most: int) -> int:
    return most if size is None else min(size, most)


def _short(sampling: Mapping[str, Any], trial: Trial) -> Values:
    return {**sampling, "max_tokens": min(sampling["max_tokens"], trial.tokens)}


# --- models -----------------------------------------------------------------------------------------------------------


def _first_of_each(models: Mapping[str, Any]) -> set[str]:
    """Of models of one family that are asked alike, such as those of several seeds, the first."""
    first: dict[tuple[object, ...], str] = {}
    for name, model in models.items():
        asked = (model["enable_thinking"] is not False, model["instruction"], model["system"], model["answer_in"])
        first.setdefault((model["family"] or name, *asked), name)
    return set(first.values())


def _of(names: Iterable[str], kept: set[str]) -> list[str]:
    return [name for name in names if name in kept]


def _models(models: Mapping[str, Any], used: set[str], trial: Trial) -> Iterator[tuple[str, Values]]:
    """The models that are used, and those whose weights they share."""
    wanted, shared = set(used), {models[name]["of"] for name in used}
    while shared := {name for name in shared if name is not None and name not in wanted}:
        wanted |= shared
        shared = {models[name]["of"] for name in shared}
    for name, model in models.items():
        if name in wanted:
            yield name, model | {"evaluate": model["evaluate"] and _short(model["evaluate"], trial)}


# --- sections ---------------------------------------------------------------------------------------------------------


def _selection(selection: Mapping[str, Any], trial: Trial) -> Values:
    """The first problems, whatever their solve rate."""
    return {**selection, "rollouts": SAMPLES, "low": 0, "high": 1, "target": trial.problems, "batch": trial.problems}


def _sft(sft: Mapping[str, Any], trial: Trial) -> Values:
    """One step per epoch, of all examples."""
    examples = SAMPLES * trial.problems
    return {
        **sft,
        "responses": examples,
        "at_least": 1,
        "per_problem": SAMPLES,
        "max_draws": SAMPLES,
        "learning_rates": sft["learning_rates"][:1],
        "edited": [],  # responses that are cut are not written to their end: none can be edited
        "epochs": trial.steps,
        "batch_size": examples,
        "micro_batch_size": math.gcd(sft["micro_batch_size"], examples),
        "warmup_steps": 1,
    }


def _onpolicy(onpolicy: Mapping[str, Any], trial: Trial) -> Values:
    """Any response may demonstrate."""
    sequences = trial.problems * onpolicy["rollouts"]
    updates = onpolicy["updates_per_step"] if sequences % onpolicy["updates_per_step"] == 0 else 1
    return {
        **onpolicy,
        "steps": trial.steps,
        "checkpoint_steps": [trial.steps],
        "batch_size": trial.problems,
        "updates_per_step": updates,
        "micro_batch_size": math.gcd(onpolicy["micro_batch_size"], sequences // updates),
        "warmup_steps": 1,
        "window": 1,
        "subsets": {},
        "evaluation_samples": SAMPLES,
        "evaluation_problems": None,
        "evaluation_deep": None,
        "evaluation_trained": {"problems": trial.problems, "samples": SAMPLES},
        SDPO: onpolicy[SDPO] | {"success_threshold": 0},
    }


def _rows(rows: Iterable[Mapping[str, Any]], kept: set[str]) -> Iterator[Values]:
    """The runs of the models ``kept`` that a list of rows stands for, one for each `KIND` in a row."""
    for row in rows:
        listed = {name: value if isinstance(value, list) else [value] for name, value in row.items()}
        told = (listed[name] for name in ("model", "method", "problem_set", "teacher_update_rate"))
        for model, method, problem_set, teacher in itertools.product(*told):
            chosen = {"model": model, "method": method, "problem_set": problem_set}
            if method in SELF_TAUGHT:
                chosen |= {"context": listed["context"][0], "teacher_update_rate": teacher}
            if model in kept:
                yield chosen | {"learning_rate": listed["learning_rate"][0]}


def _runs(rows: Iterable[Values]) -> list[Values]:
    """The first run of each kind, all of a method at one rate."""
    rates: dict[str, float] = {}
    found: dict[tuple[object, ...], Values] = {}
    for row in rows:
        rate = rates.setdefault(row["method"], row["learning_rate"])
        kind = tuple((row | {"moving": bool(row.get("teacher_update_rate"))})[name] for name in KIND)
        found.setdefault(kind, row | {"learning_rate": rate})
    return list(found.values())


def _released(rows: Iterable[Values], rates: dict[str, float]) -> Iterator[Values]:
    """For each model and method, the first run trained elsewhere. Adds learning rates of new methods to ``rates``."""
    seen: set[tuple[str, str]] = set()
    for row in rows:
        rate = rates.setdefault(row["method"], row["learning_rate"])
        if (row["model"], row["method"]) not in seen:
            seen.add((row["model"], row["method"]))
            yield row | {"learning_rate": rate, "steps": None}


# --- what is asked of them --------------------------------------------------------------------------------------------


def _one_of(benchmarks: Iterable[str], values: Mapping[str, Any]) -> list[str]:
    """One benchmark: the first that a role calls its hardest, if any does; beside it, what runs train on."""
    listed = list(benchmarks)
    hardest = [role["hardest"] for role in values["claims"]["roles"].values() if role is not None]
    unseen = [name for name in listed if name in values["problem_sets"]]
    first = [*(name for name in hardest if name in unseen), *unseen][:1]
    return [*first, *(name for name in listed if name not in unseen)]


def _words(words: Mapping[str, Any]) -> Values:
    """The first words that models are kept from, and the first that they are held to."""
    first = {bool(each["forced"]): name for name, each in reversed(words.items())}
    return {name: each for name, each in words.items() if name in first.values()}


def _benchmarks(values: Mapping[str, Any]) -> dict[str, list[str]]:
    return {trained: _one_of(tested, values) for trained, tested in values["onpolicy"]["benchmarks"].items()}


def _of_runs(views: Mapping[str, Any], rates: Mapping[str, float]) -> Values:
    """Views (or roles) limited to the learning rates that the trial runs."""
    return {name: view and view | {"rates": _kept(view["rates"], rates), "top_k": 100} for name, view in views.items()}


def _kept(asked: Mapping[str, Any], rates: Mapping[str, float]) -> Values:
    return {
        method: [rates[method]] if isinstance(rate, list) else rates[method]
        for method, rate in asked.items()
        if method in rates
    }


def _roles(roles: Mapping[str, Any], rates: Mapping[str, float], benchmarks: Mapping[str, list[str]]) -> Values:
    found = _of_runs(roles, rates)
    for name, role in found.items():
        tested = benchmarks.get(role["problem_set"], []) if role else []
        if tested and role["hardest"] not in tested:
            found[name] = role | {"hardest": tested[0]}
    return found
