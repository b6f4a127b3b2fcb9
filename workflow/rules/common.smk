"""Configuration, paths and look-ups that the rules share; no rules.

Everything below results/{study} is a declared output. Shards and checkpoints live in work/{study}, because
Snakemake deletes the declared outputs of a job that failed.
"""

import json
import shlex
import sys
from dataclasses import asdict, fields
from pathlib import Path

from selfdistill.claims.statements import read_claims
from selfdistill.code_digest import PACKAGE_ROOT
from selfdistill.code_digest import code_digest
from selfdistill.config import parse as parse_config
from selfdistill.errors import UserError
from selfdistill.problems import pinned_revision
from selfdistill.runs import expand as expand_runs
from selfdistill.training.settings import OnPolicySettings

CONFIG = parse_config(config)
RESULTS = f"results/{CONFIG.study}"
WORK = f"work/{CONFIG.study}"
LOGS = f"logs/{CONFIG.study}"
SCRIPTS = PACKAGE_ROOT / "scripts"
# One environment for all rules of a study; vLLM and TRL's trainers, which share a GPU, need the same.
ENVIRONMENT = f"../../envs/{'train' if CONFIG.engine == 'vllm' else 'base'}.yaml"

MICROCOSM_MODELS = [
    name for name, model in CONFIG.models.items() if model.source == "microcosm"
]
SHARED_MODELS = [
    name for name, model in CONFIG.models.items() if model.source == "model"
]
FETCHED_MODELS = [
    name for name in CONFIG.models if name not in MICROCOSM_MODELS + SHARED_MODELS
]
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

# On-policy runs by model and id; a row's own batch size stands in place of the study's.
RUNS = {
    (run.model, run.id): run
    for run in expand_runs(
        {**dict(row), "batch_size": row.batch_size or CONFIG.onpolicy.batch_size}
        for row in CONFIG.onpolicy.runs
    )
}
BENCHMARKS = list(
    dict.fromkeys(
        CONFIG.evaluation.benchmarks + sum(CONFIG.onpolicy.benchmarks.values(), [])
    )
)
# Every field of the settings is a key of the configuration; a run's batch size comes from its row.
ONPOLICY_SETTINGS = [
    field.name
    for field in fields(OnPolicySettings)
    if field.name not in ("batch_size", "checkpoint_steps")
] + ["checkpoint_steps"]
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

CLAIMS = read_claims(Path("config/claims.yaml"))
TABLE_SECTIONS = {
    "table_1": "Section 3",
    "table_a1": "Section 3",
    "table_2": "Section 4",
    "table_onpolicy": "Section 5",
    "table_rates": "Section 5",
    "table_3": "Section 6",
}

