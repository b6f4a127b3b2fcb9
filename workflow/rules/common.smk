"""Configuration, paths and look-ups that the rules share; no rules.

Everything below results/{study} is a declared output. Shards and checkpoints live in work/{study}, because
Snakemake deletes the declared outputs of a job that failed.
"""

import shlex
import sys
from pathlib import Path

from selfdistill.code_digest import PACKAGE_ROOT, code_digest
from selfdistill.config import parse as parse_config
from selfdistill.problems import pinned_revision

CONFIG = parse_config(config)
RESULTS = f"results/{CONFIG.study}"
WORK = f"work/{CONFIG.study}"
LOGS = f"logs/{CONFIG.study}"
SCRIPTS = PACKAGE_ROOT / "scripts"
ENVIRONMENT = "../../envs/base.yaml"

MICROCOSM_MODELS = [
    name for name, model in CONFIG.models.items() if model.source == "microcosm"
]
FETCHED_MODELS = [name for name in CONFIG.models if name not in MICROCOSM_MODELS]
SFT_SETS = ["unguided", "guided", "unguided_unfiltered"]
SFT_RUNS = [
    f"sft-{name}-lr{rate:g}" for name in SFT_SETS for rate in CONFIG.sft.learning_rates
]

# Section 3's settings, and the traces whose responses serve as context c: s comes from the draw that selected the
# problems, y~ from solution-guided generation. "unselected" takes y~ as it comes, the authors the first correct one.
CONTEXT_TABLES = {
    "unguided": [],
    "solution": ["selection"],
    "solution_without_thinking": ["selection"],
    "regeneration": ["solution"],
    "regeneration_unselected": ["solution"],
}
SETTINGS = list(CONTEXT_TABLES)

SFT_SETTINGS = [
    "epochs",
    "batch_size",
    "micro_batch_size",
    "warmup_steps",
    "weight_decay",
    "max_grad_norm",
    "max_tokens",
]
# Figure 2 sets a response of the base model beside one of the model that guided fine-tuning changed most.
EXAMPLES = {
    "model": CONFIG.sft.models[0],
    "run": f"sft-guided-lr{max(CONFIG.sft.learning_rates):g}",
    "benchmark": CONFIG.evaluation.benchmarks[-1],
}

# The interpreter that runs the workflow also runs its stages, unless a rule brings its own environment.
OWN_ENVIRONMENTS = "conda" in {
    str(m) for m in workflow.deployment_settings.deployment_method
}
INTERPRETER = (
    "" if OWN_ENVIRONMENTS else f"export PATH={Path(sys.executable).parent}:$PATH; "
)
# Two OpenMP teams on two cores spin against each other unless they wait passively.
shell.prefix(
    f"set -euo pipefail; {INTERPRETER}export PYTHONPATH={PACKAGE_ROOT} "
    "OMP_WAIT_POLICY=passive TOKENIZERS_PARALLELISM=false PYTHONHASHSEED=0; "
)


wildcard_constraints:
    model="[^/]+",
    run="base|sft-[^/]+",
    dataset="|".join(SFT_SETS),


def code(stage):
    """Digest of the code behind a stage: a changed constant or function reruns the stages that use it."""
    return code_digest(f"selfdistill.stages:{stage}")


def script_code(name):
    """The same for a script and the library code that it reaches."""
    return code_digest(SCRIPTS / f"{name}.py")


def flags(section, *names):
    """Configuration values as command-line flags; all keys of ``section`` when none is named."""
    values = (
        {name: getattr(section, name) for name in names} if names else dict(section)
    )
    return " ".join(
        f"--{name.replace('_', '-')} {value}"
        for name, value in values.items()
        if value is not None
    )


def thinking_flag(wildcards):
    """The chat template's switch for thinking, where a model sets it."""
    thinking = CONFIG.models[wildcards.model].enable_thinking
    return "" if thinking is None else f"--enable-thinking {str(thinking).lower()}"


def instruction_flag(wildcards):
    """The line that a model's prompts add to a problem."""
    return f"--instruction {shlex.quote(CONFIG.models[wildcards.model].instruction)}"


def name_flags(wildcards):
    """What a stage's outputs are labelled with."""
    return f"--study {CONFIG.study} --model-name {wildcards.model}"


def draw_flags(wildcards):
    """How a model is prompted and seeded, and where its finished shards lie."""
    prompt = (
        f"{instruction_flag(wildcards)} {thinking_flag(wildcards)} --seed {CONFIG.seed}"
    )
    return f"{prompt} {name_flags(wildcards)} --work-dir {WORK}/traces"


def train_flags(wildcards):
    """How a training run is seeded, and where its checkpoints lie."""
    return f"{thinking_flag(wildcards)} --seed {CONFIG.seed} --work-dir {WORK}/training/{wildcards.model}/{wildcards.run}"


def context_table(wildcards):
    """The traces that provide a setting's context; none for unguided generation."""
    return [
        f"{RESULTS}/traces/{wildcards.model}/{table}.parquet"
        for table in CONTEXT_TABLES[wildcards.setting]
    ]


def at_commit(source):
    """A model or problem set with the lock file's commit in place of ``locked``, so that a new one causes a rerun."""
    if source.source != "hub":
        return source
    return source.model_copy(
        update={"revision": pinned_revision(source.repo, source.revision)}
    )


def problem_set_flags(wildcards):
    """A problem set's configuration as flags."""
    return flags(at_commit(CONFIG.problem_sets[wildcards.problem_set]))


def base_model_flags(wildcards):
    """Where a base model comes from, as flags."""
    model = CONFIG.models[wildcards.model]
    if model.source == "microcosm":
        return f"--seed {model.seed} {flags(CONFIG.pretraining)} --work-dir {WORK}/pretraining/{wildcards.model}"
    return flags(at_commit(model), "source", "repo", "revision", "folder")


def sft_rate(wildcards):
    """The learning rate in a run's name."""
    return wildcards.run.rpartition("-lr")[2]


def sft_set(wildcards):
    """The data set that a run's name says."""
    dataset = wildcards.run.removeprefix("sft-").rpartition("-lr")[0]
    return f"{RESULTS}/datasets/{wildcards.model}/{dataset}.parquet"


def figure_files(figure, section):
    """A figure in its three formats; the report shows the SVG with its caption."""
    stem = f"{RESULTS}/figures/{figure}"
    labels = {"figure": figure, "format": "svg"}
    shown = report(
        f"{stem}.svg",
        caption=f"../report/{figure}.rst",
        category=section,
        labels=labels,
    )
    return f"{stem}.png", shown, f"{stem}.pdf"
