"""The stages of the workflow: what every rule calls, and what a reader can call by hand with the same command."""

from pathlib import Path

from selfdistill import processes
from selfdistill.analysis import arms, responses
from selfdistill.generation.requests import Sampling
from selfdistill.generation.sampler import Sampler
from selfdistill.pages.reading_room import Limits
from selfdistill.training.settings import Arm, OnPolicySettings, SftSettings

# Stages import what they need when they run: a stage that draws no sample does not load torch.


def load_problems(
    *,
    source: str,
    split: str = "train",
    size: int | None = None,
    file: Path | None = None,
    repo: str | None = None,
    name: str | None = None,
    revision: str | None = None,
    problem_column: str | None = None,
    answer_column: str | None = None,
    out: Path,
) -> None:
    """Load a problem set from the microcosm, a file or the hub."""
    from selfdistill import tables
    from selfdistill.problems import load_problem_set

    problems = load_problem_set(
        source,
        split=split,
        size=size,
        file=file,
        repo=repo,
        name=name,
        revision=revision,
        problem_column=problem_column,
        answer_column=answer_column,
    )
    tables.write(problems, out, "problems")


def pretrain_model(
    *, preset: str, seed: int, model_name: str, workers: int = 2, work_dir: Path, out: Path, out_steps: Path
) -> None:
    """Pre-train a model of the microcosm from scratch."""
    from selfdistill import models, tables
    from selfdistill.microcosm.pretrain import PRESETS, pretrain

    settings = _one_of("pre-training preset", preset, PRESETS)
    steps = pretrain(out.parent, work_dir, seed=seed, settings=settings, workers=workers)
    tables.write(steps.assign(model=model_name), out_steps, "training_steps")
    models.save_manifest(out.parent)


def register_model(
    *,
    source: str,
    repo: str | None = None,
    revision: str | None = None,
    folder: Path | None = None,
    out: Path,
) -> None:
    """Write the manifest of a published model, or of one saved in a folder."""
    from selfdistill import models
    from selfdistill.problems import pinned_revision

    if source == "hub":
        models.save_hub_manifest(out, repo, pinned_revision(repo, revision))
    else:
        models.save_folder_manifest(out, folder)


def share_model(*, model: Path, out: Path) -> None:
    """Write a manifest for the weights beside another manifest."""
    from selfdistill import models

    models.save_shared_manifest(out, model)


def select_borderline(
    *,
    problems: Path,
    sampler: Sampler,
    rollouts: int,
    low: float,
    high: float,
    target: int,
    batch: int,
    out_problems: Path,
    out_traces: Path,
) -> None:
    """Section 3: find the problems that the model solves in ``low`` to ``high`` of its rollouts."""
    from selfdistill import tables
    from selfdistill.generation import selection

    chosen, traces = selection.select_borderline(
        tables.read(problems, "problems"),
        lambda some: sampler.draw(some, rollouts, stage="selection", setting="unguided", stream="selection"),
        low=low,
        high=high,
        target=target,
        batch=batch,
    )
    tables.write(chosen, out_problems, "problems")
    tables.write(traces, out_traces, "traces")


def sample_guidance(
    *,
    setting: str,
    problems: Path,
    contexts: list[Path] = [],  # noqa: B006 (read only)
    sampler: Sampler,
    samples: int,
    out: Path,
) -> None:
    """Section 3: sample the selected problems in one setting of guidance."""
    from selfdistill import tables

    given = sampler.contexts(setting, [tables.read(path, "traces") for path in contexts])
    traces = sampler.draw(
        tables.read(problems, "problems"), samples, stage="section3", setting=setting, stream=setting, contexts=given
    )
    tables.write(traces, out, "traces")


def collect_correct(
    *,
    setting: str,
    problems: Path,
    contexts: list[Path] = [],  # noqa: B006 (read only)
    sampler: Sampler,
    per_problem: int,
    max_draws: int,
    out: Path,
) -> None:
    """Section 4: draw on, until every problem has ``per_problem`` correct responses or ``max_draws`` samples."""
    from selfdistill import tables

    given = sampler.contexts(setting, [tables.read(path, "traces") for path in contexts])
    traces = sampler.draw_until_correct(
        tables.read(problems, "problems"), per_problem, max_draws, stage="sft", setting=setting, contexts=given
    )
    tables.write(traces, out, "traces")


