"""The jobs of a study as plain values, read from Snakemake's own graph.

This module alone touches Snakemake's internals. It builds the graph as a dry run does, but Snakemake's dry run writes
an inventory and makes folders in ``.snakemake``; here records are only read, and nothing is locked, so that a plan can
be made beside a running workflow.
"""

import contextlib
import graphlib
import importlib
import inspect
import io
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selfdistill.errors import UserError, nearest
from selfdistill.opening import check_here
from selfdistill.overlays import composed
from selfdistill.written import read_written

# The internals of Snakemake used here, beyond its documented API (`snakemake.api`), by module.
INTERNALS = {
    "snakemake.cli": ("parse_args", "parse_config"),
    "snakemake.exceptions": ("print_exception",),
    "snakemake.api:WorkflowApi": ("_workflow",),
    "snakemake.workflow:Workflow": ("async_run", "config", "dag", "get_rule", "rules", "snakemake_tmp_dir"),
    "snakemake.dag:DAG": ("init", "jobs", "dependencies", "jobid", "needrun", "reason"),
    "snakemake.io:IOCache": (),
    "snakemake.jobs:Job": ("params", "resources", "threads", "benchmark", "wildcards_dict"),
    "snakemake.jobs:Reason": (
        "missing_output", "incomplete_output", "updated_input", "updated_input_run", "input_changed", "code_changed",
        "software_stack_changed", "forced",
    ),
    "snakemake.persistence.file:FilePersistence": ("save_iocache", "drop_iocache", "params_changed"),
}  # fmt: skip


@dataclass(frozen=True)
class Cause:
    """Why a job is pending, as Snakemake's records tell; all empty for a job that is done.

    ``before`` and ``now``: the values (Python literals) of parameters that only the recorded run or only this one has.
    """

    missing: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()  # missing because temporary, and needed again
    incomplete: tuple[str, ...] = ()
    newer: tuple[str, ...] = ()  # inputs that changed since
    remade: tuple[str, ...] = ()  # inputs that another pending job makes
    before: frozenset[str] = frozenset()
    now: frozenset[str] = frozenset()
    inputs_changed: bool = False
    rule_changed: bool = False
    software_changed: bool = False
    forced: bool = False
    otherwise: tuple[str, ...] = ()  # by our own records (`persistence`), one phrase each


@dataclass(frozen=True)
class Job:
    """One job: ``needs`` are the ids of the jobs whose files it reads; ``params`` are the named ones."""

    id: int
    rule: str
    wildcards: Mapping[str, str]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    params: Mapping[str, Any]
    threads: int
    resources: Mapping[str, Any]
    benchmark: str | None
    pending: bool
    cause: Cause
    needs: frozenset[int]


@dataclass(frozen=True)
class Graph:
    """The jobs of a study in an order in which each follows what it needs, and what they may run on.

    ``nodes``: jobs submitted at a time to a cluster; None for a local run on ``cores``.
    """

    jobs: tuple[Job, ...]
    config: Mapping[str, Any]
    rules: tuple[str, ...]  # those that make files
    targets: tuple[str, ...]  # inputs of the default rule
    cores: int
    nodes: int | None


def check_internals() -> None:
    """`UserError` when the installed Snakemake lacks something that `read` relies on."""
    for place, names in INTERNALS.items():
        module, _, symbol = place.partition(":")
        try:
            found = importlib.import_module(module)
            found = getattr(found, symbol) if symbol else found
        except (ImportError, AttributeError):
            raise _moved(place) from None
        for name in names:
            if inspect.getattr_static(found, name, None) is None:
                raise _moved(f"{place}.{name}")


def _moved(what: str) -> UserError:
    import snakemake

    return UserError(
        f"Snakemake {snakemake.__version__} no longer has {what}, which plan and explain read: adapt "
        "workflow/selfdistill/planning/dag.py, or install the version that envs/ pins"
    )


