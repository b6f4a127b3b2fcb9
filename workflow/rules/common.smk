"""What the rules share: the study, its paths and flags, and digests of code; no rules."""

import shlex
import sys
from functools import cache, partial
from pathlib import Path

from selfdistill.artifacts import (
    SECTIONS,
    TABLES,
    of_section,
    target_of,
)
from selfdistill.checks import check_profile, faults_at_start
from selfdistill.cli import spare_collector
from selfdistill.code_digest import PACKAGE_ROOT, code_digest, packages
from selfdistill.disk import existing_folder
from selfdistill.environment import VARIABLES, image_identity, versions
from selfdistill.errors import UserError
from selfdistill.figures import captions
from selfdistill.files import sha256_meaning, sha256_text
from selfdistill.flags import Flags
from selfdistill.generation.contexts import CHOICES
from selfdistill.generation.requests import WORDED
from selfdistill.opening import Start, headline, open_study
from selfdistill.processes import accelerate_settings
from selfdistill.study import BASE, COLLECTED, SFT_SETS
from selfdistill.training.edited_sets import NAMES as EDITED_SETS
from selfdistill.training.methods import METHODS
from selfdistill.training.settings import RELEASED, TRAINED

if workflow.output_settings.dryrun:
    spare_collector()  # a tenth of a dry run

# The interpreter that runs the workflow also runs its stages, unless a rule brings its own environment.
OWN_ENVIRONMENTS = {"conda", "apptainer"} & {
    str(m) for m in workflow.deployment_settings.deployment_method
}
CHECKOUT = Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).parents[1]
START = Start(
    checkout=CHECKOUT,
    files=[CHECKOUT / "config.yaml", *workflow.overwrite_configfiles],
    given=workflow.config_settings.config,
    own_environments=bool(OWN_ENVIRONMENTS),
    # A job that is a Snakemake of its own, as on a cluster, was checked where it was started from.
    checked=not workflow.is_main_process,
)
try:
    OPENED = open_study(config, START)
    PROCESSES = {
        of: accelerate_settings(given["accelerate"].raw)
        for of, given in workflow.resource_settings.overwrite_resources.items()
        if "accelerate" in given
    }
    if workflow.is_main_process:
        check_profile(OPENED.study, PROCESSES)
        for place in (OPENED.study.results, OPENED.study.logs, OPENED.study.work):
            existing_folder(Path(place, "any"))
except UserError as error:
    # Snakemake would set an exception's sentences among lines of its stack.
    raise SystemExit(str(error)) from error
config.clear()  # Snakemake merges files otherwise
config.update(OPENED.values)
CONFIG, STUDY, STATEMENTS = OPENED.study.config, OPENED.study, OPENED.statements
if workflow.is_main_process:
    print(headline(OPENED, START), file=sys.stderr)
for warning in OPENED.warnings:
    print(f"Warning: {warning}", file=sys.stderr)
FLAGS = Flags(STUDY)
RUNS = STUDY.runs


def literally(text):
    """A text that Snakemake formats, to come out as it stands: a folder's name may hold braces."""
    return text.replace("{", "{{").replace("}", "}}")


RESULTS, LOGS = STUDY.results, STUDY.logs
SCRIPTS = PACKAGE_ROOT / "scripts"
# One environment for all rules of a study; vLLM and TRL's trainers, which share a GPU, need the same.
ENVIRONMENT = f"../../envs/{'train' if CONFIG.engine == 'vllm' else 'base'}.yaml"
if "{" in str(CHECKOUT):
    ENVIRONMENT = literally(str(CHECKOUT / "envs" / Path(ENVIRONMENT).name))
MODEL, RUN = "{model}", "{run}"
ONPOLICY_RUN = f"({'|'.join(METHODS)})-[^/]+"
TRAINED_RUN, RELEASED_RUN = (f"{ONPOLICY_RUN}(?<{sign}{RELEASED})" for sign in "!=")

BIN = shlex.quote(str(Path(sys.executable).parent))
INTERPRETER = "" if OWN_ENVIRONMENTS else f"export PATH={BIN}:$PATH; "
EXPORTED = {"PYTHONPATH": shlex.quote(str(PACKAGE_ROOT))} | VARIABLES
PREFIX = (
    f"set -euo pipefail; {INTERPRETER}export "
    + " ".join(f"{name}={value}" for name, value in EXPORTED.items())
    + "; "
)
shell.prefix(literally(PREFIX))