def build_sft_sets(
    *,
    problems: Path,
    unguided: Path,
    guided: Path,
    responses: int,
    at_least: int,
    per_problem: int,
    instruction: str = "",
    study: str,
    model_name: str,
    out_unguided: Path,
    out_guided: Path,
    out_unfiltered: Path,
    out_card: Path,
) -> None:
    """Section 4: build D_ug, D_sg and the unfiltered unguided set, with their data card."""
    from selfdistill import tables
    from selfdistill.files import write_text
    from selfdistill.training import sft_sets

    asked = tables.read(problems, "problems")
    sets = sft_sets.build_sft_sets(
        tables.read(unguided, "traces"),
        tables.read(guided, "traces"),
        asked,
        responses=responses,
        at_least=at_least,
        per_problem=per_problem,
        instruction=instruction,
    )
    for name, path in zip(sft_sets.SETS, (out_unguided, out_guided, out_unfiltered), strict=True):
        tables.write(sets[name], path, "sft_examples")
    write_text(out_card, sft_sets.data_card(sets, study=study, model=model_name, sources=asked["source"]))


def train_sft(
    *,
    examples: Path,
    model: Path,
    model_name: str,
    run: str,
    settings: SftSettings,
    enable_thinking: bool | None = None,
    seed: int,
    work_dir: Path,
    out: Path,
    out_steps: Path,
) -> None:
    """Section 4: fine-tune the model on one data set at one learning rate."""
    from selfdistill import tables
    from selfdistill.training import checkpoints
    from selfdistill.training.sft import train_sft as train

    steps = train(
        tables.read(examples, "sft_examples"),
        manifest=model,
        out_dir=out.parent,
        work_dir=work_dir,
        model_name=model_name,
        run=run,
        settings=settings,
        enable_thinking=enable_thinking,
        seed=seed,
    )
    if processes.is_main():
        tables.write(steps, out_steps, "training_steps")
        checkpoints.discard(work_dir)


def evaluate_model(
    *,
    problems: Path,
    sampler: Sampler,
    samples: int,
    benchmark: str,
    out: Path,
) -> None:
    """Sample every problem of one benchmark with one model."""
    from selfdistill import tables

    questions = tables.read(problems, "problems")
    traces = sampler.draw(questions, samples, stage="evaluation", setting=benchmark, stream="evaluation")
    tables.write(traces, out, "traces")


def train_onpolicy(
    *,
    problems: Path,
    model: Path,
    study: str,
    model_name: str,
    run: str,
    arm: Arm,
    settings: OnPolicySettings,
    sampling: Sampling,
    instruction: str = "",
    enable_thinking: bool | None = None,
    seed: int,
    mirrors: list[str] = [],  # noqa: B006 (read only)
    engine: str = "transformers",
    work_dir: Path,
    out_models: Path,
    out_steps: Path,
    out_seconds: Path,
    out_rollouts: Path,
) -> None:
    """Sections 5 and 6: train the model by GRPO or SDPO."""
    from selfdistill import tables
    from selfdistill.training import checkpoints
    from selfdistill.training.onpolicy import train_onpolicy as train

    steps, seconds, rollouts = train(
        tables.read(problems, "problems"),
        manifest=model,
        study=study,
        model_name=model_name,
        run=run,
        arm=arm,
        settings=settings,
        sampling=sampling,
        instruction=instruction,
        enable_thinking=enable_thinking,
        seed=seed,
        out_dir=out_models,
        work_dir=work_dir,
        mirrors=mirrors,
        engine=engine,
    )
    if processes.is_main():
        tables.write(rollouts, out_rollouts, "traces")
        tables.write(seconds, out_seconds, "training_steps")
        tables.write(steps, out_steps, "training_steps")
        checkpoints.discard(work_dir)


def evaluate_checkpoints(
    *,
    benchmarks: list[Path],
    sampler: Sampler,
    samples: int,
    evaluation_problems: int | None = None,
    out: Path,
) -> None:
    """Sample the first problems of benchmarks with every model step-N in the folder that ``sampler`` names."""
    import pandas as pd

    from selfdistill import tables

    asked = {path.stem: tables.read(path, "problems")[:evaluation_problems] for path in benchmarks}
    labels = {"stage": "evaluation", "stream": "evaluation"}
    traces = [
        model.draw(questions, samples, step=step, setting=benchmark, **labels)
        for step, model in sampler.along_training()
        for benchmark, questions in asked.items()
    ]
    tables.write(pd.concat(traces), out, "traces")


