"""Commits of hub repositories: 40 hexadecimal digits, written to a lock file once and looked up from there."""

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from selfdistill.errors import UserError, nearest
from selfdistill.files import write_text

LOCKED = "locked"
LOCK_FILE = Path("config/revisions.json")
COMMIT = re.compile(r"[0-9a-f]{40}")

Kind = Literal["dataset", "model"]


def pinned_revision(repo: str, revision: str | None, lock: Path = LOCK_FILE) -> str:
    """The commit that ``revision`` stands for: itself if it has 40 hexadecimal digits, or ``locked`` in ``lock``."""
    if revision == LOCKED:
        return _locked_revision(repo, lock)
    if revision is None or not COMMIT.fullmatch(revision):
        raise UserError(
            f"{repo}: revision '{revision}' is not a commit of 40 hexadecimal digits; {_how_to_lock(repo, lock)}"
        )
    return revision


def _locked_revision(repo: str, lock: Path) -> str:
    entries = _read_lock(lock)
    if repo not in entries:
        raise UserError(f"{lock}: no revision of '{repo}'{nearest(repo, entries)}; {_how_to_lock(repo, lock)}")
    revision = entries[repo].get("revision") if isinstance(entries[repo], dict) else ""
    if revision is None:
        raise UserError(f"{lock}: the commit of '{repo}' is not known yet; {_how_to_lock(repo, lock)}")
    if not isinstance(revision, str) or not COMMIT.fullmatch(revision):
        raise UserError(f"{lock}: the revision of '{repo}' is '{revision}', not 40 hexadecimal digits")
    return revision


def is_unknown(repo: str, revision: str | None, lock: Path = LOCK_FILE) -> bool:
    """Whether a locked revision is yet to be looked up: its entry in ``lock`` is null."""
    return revision == LOCKED and (_read_lock(lock).get(repo) or {"revision": ""}).get("revision", "") is None


def _how_to_lock(repo: str, lock: Path) -> str:
    command = f"selfdistill resolve-revisions --repos {repo} --lock {lock}"
    return f"`{command}` (with --kind model for a model) resolves it, and revision '{LOCKED}' then uses it"


def resolve_revision(repo: str, kind: Kind = "dataset") -> str:
    """The commit that the hub's default branch of ``repo`` points to now."""
    from huggingface_hub import HfApi

    try:
        revision = HfApi().repo_info(repo, repo_type=kind).sha
    except Exception as error:  # no connection, no such repository, no access: no common base class
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"{kind} '{repo}' cannot be resolved: {type(error).__name__}: {reason}") from error
    if revision is None or not COMMIT.fullmatch(revision):
        raise UserError(f"{kind} '{repo}': the hub gave '{revision}', not a commit of 40 hexadecimal digits")
    return revision


def lock_revisions(repos: Sequence[str], path: Path = LOCK_FILE, kind: Kind = "dataset") -> dict[str, str]:
    """Resolve ``repos`` and write their commits to the lock file ``path``, whose other entries stay.

    Nothing is written unless all of them resolve. Returns the commits by repository.
    """
    resolved = {repo: resolve_revision(repo, kind) for repo in repos}
    today = datetime.now(UTC).date().isoformat()
    entries = _read_lock(path) if path.exists() else {}
    for repo, revision in resolved.items():
        entries[repo] = {"kind": kind, "revision": revision, "resolved": today, "source": "the hub's default branch"}
    write_text(path, json.dumps(dict(sorted(entries.items())), indent=2, ensure_ascii=False) + "\n")
    return resolved


def _read_lock(path: Path) -> dict[str, Any]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such lock file of revisions") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid JSON: {error}") from None
    if not isinstance(entries, dict):
        raise UserError(f"{path}: expected an object of repositories")
    return entries