def read(*, configfiles: Sequence[Path] = (), profiles: Sequence[Path] = (), cores: int | None = None) -> Graph:
    """The graph of the workflow in the current folder, as ``snakemake --dry-run`` with these flags sees it.

    `UserError` for a file or profile that is not there, a folder that is no repository, a configuration that is wrong,
    or a graph that cannot be built.
    """
    check_here()
    for path in [*configfiles, *[each if each.is_file() else each / "config.yaml" for each in profiles]]:
        _check_file(path)
        # Snakemake has no sentence for what is no text, or no YAML, and none that names the file for one without keys
        if not isinstance(read_written(path), Mapping):
            raise UserError(f"{path}: expected keys and their values, found none")
    check_internals()
    flags = [word for profile in profiles for word in ("--profile", str(profile))]  # it takes one at a time
    files = composed(map(str, profiles), configfiles)
    flags += ["--configfile", *map(str, files)] if files else []
    return _build(flags if cores is None else [*flags, "--cores", str(cores)])


def _check_file(path: Path) -> None:
    if path.is_file():
        return
    if path.is_dir():
        raise UserError(f"{path}: a folder, where a configuration file is expected")
    asked = path.parent if path.name == "config.yaml" and not path.parent.is_dir() else path
    if asked.is_symlink():
        raise UserError(f"{asked}: a link to {asked.readlink()}, which is not there")
    there = [str(entry) for entry in sorted(asked.parent.iterdir())] if asked.parent.is_dir() else []
    raise UserError(f"{asked}: not there{nearest(str(asked), there)}; there: {', '.join(there) or 'nothing'}")


def _build(flags: list[str]) -> Graph:
    from snakemake import api, cli

    told = io.StringIO()
    with contextlib.redirect_stderr(told), _without_logging():
        try:
            _, args = cli.parse_args(flags)
        except SystemExit:
            raise UserError(f"Snakemake does not accept the profile: {_last_line(told.getvalue())}") from None
        with api.SnakemakeApi(api.OutputSettings(dryrun=True)) as session:
            try:
                workflow = _workflow(session, args)
            except (Exception, SystemExit) as error:  # whatever a Snakefile may raise
                raise _not_built(error) from None
            return _graph(workflow, args)


@contextlib.contextmanager
def _without_logging() -> Iterator[None]:
    """Snakemake tells its progress also to the handlers of this program."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def _not_built(error: Exception) -> UserError:
    """What a Snakefile raised as one sentence: its own, or Snakemake's words."""
    from snakemake.exceptions import print_exception

    for cause in (error, error.__cause__, error.__context__):
        if isinstance(cause, UserError):
            return cause
    told = io.StringIO()
    with contextlib.redirect_stderr(told):
        print_exception(error, {})
    return UserError(f"the graph of jobs cannot be built: {' '.join(told.getvalue().split()) or error}")


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no reason given"])[-1]


def _workflow(session: Any, args: Any) -> Any:
    """Snakemake's workflow for parsed command line arguments, with its graph."""
    from snakemake import api, cli

    workflow_api = session.workflow(
        resource_settings=api.ResourceSettings(
            cores=args.cores,
            nodes=args.jobs,
            overwrite_threads=args.set_threads,
            overwrite_resources=args.set_resources,
            default_resources=args.default_resources,
        ),
        config_settings=api.ConfigSettings(config=cli.parse_config(args.config), configfiles=args.configfile),
        deployment_settings=api.DeploymentSettings(deployment_method=args.software_deployment_method),
    )
    workflow_api.dag(
        api.DAGSettings(
            force_incomplete=True,
            rerun_triggers=args.rerun_triggers,
            max_checksum_file_size=args.max_checksum_file_size,
        )
    )
    workflow = workflow_api._workflow
    _add_graph(workflow)
    workflow.async_run(workflow.dag.init())
    return workflow


def _add_graph(workflow: Any) -> None:
    """What Snakemake's own `Workflow._prepare_dag` does for the default target, but with records that are only read."""
    from snakemake.dag import DAG
    from snakemake.io import IOCache

    try:
        workflow.iocache = IOCache(workflow.dag_settings.max_inventory_wait_time)
        workflow._dag = DAG(workflow, workflow.rules, targetfiles=set(), targetrules={_default_rule(workflow)})
        workflow._persistence = _records(workflow)
    except (AttributeError, TypeError) as error:
        raise _moved(f"what a graph is made of ({error})") from error