def list_runs(
    *, rows: str, study: str, families: list[str], thinking: list[str], problem_sets: list[Path], out: Path
) -> None:
    """Write the table of on-policy runs from their rows (JSON), and name=value pairs of every model."""
    import json

    from selfdistill import runs, tables

    table = runs.table(
        [runs.Run(**row) for row in json.loads(rows)],
        study=study,
        families=dict(pair.split("=", 1) for pair in families),
        thinking=dict(pair.split("=", 1) for pair in thinking),
        sizes={path.stem: len(tables.read(path, "problems")) for path in problem_sets},
    )
    tables.write(table, out, "runs")


def make_table_1(
    *,
    selection: list[Path],
    traces: list[Path],
    confidence: float,
    resamples: int,
    seed: int,
    out: Path,
    out_a1: Path,
    out_selection: Path,
) -> None:
    """Table 1, the breakdown by marker (A.1.1) and the histogram of solve rates, for every model."""
    import pandas as pd

    from selfdistill import tables
    from selfdistill.analysis import quoted, responses, summaries
    from selfdistill.analysis.intervals import Bootstrap

    bootstrap = Bootstrap(confidence, resamples, seed)
    draws = {drawn.model: drawn for drawn in map(responses.read, selection)}
    settings: dict[str, dict[str, responses.Responses]] = {}
    for found in map(responses.read, traces):
        settings.setdefault(found.model, {})[found.setting] = found
    models = list(settings)
    table_1 = [summaries.table_1(settings[m], draws[m], bootstrap=bootstrap) for m in models]
    table_a1 = [summaries.table_a1(settings[m], bootstrap=bootstrap) for m in models]
    histogram = [summaries.selection_histogram(draws[m], bootstrap=bootstrap) for m in models]
    tables.write(pd.concat([*table_1, quoted.table_1()]), out, "summary")
    tables.write(pd.concat(table_a1), out_a1, "summary")
    tables.write(pd.concat(histogram), out_selection, "summary")


def make_table_2(*, traces: list[Path], confidence: float, resamples: int, seed: int, out: Path) -> None:
    """Table 2 for every model; runs and benchmarks are read off the paths model/run/benchmark.parquet."""
    import pandas as pd

    from selfdistill import tables
    from selfdistill.analysis import quoted, responses, summaries
    from selfdistill.analysis.intervals import Bootstrap

    bootstrap = Bootstrap(confidence, resamples, seed)
    by_model: dict[str, dict[tuple[str, str], responses.Responses]] = {}
    for path in traces:
        run, model = path.parent.name, path.parent.parent.name
        by_model.setdefault(model, {})[run, path.stem] = responses.read(path)
    measured = [summaries.table_2(evaluations, bootstrap=bootstrap) for evaluations in by_model.values()]
    tables.write(pd.concat([*measured, quoted.table_2()]), out, "summary")


def make_curves(
    *,
    runs: Path,
    rollouts: list[Path],
    evaluations: list[Path],
    bases: list[Path],
    window: int,
    confidence: float,
    resamples: int,
    seed: int,
    out: Path,
    out_final: Path,
    out_rates: Path,
) -> None:
    """Sections 5 and 6: training and evaluation of all on-policy runs against steps, and what they end at."""
    import pandas as pd

    from selfdistill import tables
    from selfdistill.analysis import curves
    from selfdistill.analysis.intervals import Bootstrap

    bootstrap = Bootstrap(confidence, resamples, seed)
    rows = tables.read(runs, "runs")
    drawn = pd.concat([tables.read(path, "traces", responses.READ) for path in rollouts])
    along = pd.concat([tables.read(path, "traces", responses.READ) for path in evaluations])
    before = responses.same_questions(pd.concat([tables.read(path, "traces", responses.READ) for path in bases]), along)
    training = curves.training_curves(drawn, rows, window=window, bootstrap=bootstrap)
    evaluation = curves.evaluation_curves(pd.concat([before, along]), rows, bootstrap=bootstrap)
    tables.write(pd.concat([training, evaluation]), out, "curves")
    tables.write(arms.final_table(training, evaluation), out_final, "summary")
    tables.write(arms.rate_table(training), out_rates, "summary")


