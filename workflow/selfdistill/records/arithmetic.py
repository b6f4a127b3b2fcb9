"""Which arithmetic made a results tree, as its records tell: what libraries used, and on which processors."""

from collections import defaultdict
from pathlib import Path

from selfdistill.records.bundle import Records

# In a record, beside the libraries in use. numba compiles for the processor at hand, but sums in the order that is
# written down: its target is a fact of the machine.
MACHINE = ("processor", "instruction sets", "numba")
Arithmetic = dict[str, set[str]]


def of(root: Path) -> Arithmetic:
    """The arithmetic in the records of the tree ``root``: each fact with all its values; empty if none is recorded."""
    found: Arithmetic = defaultdict(set)
    for record in Records(root, lambda _: None).all().values():
        if (machine := record.content.get("machine")) is None:
            continue
        found["processor"].add(machine["processor"])
        found["instruction sets"].add(machine["instruction_sets"])
        for library, used in machine["in_use"].items():
            found[library].add(used.partition(",")[0])  # without the number of threads, which is the job's
        found["version of torch"].add(record.content["packages"]["torch"])
    return dict(found)


def mixed(root: Path) -> str | None:
    """A sentence where files of one tree were made by different arithmetic."""
    several = {name: values for name, values in of(root).items() if name not in MACHINE and len(values) > 1}
    return f"{root} was made by more than one arithmetic: {_told(several)}" if several else None


def compared(first: Path, second: Path) -> str:
    """One sentence: whether two trees were made by the same arithmetic."""
    one, other = of(first), of(second)
    silent = [str(root) for root, found in ((first, one), (second, other)) if not found]
    if silent:
        return f"No record in {' and '.join(silent)} says by which arithmetic it was made."
    differing = sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
    used = {name: values for name, values in one.items() if name not in MACHINE}
    if not differing:
        return f"Both were made by the same arithmetic, on the same kind of processor: {_told(used)}."
    sides = "; ".join(f"{name} {_values(one.get(name))}, in {second} {_values(other.get(name))}" for name in differing)
    if set(differing) <= set(MACHINE):
        return f"Both were made by the same arithmetic ({_told(used)}), on other processors: {sides}."
    return f"They were made by DIFFERENT arithmetic: {sides}."


def _told(found: Arithmetic) -> str:
    return ", ".join(f"{name} {_values(values)}" for name, values in sorted(found.items()))


def _values(values: set[str] | None) -> str:
    return " and ".join(sorted(values)) if values else "not in use"