# The interpreter that runs the workflow also runs its stages, unless a rule brings its own environment.
OWN_ENVIRONMENTS = {"conda", "apptainer"} & {
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
    run="base|(sft|grpo|sdpo)-[^/]+",
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
        f"--{name.replace('_', '-')} {' '.join(map(str, value)) if isinstance(value, list) else value}"
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


def evaluate_flags(wildcards):
    """How a model is sampled on benchmarks."""
    own = CONFIG.models[wildcards.model].evaluate
    return flags(CONFIG.sampling.evaluate if own is None else own)


def name_flags(wildcards):
    """What a stage's outputs are labelled with."""
    return f"--study {CONFIG.study} --model-name {wildcards.model}"


def draw_flags(wildcards):
    """How a model is prompted and seeded, and where its finished shards lie."""
    prompt = (
        f"{instruction_flag(wildcards)} {thinking_flag(wildcards)} --seed {CONFIG.seed}"
    )
    return f"{prompt} {name_flags(wildcards)} --engine {CONFIG.engine} --work-dir {WORK}/traces"


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
    """A model or problem set with the lock file's commit in place of ``locked``, so that a new one causes a rerun.

    One that is not in the lock file stays as it is: the stage that fetches it says what to do.
    """
    if source.source != "hub":
        return source
    try:
        revision = pinned_revision(source.repo, source.revision)
    except UserError:
        return source
    return source.model_copy(update={"revision": revision})


def problem_set_flags(wildcards):
    """A problem set's configuration as flags."""
    return flags(at_commit(CONFIG.problem_sets[wildcards.problem_set]))


def base_model_flags(wildcards):
    """Where a base model comes from, as flags."""
    model = CONFIG.models[wildcards.model]
    if model.source == "microcosm":
        return f"--seed {model.seed} {flags(CONFIG.pretraining)} --work-dir {WORK}/pretraining/{wildcards.model}"
    return flags(at_commit(model), "source", "repo", "revision", "folder")


def shared_model(wildcards):
    """The manifest of the model whose weights another entry uses."""
    return f"{RESULTS}/models/{CONFIG.models[wildcards.model].of}/base/manifest.json"


def run_problems(wildcards):
    """The problem set that an on-policy run trains on."""
    run = RUNS[wildcards.model, wildcards.run]
    return f"{RESULTS}/problems/{run.problem_set}.parquet"


def arm_flags(wildcards):
    """An on-policy run's row of the configuration as flags."""
    return RUNS[wildcards.model, wildcards.run].flags


def onpolicy_flags(wildcards):
    """How an on-policy run is prompted and seeded, and where its checkpoints lie."""
    run = RUNS[wildcards.model, wildcards.run]
    prompt = f"{instruction_flag(wildcards)} {thinking_flag(wildcards)} {name_flags(wildcards)}"
    return f"{prompt} --seed {run.seed} --engine {CONFIG.engine} --work-dir {WORK}/training/{run.model}/{run.id}"


def checkpoints(folder):
    """The models along training: deleted once they are evaluated, unless the configuration keeps them."""
    return (
        directory(folder)
        if CONFIG.onpolicy.keep_checkpoints
        else temp(directory(folder))
    )


def run_benchmarks(wildcards):
    """What an on-policy run is evaluated on along training."""
    run = RUNS[wildcards.model, wildcards.run]
    return [
        f"{RESULTS}/problems/{benchmark}.parquet"
        for benchmark in CONFIG.onpolicy.benchmarks[run.problem_set]
    ]


def base_evaluations():
    """The base models' evaluations that those of on-policy runs are set against."""
    wanted = dict.fromkeys(
        (run.model, benchmark)
        for run in RUNS.values()
        for benchmark in CONFIG.onpolicy.benchmarks[run.problem_set]
    )
    return [
        f"{RESULTS}/evaluations/{model}/base/{benchmark}.parquet"
        for model, benchmark in wanted
    ]


def run_rows():
    """The on-policy runs as one line of JSON."""
    return shlex.quote(json.dumps([asdict(run) for run in RUNS.values()]))


def model_names(attribute):
    """name=value of every model."""
    return " ".join(f"{name}={attribute(name)}" for name in CONFIG.models)


def family(name):
    """What a model is averaged with in figures."""
    return CONFIG.models[name].family or name


def thinking(name):
    """Whether a model thinks."""
    return "off" if CONFIG.models[name].enable_thinking is False else "on"


def view(figure):
    """What a figure of Sections 5 and 6 shows."""
    chosen = CONFIG.figures.views[figure]
    sets = {"narrow": CONFIG.figures.narrow, "broad": chosen.problem_set}
    benchmarks = {
        name: CONFIG.onpolicy.benchmarks[problem_set]
        for name, problem_set in sets.items()
    }
    if figure == "fig_1":
        return {**dict(chosen), **sets, "benchmarks": benchmarks}
    return {**dict(chosen), "benchmarks": benchmarks["broad"]}


def config_values():
    """The whole configuration as one line of JSON."""
    return shlex.quote(CONFIG.model_dump_json())


def claim_roles():
    """Which models stand for the paper's in its statements, as one line of JSON."""
    roles = {
        name: None if role is None else role.model_dump()
        for name, role in CONFIG.claims.roles.items()
    }
    return shlex.quote(json.dumps(roles))


def sft_rate(wildcards):
    """The learning rate in a run's name."""
    return wildcards.run.rpartition("-lr")[2]


def sft_set(wildcards):
    """The data set that a run's name says."""
    dataset = wildcards.run.removeprefix("sft-").rpartition("-lr")[0]
    return f"{RESULTS}/datasets/{wildcards.model}/{dataset}.parquet"


def shown(artifact, form):
    """How the report lists a table or figure: with the statements of the ledger that it is about."""
    ids = [claim.id for claim in CLAIMS if artifact in claim.shown_in]
    return {"shows": artifact, "as": form, "claims": ", ".join(ids)}


def figure_files(figure, section):
    """A figure in its three formats, and its rows; the report shows SVG and rows with the caption."""
    stem = f"{RESULTS}/figures/{figure}"
    about = {"caption": f"../report/{figure}.rst", "category": section}
    drawn = report(f"{stem}.svg", labels=shown(figure, "figure"), **about)
    rows = report(f"{stem}.csv", labels=shown(figure, "data table"), **about)
    return f"{stem}.png", drawn, f"{stem}.pdf", rows


def table_section(wildcards):
    """The section of the paper that a table belongs to."""
    return TABLE_SECTIONS[wildcards.table]


def table_labels(wildcards):
    """How the report lists a table."""
    return shown(wildcards.table, "data table")