def make_table_3(
    *,
    runs: Path,
    rollouts: list[Path],
    problem_sets: list[Path],
    benchmarks: list[Path],
    rollouts_per_prompt: int,
    out: Path,
) -> None:
    """Table 3: what the training sets cover of each other and of the benchmarks."""
    import pandas as pd

    from selfdistill import tables
    from selfdistill.analysis import coverage, quoted

    measured = coverage.table_3(
        {path.stem: tables.read(path, "problems") for path in problem_sets},
        pd.concat([tables.read(path, "traces", coverage.DRAW) for path in rollouts]),
        tables.read(runs, "runs"),
        {path.stem: tables.read(path, "problems") for path in benchmarks},
        rollouts_per_prompt=rollouts_per_prompt,
    )
    tables.write(pd.concat([measured, quoted.table_3()]), out, "summary")


def make_ledger(
    *,
    claims: Path,
    guidance: list[Path],
    sft: list[Path],
    runs: Path,
    rollouts: list[Path],
    evaluations: list[Path],
    bases: list[Path],
    roles: str,
    families: list[str],
    thinking: list[str],
    window: int,
    confidence: float,
    resamples: int,
    seed: int,
    out: Path,
) -> None:
    """Test the paper's statements on a study's responses; ``roles`` (JSON) says which models stand for the paper's."""
    import json

    import pandas as pd

    from selfdistill import tables
    from selfdistill.analysis.intervals import Bootstrap
    from selfdistill.claims import units
    from selfdistill.claims.ledger import Role, ledger
    from selfdistill.claims.statements import read_claims

    def responses(paths: list[Path]) -> pd.DataFrame:
        return pd.concat([tables.read(path, "traces", responses.READ) for path in paths])

    family, thinks = (dict(pair.split("=", 1) for pair in pairs) for pairs in (families, thinking))
    rows, along = tables.read(runs, "runs"), responses(evaluations)
    tuned = [(path.parent.parent.name, path.parent.name, path.stem, responses([path])) for path in sft]
    units = [
        units.guidance_units(responses(guidance), family),
        units.sft_units(tuned, family),
        units.training_units(responses(rollouts), rows, window=window),
        units.evaluation_units(along, responses(bases), rows, families=family, thinking=thinks),
    ]
    known = {name: None if role is None else Role(**role) for name, role in json.loads(roles).items()}
    bootstrap = Bootstrap(confidence, resamples, seed)
    tables.write(ledger(read_claims(claims), pd.concat(units), known, bootstrap=bootstrap), out, "ledger")


def render_ledger(*, ledger: Path, study: str, out_markdown: Path, out_html: Path, out_front: Path) -> None:
    """Write the claims ledger as Markdown, as a page, and as the part of a page that the report begins with."""
    from selfdistill import tables
    from selfdistill.files import write_text
    from selfdistill.pages import ledger_page

    table = tables.read(ledger, "ledger")
    write_text(out_markdown, ledger_page.markdown(table, study))
    write_text(out_html, ledger_page.html(table, study))
    write_text(out_front, ledger_page.front(table))


def build_reading_room(
    *,
    traces: list[Path],
    problem_sets: list[Path],
    runs: Path,
    page: Path,
    style: Path,
    script: Path,
    limits: Limits,
    study: str,
    out: Path,
    out_data: Path,
) -> None:
    """Make the page on which all responses can be read side by side, with its data beside it."""
    from selfdistill import tables
    from selfdistill.pages import reading_room

    parts = reading_room.Parts(page, style, script)
    known = tables.read(runs, "runs")
    reading_room.build(traces, problem_sets, known, parts=parts, study=study, limits=limits, out=out, data=out_data)


def show_verdicts(*, ledger: Path, page: Path) -> None:
    """Put a ledger's verdicts into a page, such as the README, between its marks."""
    from selfdistill import tables
    from selfdistill.files import write_text
    from selfdistill.pages import ledger_page

    write_text(page, ledger_page.with_verdicts(page.read_text(encoding="utf-8"), tables.read(ledger, "ledger")))


def render_table(*, table: Path, out_csv: Path, out_markdown: Path, out_latex: Path) -> None:
    """Write a summary as CSV (every number), Markdown and LaTeX (values with intervals)."""
    from selfdistill import tables
    from selfdistill.files import write_text
    from selfdistill.pages import rendering

    summary = tables.read(table, "summary")
    write_text(out_csv, summary.to_csv(index=False))
    write_text(out_markdown, rendering.markdown(summary))
    write_text(out_latex, rendering.latex(summary))


