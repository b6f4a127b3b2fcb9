"""What profiles say of rules and of resources: what nobody would read is told."""

import re
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from project import ROOT
from selfdistill.checks import LOADING
from selfdistill.profiles import NUMBERS, WORDS, faults_of_resources
from snakemake.cli import parse_set_resources, parse_set_threads
from snakemake.resources import Resources
from snakemake.settings.types import ResourceSettings

RULES = [*LOADING, "make_ledger"]


def faults(
    by_rule: dict[str, dict[str, object]],
    *,
    default: dict[str, object] | None = None,
    threads: dict[str, object] | None = None,
    executors: tuple[str, ...] = (),
    gpus: bool = True,
    **settings: dict[str, object],
) -> list[str]:
    """The sentences for what Snakemake makes of a profile's entries."""
    words = [f"{rule}:{name}={value}" for rule, given in by_rule.items() for name, value in given.items()]
    defaults = [f"{name}={value}" for name, value in (default or {}).items()]
    made = ResourceSettings(
        overwrite_resources=parse_set_resources(words),
        overwrite_threads=parse_set_threads([f"{rule}={number}" for rule, number in (threads or {}).items()]),
        default_resources=Resources.parse(defaults, allow_expressions=True, defaults="full"),
        **settings,
    )
    workflow = SimpleNamespace(resource_settings=made, rules=[SimpleNamespace(name=name) for name in RULES])
    return faults_of_resources(workflow, gpus=gpus, executors=executors)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"cpu_per_task": 4}, "set-resources: train_sft: no resource 'cpu_per_task' (did you mean 'cpus_per_task'?)"),
        ({"gpus": 4}, "set-resources: train_sft: no resource 'gpus' (did you mean 'gpu'?)"),
        ({"xyz": 4}, "set-resources: train_sft: no resource 'xyz'; known: accelerate, "),
        ({"gpu": 0}, "set-resources: train_sft.gpu: its jobs load a model with vLLM, which needs a GPU (found 0)"),
        ({"gpu": "two"}, "set-resources: train_sft.gpu: expected a number of at least 0 (found 'two')"),
        ({"nodes": 0}, "set-resources: train_sft.nodes: expected a number of at least 1 (found 0)"),
        ({"nodes": "attempt - 1"}, "set-resources: train_sft.nodes: expected a number of at least 1 (found 'attempt"),
        ({"gpu": "attempt / 0"}, "set-resources: train_sft.gpu: expected a number"),
        (
            {"mem_mb": "500G"},
            "set-resources: train_sft.mem_mb: expected a number of MB; 'mem' takes units, such",
        ),
        ({"runtime": "lots"}, "set-resources: train_sft.runtime: expected a number of minutes, or a time such as 12h"),
        ({"slurm_partition": ""}, "set-resources: train_sft.slurm_partition: nothing is given; leave the line out"),
        ({"slurm_account": None}, "set-resources: train_sft.slurm_account: nothing is given; leave the line out"),
    ],
)
def test_a_resource_that_says_nothing_is_told(given, sentence):
    (told,) = faults({"train_sft": given})
    assert told.startswith(sentence)


def test_so_are_rules_defaults_threads_limits_and_scopes():
    for told, sentence in (
        (faults({"train_stf": {"gpu": 1}}), "set-resources: no rule 'train_stf' (did you mean 'train_sft'?)"),
        (faults({}, threads={"train_stf": 2}), "set-threads: no rule 'train_stf' (did you mean 'train_sft'?)"),
        (faults({}, threads={"train_sft": "x"}), "set-threads: train_sft: expected a number of at least 1 (found 'x')"),
        (faults({}, default={"slurm_acount": "a"}), "default-resources: no resource 'slurm_acount' (did you mean"),
        (faults({}, default={"slurm_partition": ""}), "default-resources.slurm_partition: nothing is given"),
        (faults({}, resources={"gpus": 1}), "resources: gpus: no resource 'gpus' (did you mean 'gpu'?)"),
        (faults({}, overwrite_resource_scopes={"node": "local"}), "set-resource-scopes: node: no resource 'node'"),
    ):
        assert len(told) == 1 and told[0].startswith(sentence), told


@pytest.mark.parametrize(
    "given",
    [
        {"runtime": "min(720 * attempt, 1440)", "mem": "500G", "slurm_extra": "'--nice=100'", "constraint": "a&b"},
        {"runtime": "12h", "mem_mb": "1000 if wildcards.model == 'x' else 5", "slurm_partition": "gpu", "gpu": 1},
        {"mem_mb": "max(2 * input.size_mb, 1000)", "gpu": 0, "gres": "gpu:4", "micro_batch_size": 2},
    ],
)
def test_what_means_something_is_taken(given):
    assert faults({"train_sft": given}) == []


def test_a_resource_of_one_s_own_has_a_limit_or_an_executor_that_reads_it():
    own = {"train_sft": {"licences": 1}}
    assert len(faults(own)) == len(faults(own, executors=("slurm",))) == 1
    assert faults(own, resources={"_cores": 2, "licences": 1}) == faults(own, executors=("lsf",)) == []
    assert faults({"train_sft": {"gpu": 0}}, gpus=False) == faults({"draw_fig_3": {"mem_mb": 1000}}) == []


@pytest.mark.parametrize("name", ["one_gpu", "slurm"])
def test_the_shipped_profiles_say_nothing_in_vain(name, monkeypatch):
    profile = yaml.safe_load((ROOT / "profiles" / name / "config.yaml").read_text())
    monkeypatch.setattr(f"{__name__}.RULES", list(profile["set-resources"]))
    limits = {"resources": profile.get("resources", {})}
    assert faults(profile["set-resources"], default=profile.get("default-resources", {}), **limits) == []


def test_what_the_executor_for_slurm_reads_is_known():
    """Of its own source: what is asked of a job's resources by name, or as an attribute."""
    package = Path(find_spec("snakemake_executor_plugin_slurm").origin).parent
    read = {
        name
        for file in package.rglob("*.py")
        for named in re.findall(r"resources(?:\.get\(\s*\"(\w+)\"|\.(\w+)\b(?!\())", file.read_text())
        for name in named
    } - {"", "get"}
    assert {"gres", "slurm_partition", "tasks_per_gpu"} <= read <= {*NUMBERS, *WORDS}
