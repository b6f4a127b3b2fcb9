"""A finished study in one zip: a Workflow Run RO-Crate, which archives, catalogues and people can read without us.

It holds results, the reading room, records, configuration, lock file and the workflow that made them. The tables of all
responses, and models, are too large; their records with digests are in it. Profile:
https://w3id.org/ro/wfrun/workflow/0.5 (Leo et al. 2024, PLoS ONE 19:e0309210).
"""

import json
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from selfdistill.errors import UserError
from selfdistill.files import all_below, atomic_path, write_text
from selfdistill.records.bundle import BUNDLE, Record, Records, lines
from selfdistill.written import read_recorded

RESULTS = (
    "tables", "figures", "claims", "reading_room", "datasets", "curves", "curves.parquet", "spread.parquet",
    "config.yaml",
)  # fmt: skip
# Data sets: only their cards, since examples are responses.
LEFT_OUT = ("datasets/**/*.parquet", "**/*.provenance.json")
WORKFLOW = "Snakefile"
SOURCES = (WORKFLOW, "workflow", "config.yaml", "config", "envs", "profiles", "LICENSE", "CITATION.cff", "README.md")
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate",
}
TYPES = {
    ".parquet": "application/vnd.apache.parquet", ".csv": "text/csv", ".txt": "text/plain", ".md": "text/markdown",
    ".json": "application/json", ".jsonl": "application/jsonl", ".yaml": "application/yaml",
    ".html": "text/html", ".tex": "application/x-tex", ".png": "image/png", ".svg": "image/svg+xml",
    ".pdf": "application/pdf", ".js": "text/javascript",
}  # fmt: skip
TEXT = "text/plain"  # all else
EPOCH = (1980, 1, 1, 0, 0, 0)  # of every file in the zip, so that equal contents give equal bytes


def archive(results: Path, checkout: Path, out: Path) -> int:
    """Write the results tree ``results`` and the workflow in ``checkout`` as the crate ``out``; returns its files.

    `UserError` where the study is not finished, or its records are damaged, and where ``out`` is there and no archive.
    """
    if out.exists() and not zipfile.is_zipfile(out):
        raise UserError(f"{out}: is there already, and no archive; --out names another file")
    if not (results / "claims" / "ledger.parquet").is_file():
        raise UserError(f"{results}: not a finished study (no claims/ledger.parquet)")
    records = Records(results).all()
    if not records:
        raise UserError(f"{results}: no records of how its files were made")
    with tempfile.TemporaryDirectory() as folder:
        crate = Path(folder)
        _write_crate(crate, results, checkout, records)
        return _zip(crate, out)


def _write_crate(folder: Path, results: Path, checkout: Path, records: dict[str, Record]) -> None:
    from rocrate.rocrate import ROCrate

    study = read_recorded(results / "config.yaml")["study"]
    citation = yaml.safe_load((checkout / "CITATION.cff").read_text(encoding="utf-8"))
    crate = ROCrate(version="1.1")  # what the profiles are written for
    crate.name = f"Results of the study '{study}'"
    crate.description = citation["abstract"]
    crate.license = _named(crate, f"https://spdx.org/licenses/{citation['license']}", citation["license"])
    run = _run(study, records)
    crate.datePublished = run["endTime"]
    workflow = crate.add_workflow(checkout / WORKFLOW, WORKFLOW, main=True, lang="snakemake")
    workflow["name"], workflow["license"] = citation["title"], crate.license
    workflow["version"] = str(citation["version"])
    for path in _sources(checkout):
        if str(path) != WORKFLOW:
            _add(crate, checkout / path, str(path))
    crate.dereference("README.md")["about"] = crate.root_dataset
    kept = [str(path) for path in _results(results)]
    made = [_add(crate, results / path, f"results/{path}") for path in kept]
    with tempfile.TemporaryDirectory() as held:
        bundle = Path(held) / BUNDLE
        write_text(bundle, lines(records, records.keys() - set(kept)))
        made.append(_add(crate, bundle, f"results/{BUNDLE}"))
        crate.add_action(
            workflow,
            identifier="#run",
            object=[crate.dereference("results/config.yaml")],
            result=[file for file in made if file.id != "results/config.yaml"],
            properties=run,
        )
        crate.root_dataset["conformsTo"] = [
            _named(crate, address, name, version=address.rpartition("/")[2]) for address, name in PROFILES.items()
        ]
        crate.root_dataset["mentions"] = crate.dereference("#run")
        crate.write(folder)


def _run(study: str, records: dict[str, Record]) -> dict[str, Any]:
    """Properties of the crate's run action; its time is from the first finished file to the last."""
    when = sorted(record.content["finished"] for record in records.values())
    return {
        "name": f"Study '{study}'",
        "description": f"{len(records)} files made, each with its command, inputs and digests in results/{BUNDLE}",
        "startTime": when[0],
        "endTime": when[-1],
        "actionStatus": "http://schema.org/CompletedActionStatus",
    }


def _named(crate: Any, identifier: str, name: str, **properties: str) -> Any:
    """A work that is known by its address: a licence, a profile."""
    from rocrate.model.contextentity import ContextEntity

    return crate.add(ContextEntity(crate, identifier, {"@type": "CreativeWork", "name": name, **properties}))


def _add(crate: Any, path: Path, place: str) -> Any:
    about = {"name": place, "contentSize": str(path.stat().st_size), "encodingFormat": TYPES.get(path.suffix, TEXT)}
    return crate.add_file(path, place, properties=about)


def _sources(checkout: Path) -> Iterator[Path]:
    for name in SOURCES:
        yield from (path for path in _files(checkout, checkout / name) if "__pycache__" not in path.parts)


def _results(results: Path) -> Iterator[Path]:
    for name in RESULTS:
        yield from (path for path in _files(results, results / name) if not _matches(path, LEFT_OUT))


def _matches(path: Path, patterns: Iterable[str]) -> bool:
    return any(path.match(pattern) for pattern in patterns)


def _files(root: Path, below: Path) -> list[Path]:
    """A file, or all files below a folder, as paths from ``root``, in order."""
    found = [below] if below.is_file() else sorted(path for path in all_below(below) if path.is_file())
    return [path.relative_to(root) for path in found]


def _zip(folder: Path, out: Path) -> int:
    files = _files(folder, folder)
    with atomic_path(out) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archived:
        for path in files:
            content = (folder / path).read_bytes()
            if path.name == "ro-crate-metadata.json":
                content = json.dumps(json.loads(content), indent=1, sort_keys=True).encode()
            entry = zipfile.ZipInfo(str(path), EPOCH)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archived.writestr(entry, content)
    return len(files)
