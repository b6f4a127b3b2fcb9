"""What profiles and the command line say of rules: that the rules are there, and that resources reach their jobs.

Snakemake takes any name of a rule and of a resource, and what nobody reads changes nothing.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from selfdistill.artifacts import FIGURES
from selfdistill.checks import LOADING
from selfdistill.errors import nearest

# Resources that are numbers, with the least that means something (`mem_mb: 0` is all of a SLURM node's memory), and
# those that are words: Snakemake's, what its executor for SLURM submits with, and at last those of our training rules.
# Not `gpus`: inside a job of SLURM it asks for GPUs that the job was not submitted with.
NUMBERS = {
    "mem": 0, "mem_mb": 0, "mem_mib": 0, "disk": 0, "disk_mb": 0, "disk_mib": 0, "runtime": 1,
    "gpu": 0, "nodes": 1, "tasks": 1, "tasks_per_node": 1, "tasks_per_gpu": 0, "cpus_per_task": 1, "cpus_per_gpu": 0,
    "mem_mb_per_cpu": 0, "threads": 1,
    "micro_batch_size": 1, "micro_batch_tokens": 1, "vllm_memory": 1,
}  # fmt: skip
WORDS = (
    "tmpdir",
    "slurm_account", "slurm_partition", "slurm_extra", "slurm_cluster", "cluster", "clusters", "constraint", "qos",
    "gres", "gpu_model", "mpi",
    "accelerate",
)  # fmt: skip
UNITS = {"runtime": " of minutes, or a time such as 12h", "mem_mb": " of MB; 'mem' takes units, such as 500G"}
CHECKED = ("local", "slurm")  # executors whose resources are known here
OF_THE_JOB = re.compile(r"\b(wildcards|input)\b")

Faults = Iterator[str]
Resources = Mapping[str, Any]


def faults_of_resources(workflow: Any, *, gpus: bool, executors: Iterable[str]) -> list[str]:
    """A sentence for each rule that is given something and that there is not, and for each resource that says nothing.

    ``gpus``: whether jobs that load a model need one. ``executors``: those that are named; others than `CHECKED` may
    have resources of their own.
    """
    given = workflow.resource_settings
    by_place: dict[str, Resources] = {"default-resources": given.default_resources or {}}
    by_place |= {f"set-resources: {rule}": resources for rule, resources in given.overwrite_resources.items()}
    found = [
        *_unknown_rules("set-resources", given.overwrite_resources, workflow),
        *_unknown_rules("set-threads", given.overwrite_threads, workflow),
    ]
    if set(executors) <= set(CHECKED):
        limits = {f"resources: {name}": [name] for name in given.resources if name[0] != "_"}  # Snakemake's own
        scopes = {f"set-resource-scopes: {name}": [name] for name in given.overwrite_resource_scopes}
        found += _unknown_resources(by_place | limits | scopes, by_place, given.resources)
    for place, resources in by_place.items():
        found += (told for name, one in resources.items() for told in _of_wrong_form(f"{place}.{name}", name, one))
    for rule, threads in given.overwrite_threads.items():
        found += _of_wrong_form(f"set-threads: {rule}", "threads", threads)
    if gpus:
        found += _without_gpu(given.overwrite_resources)
    return found


def _unknown_rules(place: str, names: Iterable[str], workflow: Any) -> Faults:
    # A profile serves all studies, of which each draws some of the figures.
    known = sorted({rule.name for rule in workflow.rules} | {f"draw_{figure}" for figure in FIGURES})
    for name in names:
        if name not in known:
            yield f"{place}: no rule '{name}'{nearest(name, known)}; `snakemake --list-rules` shows all"


def _unknown_resources(
    by_place: Mapping[str, Iterable[str]], used: Mapping[str, Resources], limited: Collection[str]
) -> Faults:
    own = set(limited) & {name for resources in used.values() for name in resources}
    known = sorted({*NUMBERS, *WORDS, *own})
    for place, names in by_place.items():
        for name in names:
            if name not in known:
                hint = nearest(name, known) or f"; known: {', '.join(known)}, and those that 'resources' limits"
                yield f"{place}: no resource '{name}'{hint}"


def _of_wrong_form(place: str, name: str, resource: Any) -> Faults:
    raw = resource.raw
    if resource.is_evaluable() and (raw is None or OF_THE_JOB.search(raw)):
        return  # what it is depends on the job
    value = _evaluated(resource)
    if raw in ("", "None"):
        yield f"{place}: nothing is given; leave the line out where nothing is meant"
    elif name in NUMBERS and (type(value) is not int or value < NUMBERS[name]):
        what = UNITS.get(name, f" of at least {NUMBERS[name]}")
        yield f"{place}: expected a number{what} (found {raw!r:.80})"
    elif name in WORDS and value is None:
        yield f"{place}: expected a word (found {raw!r:.80}); what looks like an expression needs two kinds of quotes"


def _evaluated(resource: Any) -> Any:
    """The value at a job's first try; None for an expression that has none."""
    try:
        return resource.evaluate(wildcards=None, input=None, attempt=1, threads=1, rulename="", async_run=None).value
    except Exception:  # of Snakemake's parsing, or whatever the expression raises
        return None


def _without_gpu(by_rule: Mapping[str, Resources]) -> Faults:
    for rule in sorted(LOADING & by_rule.keys()):
        given = by_rule[rule]
        if "gpu" in given and "gres" not in given and _evaluated(given["gpu"]) == 0:
            yield f"set-resources: {rule}.gpu: its jobs load a model with vLLM, which needs a GPU (found 0)"
