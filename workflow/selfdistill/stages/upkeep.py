"""Upkeep of locks, caches and generated pages."""

from pathlib import Path


def show_verdicts(*, ledger: Path, page: Path) -> None:
    """Put a ledger's verdicts into a page, such as the README, between its marks."""
    from selfdistill import tables
    from selfdistill.files import write_text
    from selfdistill.pages import ledger_page

    write_text(page, ledger_page.with_verdicts(page.read_text(encoding="utf-8"), tables.read(ledger, "ledger")))


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


def bundle_provenance(results: Path) -> None:
    """Put the provenance sidecars of a results tree into its one provenance.jsonl, for a study that is shipped."""
    from selfdistill.records import bundle

    print(f"{results / bundle.BUNDLE}: {bundle.bundle(results)} records")
