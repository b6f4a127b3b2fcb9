"""Upkeep of locks, caches and generated pages."""

from pathlib import Path
from typing import Annotated, Literal

from selfdistill.parameters import Out, OutFolder, ResultsFolder
from selfdistill.stages.registry import UPKEEP, stage

Repos = Annotated[list[str], "Repositories of the hub."]
Kind = Annotated[Literal["dataset", "model"], "dataset or model."]
Lock = Annotated[Path, "The lock file (config/revisions.json)."]


def _text(page: Path) -> str:
    from selfdistill.errors import UserError

    try:
        return page.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{page}: not UTF-8 text, so no page") from None


@stage(UPKEEP)
def show_verdicts(
    *, ledger: Annotated[Path, "Table of the claims ledger."], page: Annotated[Path, "The page."]
) -> None:
    """Put a ledger's verdicts into a page, such as the README, between its marks."""
    from selfdistill import tables
    from selfdistill.files import write_text
    from selfdistill.pages import ledger_page

    write_text(page, ledger_page.with_verdicts(_text(page), tables.read(ledger, tables.LEDGER)))


@stage(UPKEEP)
def show_numbers(*, results: ResultsFolder, page: Annotated[Path, "The page."]) -> None:
    """Put a results folder's numbers and verdicts into a page's prose and tables, between their marks."""
    from selfdistill.files import write_text
    from selfdistill.pages import numbers

    write_text(page, numbers.filled(_text(page), results))


@stage(UPKEEP)
def resolve_revisions(*, repos: Repos, kind: Kind = "dataset", lock: Lock) -> None:
    """Look up the newest commits of hub repositories and add them to the lock file (needs the network)."""
    from selfdistill.problems import lock_revisions

    lock_revisions(repos, lock, kind)


@stage(UPKEEP)
def prefetch(*, repos: Repos, lock: Lock) -> None:
    """Download models from the hub at their locked commits, for machines without network to find in the cache."""
    from selfdistill import models
    from selfdistill.problems import pinned_revision

    revisions = {repo: pinned_revision(repo, "locked", lock) for repo in repos}
    for repo, revision in revisions.items():
        print(f"{repo}@{revision[:12]}: {models.fetch(repo, revision)}", flush=True)


@stage(UPKEEP)
def document_config(
    *, page: Annotated[Path, "The page (Markdown)."], schema: Annotated[Path, "The schema (YAML)."]
) -> None:
    """Write the page that lists the configuration keys, and their JSON schema (as YAML)."""
    import yaml

    from selfdistill import config
    from selfdistill.files import write_text

    write_text(page, config.document())
    write_text(schema, yaml.safe_dump(config.schema(), sort_keys=False))


@stage(UPKEEP)
def bundle_provenance(results: ResultsFolder) -> None:
    """Put the provenance sidecars of a results tree into its one provenance.jsonl, for a study that is shipped."""
    from selfdistill.records import bundle
    from selfdistill.records.studies import check_whole

    check_whole(results)
    print(f"{results / bundle.BUNDLE}: {bundle.bundle(results)} records")


@stage(UPKEEP)
def pack_measures(results: ResultsFolder, *, out: OutFolder) -> None:
    """Gather what a study's tables and ledger are made of, without what models wrote, for a study that is shipped."""
    from selfdistill.records import measures

    print(f"{out / measures.MEASURES}: of {measures.pack(results, out)} tables")


@stage(UPKEEP)
def unpack_measures(
    tree: Annotated[Path, "A folder with packed measures, such as a shipped study."], *, out: OutFolder
) -> None:
    """Put a shipped study's measures into a results folder, where its tables and ledger can be made again."""
    from selfdistill.records.measures import unpack

    print(f"{out}: {unpack(tree, out)} tables, without what models wrote")


@stage(UPKEEP)
def archive(results: ResultsFolder, *, out: Out) -> None:
    """Put a finished study with its records and the workflow into one zip, a Workflow Run RO-Crate."""
    from selfdistill.opening import check_here
    from selfdistill.records import archive as archiving

    check_here()
    print(f"{out}: {archiving.archive(results, Path.cwd(), out)} files")


@stage(UPKEEP)
def new_study(
    *,
    model: Annotated[str, "A folder with a saved model, or a repository of the hub (REPO, or REPO@COMMIT)."],
    problems: Annotated[Path, "File of problems with answers, to select from and to train on."],
    benchmarks: Annotated[list[Path], "Files of problems with answers, to evaluate on; the hardest last."],
    out: Annotated[Path, "The configuration, a new file."] = Path("mine.yaml"),
) -> None:
    """Write a small, complete configuration for a model and data of one's own, after looking at them."""
    from selfdistill import new_study as writing
    from selfdistill.opening import check_here

    check_here()
    writing.write(model, problems, benchmarks, out)
    print(f"{out}: look at the lines that say EDIT, then `snakemake --configfile {out} --dry-run`")