wildcard_constraints:
    model="[^/]+",
    run=f"base|sft-[^/]+|{ONPOLICY_RUN}",
    dataset="|".join(SFT_SETS),


# Dependencies of every stage beside its own code: how flags are read, and the variables of its job.
EVERYWHERE = ("selfdistill.cli:read", "selfdistill.environment:hold")
# Snakemake compares a container's image by its path alone; here it stands as a package with its version.
IMAGE = workflow.modifier.global_container_img
BUILT = image_identity(Path(IMAGE)) if "apptainer" in OWN_ENVIRONMENTS else ""
LAUNCHED = (
    "selfdistill.processes:see_one_gpu",
    "selfdistill.processes:environments_of",
)


@cache  # asked once for each of many jobs
def made_with(*entries):
    """Digest of the code that is reached from entry points, and the versions of the packages that it computes with."""
    reached = code_digest(*entries, *EVERYWHERE)
    if OWN_ENVIRONMENTS:  # Snakemake compares those by itself
        return f"{reached}; {IMAGE} {BUILT}" if BUILT else reached
    return f"{reached}; {versions(packages(*entries), {'vllm'} - {CONFIG.engine})}"


def code(stage, *chosen):
    """What a stage is made with: a changed constant or function reruns the stages that use it.

    ``chosen``: entry points that the stage loads by name.
    """
    return made_with(f"selfdistill.stages:{stage}", *chosen)


def sft_code():
    """The same for fine-tuning, which is launched in processes."""
    return code("train_sft", *LAUNCHED)


def processes(rule):
    """What the accelerate configuration of a training rule says, from the profile or the command line."""
    return PROCESSES.get(rule, {})


def run_code(model, run):
    """The same for an on-policy run, with its method."""
    return code("train_onpolicy", METHODS[RUNS[model, run].method], *LAUNCHED)


def guidance_code(stage, setting):
    """The same for a stage that samples in a setting, with the choice of its context."""
    return code(stage, CHOICES[STUDY.guidance[setting].choose])


def figure_code(figure):
    """The same for a figure, with its script and its caption."""
    caption = sha256_text(captions.source(figure))[:12]
    return f"{code('draw_figure', SCRIPTS / f'draw_{figure}.py')}, caption {caption}"


def by(function, *wildcard_names):
    """A look-up for a rule: ``function`` of these wildcards of a job."""

    def look_up(wildcards):
        return function(*(wildcards[name] for name in wildcard_names))

    return look_up


def shared_manifest(model):
    """The manifest of the model whose weights another entry uses."""
    return STUDY.manifest(CONFIG.models[model].of)


def released_manifest(model, run):
    """The manifest of the published model that a run trained elsewhere ended at."""
    return STUDY.manifest(RUNS[model, run].checkpoint)


def last_step(model, run):
    """The step that a run ends at."""
    return RUNS[model, run].steps


def run_problems(model, run):
    """The problem set that an on-policy run's problems are read from."""
    return STUDY.problems(STUDY.read_from(RUNS[model, run]))


def run_benchmarks(model, run):
    """The problem sets that an on-policy run is evaluated on along training."""
    return [STUDY.problems(name) for name in STUDY.sets_of(RUNS[model, run])]


def run_own_problems(model, run):
    """The problem set that a run trains on, where it is evaluated on its problems as well."""
    own = STUDY.own_problems(RUNS[model, run])
    return [] if own is None else [run_problems(model, run)]


def first_evaluation(model):
    """The responses of a base model that are looked at first."""
    return STUDY.evaluation(model, BASE, STUDY.first_look(model))


def first_problems(model):
    """The problems that they answer."""
    return STUDY.asked(model, STUDY.first_look(model))


def given_as(flag, files):
    """A flag with its files; none without a file."""
    return f"--{flag} {files}" if files else ""


def sft_dataset(model, run):
    """The data set of a fine-tuning run."""
    return STUDY.dataset(model, STUDY.sft_runs[run].data)


def checkpoints(folder):
    """The models along training: kept, or deleted once they are evaluated."""
    kept = CONFIG.onpolicy.keep_checkpoints
    return directory(folder) if kept else temp(directory(folder))