def _default_rule(workflow: Any) -> Any:
    return workflow.get_rule(workflow.default_target)


def _records(workflow: Any) -> Any:
    """Snakemake's records of finished jobs, to be read only: what it writes goes to a temporary folder."""
    from selfdistill.persistence import Persistence

    class Records(Persistence):
        def save_iocache(self) -> None:
            pass

        def drop_iocache(self) -> None:
            pass

    records = Records(nolock=True, dag=workflow.dag, path=workflow.snakemake_tmp_dir / "records")
    kept = Path(".snakemake").absolute()
    if (kept / "metadata").is_dir():
        records._metadata_path, records._incomplete_path = str(kept / "metadata"), str(kept / "incomplete")
    return records


def _graph(workflow: Any, args: Any) -> Graph:
    dag = workflow.dag
    default = _default_rule(workflow)
    place = {rule: number for number, rule in enumerate(workflow.rules)}
    jobs = [job for job in _in_order(dag, place) if job.rule != default]
    target = next(job for job in dag.jobs if job.rule == default)
    local = args.executor in (None, "local")
    return Graph(
        jobs=tuple(_job(job, dag) for job in jobs),
        config=dict(workflow.config),
        rules=tuple(sorted(rule.name for rule in workflow.rules if rule.output)),
        targets=tuple(map(str, target.input)),
        cores=args.cores or 1,
        nodes=None if local else args.jobs,
    )


def _in_order(dag: Any, place: Mapping[Any, int]) -> list[Any]:
    """Jobs after what they need; of those that may come next, in the order of their rules, then of their outputs."""
    sorter = graphlib.TopologicalSorter({job: list(dag.dependencies[job]) for job in dag.jobs})
    sorter.prepare()
    ordered = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready(), key=lambda job: (place[job.rule], _names(job.output)))
        ordered += ready
        sorter.done(*ready)
    return ordered


def _job(job: Any, dag: Any) -> Job:
    pending = dag.needrun(job)
    return Job(
        id=dag.jobid(job),
        rule=job.rule.name,
        wildcards=dict(job.wildcards_dict),
        inputs=tuple(map(str, job.input)),
        outputs=tuple(map(str, job.output)),
        params=dict(job.params.items()),
        threads=int(job.threads),
        resources=dict(job.resources.items()),
        benchmark=None if job.benchmark is None else str(job.benchmark),
        pending=pending,
        cause=_cause(dag.reason(job), dag.workflow.persistence, job) if pending else Cause(),
        needs=frozenset(dag.jobid(other) for other in dag.dependencies[job]),
    )


def _cause(reason: Any, records: Any, job: Any) -> Cause:
    """Parameters are set against the record here: a reason tells them only of jobs whose outputs are there."""
    changed = records.params_changed(job)
    temporary = {name for name in reason.missing_output if _is_temporary(name)}
    remade = set(reason.updated_input_run)
    return Cause(
        missing=_names(set(reason.missing_output) - temporary),
        deleted=_names(temporary),
        incomplete=_names(reason.incomplete_output),
        newer=_names(set(reason.updated_input) - remade),
        remade=_names(remade),
        before=frozenset(changed.only_old) if changed else frozenset(),
        now=frozenset(changed.only_new) if changed else frozenset(),
        inputs_changed=bool(reason.input_changed),
        rule_changed=bool(reason.code_changed),
        software_changed=bool(reason.software_stack_changed),
        forced=bool(reason.forced),
        otherwise=tuple(records.causes(job)),
    )


def _is_temporary(name: Any) -> bool:
    """Whether Snakemake deletes an output once nothing needs it."""
    return bool(getattr(name, "flags", {}).get("temp"))


def _names(files: Iterable[Any]) -> tuple[str, ...]:
    return tuple(sorted(map(str, files)))