def compare(*, fresh: Path, reference: Path) -> int:
    """Set the tables of one results folder against another's; status 1 when intervals do not overlap."""
    from selfdistill.records.compare import compare_folders

    report, agree = compare_folders(fresh, reference)
    print(report)
    return 0 if agree else 1


def trace(file: Path) -> None:
    """Print the chain from a table or figure down to raw data and seeds."""
    from selfdistill.records.lineage import trace as chain

    print("\n".join(chain(file)))


def verify(results: Path) -> int:
    """Check hashes, schemas, records and ledger of a results tree, computing nothing; status 1 if one is wrong."""
    from selfdistill.records import verification

    problems = verification.verify(results)
    print("\n".join(problems))
    held = ", ".join(f"{number} {what}" for what, number in verification.counts(results).items())
    print(f"{results}: {held}; " + (f"{len(problems)} problems" if problems else "all as recorded"))
    return 1 if problems else 0


def diff(first: Path, second: Path) -> None:
    """Print what differs between two results trees: configuration, responses with paired intervals, verdicts."""
    from selfdistill.analysis.intervals import Bootstrap
    from selfdistill.records import diff as comparison

    print("\n".join(comparison.diff(first, second, bootstrap=Bootstrap())))


def plan(
    *,
    configfile: list[Path] = [],  # noqa: B006 (read only)
    profile: list[Path] = [],  # noqa: B006 (read only)
    price: float | None = None,
    cores: int | None = None,
) -> None:
    """Print what a study costs (``price``: money per GPU-hour), what is missing, and when each result appears."""
    from selfdistill.planning import plan as planning

    print("\n".join(planning.lines(planning.read(configfile, profile, cores, price), price)))


def explain(
    *,
    configfile: list[Path] = [],  # noqa: B006 (read only)
    profile: list[Path] = [],  # noqa: B006 (read only)
    cores: int | None = None,
    target: list[str] = [],  # noqa: B006 (read only)
) -> None:
    """Print why each pending job is run, at which cost, and which tables, figures and claims hang on it."""
    from selfdistill.planning import explain as explaining
    from selfdistill.planning import plan as planning

    print("\n".join(explaining.lines(planning.read(configfile, profile, cores, None), target)))


def record_config(*, values: str, out: Path) -> None:
    """Write the configuration of a study (JSON) beside its results."""
    import json

    import yaml

    from selfdistill.files import write_text

    write_text(out, yaml.safe_dump(json.loads(values), sort_keys=False))


def resolve_revisions(*, repos: list[str], kind: str = "dataset", lock: Path) -> None:
    """Look up the newest commits of hub repositories and add them to the lock file (needs the network)."""
    from selfdistill.problems import lock_revisions

    lock_revisions(repos, lock, kind)


def prefetch(*, repos: list[str], lock: Path) -> None:
    """Download models from the hub at their locked commits, for machines without network to find in the cache."""
    from selfdistill import models
    from selfdistill.problems import pinned_revision

    revisions = {repo: pinned_revision(repo, "locked", lock) for repo in repos}
    for repo, revision in revisions.items():
        print(f"{repo}@{revision[:12]}: {models.fetch(repo, revision)}", flush=True)


def document_config(*, page: Path, schema: Path) -> None:
    """Write the page that lists the configuration keys, and their JSON schema (as YAML)."""
    import yaml

    from selfdistill import config
    from selfdistill.files import write_text

    write_text(page, config.document())
    write_text(schema, yaml.safe_dump(config.schema(), sort_keys=False))


def _one_of(what: str, name: str, known: dict):
    from selfdistill.errors import UserError, nearest

    if name not in known:
        raise UserError(f"unknown {what} '{name}'{nearest(name, known)}; known: {', '.join(known)}")
    return known[name]


STAGES = (
    load_problems,
    pretrain_model,
    share_model,
    register_model,
    select_borderline,
    sample_guidance,
    collect_correct,
    build_sft_sets,
    train_sft,
    evaluate_model,
    train_onpolicy,
    evaluate_checkpoints,
    list_runs,
    make_table_1,
    make_table_2,
    make_curves,
    make_table_3,
    render_table,
    make_ledger,
    render_ledger,
    build_reading_room,
    show_verdicts,
    compare,
    trace,
    verify,
    diff,
    plan,
    explain,
    record_config,
    resolve_revisions,
    prefetch,
    document_config,
)
