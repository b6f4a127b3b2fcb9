"""Base models of several seeds: one entry of the configuration that stands for a model of each.

``microcosm: {source: microcosm, seeds: [0, 1]}`` stands for ``microcosm_seed0`` and ``microcosm_seed1``, and an entry
that uses its weights (``of: microcosm``) for one model of each as well. They are one family. Where the name of such an
entry is listed, all of its models are meant.
"""

from collections.abc import Iterator, Mapping
from typing import Any

Members = dict[str, dict[int, str]]  # by name of an entry: the model of each seed


def members_of(models: Mapping[str, Any]) -> Members:
    """The models that entries stand for which have several seeds, or the weights of one that has."""
    found = {name: _seeds(models, name) for name in models}
    return {name: {seed: f"{name}_seed{seed}" for seed in seeds} for name, seeds in found.items() if seeds}


def clashes(models: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """A place and a sentence for each model that an entry stands for and that has an entry of its own."""
    for name, members in members_of(models).items():
        for member in members.values():
            if member in models:
                yield f"models.{member}", f"is also one of the models that '{name}' stands for, by its seeds"


def each_seed(values: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration with a model of its own for each seed, wherever its entry is named; the rest as it is."""
    given = dict(values)
    if not isinstance(given.get("models"), Mapping):
        return given
    members = members_of(given["models"])
    given["models"] = dict(_entries(given["models"], members))
    for section in ("selection", "sft"):
        if isinstance(given.get(section), Mapping) and isinstance(given[section].get("models"), list):
            given[section] = {**given[section], "models": _listed(given[section]["models"], members)}
    onpolicy = given.get("onpolicy")
    if isinstance(onpolicy, Mapping) and isinstance(onpolicy.get("runs"), list):
        given["onpolicy"] = {**onpolicy, "runs": [_of_each(row, members) for row in onpolicy["runs"]]}
    return given


def _seeds(models: Mapping[str, Any], name: str) -> list[int]:
    """The seeds of an entry, or of the one whose weights it uses; none where they are not what they should be."""
    passed: list[str] = []
    while isinstance(entry := models.get(name), Mapping) and name not in passed:
        passed.append(name)
        seeds = entry.get("seeds")
        if seeds is not None:
            sound = isinstance(seeds, list) and all(type(seed) is int and seed >= 0 for seed in seeds)
            return seeds if sound and len(set(seeds)) == len(seeds) else []
        name = str(entry.get("of"))
    return []


def _entries(models: Mapping[str, Any], members: Members) -> Iterator[tuple[str, Any]]:
    for name, entry in models.items():
        if name not in members:
            yield name, entry
        for seed, member in members.get(name, {}).items():
            own = {"seed": seed} if entry.get("of") is None else {"of": members[entry["of"]][seed]}
            shared = {key: value for key, value in entry.items() if key != "seeds"}
            yield member, {**shared, "family": entry.get("family") or name, **own}


def _listed(names: list[Any], members: Members) -> list[Any]:
    several = [list(members[name].values()) if _is_one(name, members) else [name] for name in names]
    return [name for each in several for name in each]


def _of_each(row: Any, members: Members) -> Any:
    if not isinstance(row, Mapping) or "model" not in row:
        return row
    if isinstance(row["model"], list):
        return {**row, "model": _listed(row["model"], members)}
    return {**row, "model": _listed([row["model"]], members)} if _is_one(row["model"], members) else row


def _is_one(name: Any, members: Members) -> bool:
    return isinstance(name, str) and name in members
