"""Snakemake's records of a working folder, with the locks of `locks`, and with our records beside them.

Snakemake remembers in ``.snakemake/metadata`` what made a file, not what the file held, and nothing at all when results
come without that folder: copied, cleaned, from another machine. Our own records hold both. What no longer is what its
record says is made again; so is what another configuration, code or file made, where only our records can tell.
"""

import json
import re
import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from snakemake.logging import logger
from snakemake.persistence import ParamsChange
from snakemake.utils import format as filled

from selfdistill.files import is_unchanged, sha256_file
from selfdistill.locks import Locks, warm_folder
from selfdistill.records import provenance
from selfdistill.records.attempts import is_whole
from selfdistill.records.bundle import Record, Records
from selfdistill.records.standing import changed_since_recorded
from selfdistill.targets import unknown_targets
from selfdistill.warm import start

# Parameters of rules that are no words of the job's command: they are written into its records beside it.
NO_WORDS = ("code", "processes", "statements")
# What a rule's command says of a job beside what it makes, and the flags that are given such words.
ASIDE = re.compile(r"\{(?:threads|resources|output|log)\b[^}]*\}")
FREE = re.compile(rf"(--[\w.-]+)[ =]{ASIDE.pattern}")
# Where step metrics are also sent decides no result; and how Snakemake has recorded it, or that they are not.
MIRRORS, SENT = "--mirrors", ("'--mirrors ", "''")


class Persistence(Locks):
    """``results``: the study's results folder; ``names``: its models and runs, by wildcard; ``warm``: whether its jobs
    may be made by warm processes.

    All are set by the Snakefile.
    """

    results: ClassVar[Path | None] = None
    names: ClassVar[Mapping[str, Collection[str]]] = {}
    warm: ClassVar[bool] = False

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        workflow = self.dag.workflow
        if self.results is not None and workflow.is_main_process:
            unknown = unknown_targets(workflow, self.dag.targetfiles, self.results, self.names)
            if unknown:
                raise SystemExit("\n".join(unknown))

    @contextmanager
    def lock(self) -> Iterator[None]:
        """As `Locks`; while it is held, warm processes make jobs."""
        with super().lock():
            if not (self.warm and start.possible(self.dag.workflow)):
                yield
                return
            with start.warm_processes(warm_folder(self._owners / f"{self._number}.json")):
                yield

    async def finished(self, job: Any) -> None:
        """As Snakemake's; then records of the job's outputs say what the job did not know: the code that made it."""
        begun = {str(file): self._get_recorded_starttime(self._get_key(file)) for file in job.output}
        await super().finished(job)
        if self.dag.workflow.is_main_process:
            for file, since in begun.items():
                if since is not None:
                    provenance.add(file, since, made_with=_made_with(job))

    def input_checksums(self, job: Any, input_path: Any) -> set[Any]:
        """What an input was when it was read: by our records, where Snakemake knows nothing of it."""
        known, file = super().input_checksums(job, input_path), str(input_path)
        records = [record for output in job.output if (record := self.record_of(output))]
        if known != {None} or not records or not all(self._is_as_read(file, record) for record in records):
            return known
        return {f"sha256:{sha256_file(file)}"}

    async def incomplete(self, job: Any) -> list[Any]:
        """Outputs of a job that are to be made again: half written, or another file than our records say."""
        found = await super().incomplete(job)
        if self.results is None or not self.dag.workflow.is_main_process:
            return found
        causes = self.causes(job)
        if not causes:
            return found
        for cause in causes:
            self._tell(f"{cause}; {job.rule.name} is run again{self._price(job)}.")
        return list(dict.fromkeys([*found, *job.output]))

    def causes(self, job: Any) -> list[str]:
        """Why a job's outputs are to be made again by our records, one phrase each."""
        changed = [str(file) for file in job.output if Path(file).absolute() in self._changed]
        if changed:
            return [f"{file} is not what its record says" for file in changed]
        return sorted(set(self._made_otherwise(job)))

    @cached_property
    def _changed(self) -> set[Path]:
        return {path.absolute() for path in changed_since_recorded(self.results)} if self.results else set()

    @cached_property
    def _records(self) -> Records:
        return Records(self.results, lambda _: None)

    def _made_otherwise(self, job: Any) -> Iterator[str]:
        """What differs between a job and the records of its outputs.

        Where Snakemake knows the outputs, only of inputs that no job makes: those it knows by their time alone, and
        takes an older file in the place of another for the same.
        """
        known = self.has_metadata(job)
        made = {file for files in self.dag.dependencies[job].values() for file in files} if known else set()
        inputs = [str(file) for file in job.input if file not in made]
        for file in job.output:
            record = self.record_of(file)
            if record is not None:
                yield from (f"{file} was made from another version of {name}" for name in self._others(record, inputs))
                if not known:
                    yield from (f"{file} was made {how}" for how in _differences(record, job))

    def _others(self, record: Record, files: list[str]) -> Iterator[str]:
        """Inputs that are not what they were when they were read."""
        return (file for file in files if file in record.inputs and not self._is_as_read(file, record))

    def _is_as_read(self, file: str, record: Record) -> bool:
        """Whether an input is what the record says, or is gone; False where the record does not say."""
        recorded = record.inputs.get(file)
        if recorded is None or not Path(file).is_file() or is_unchanged(file, recorded):
            return recorded is not None
        other = self._records.of(Path(file))
        return other is not None and other.whole == recorded

    def params_changed(self, job: Any, file: Any = None) -> ParamsChange:
        """As Snakemake has it, but for where step metrics are also sent.

        A resource would do, but another command, or one value less in the record, trains all runs of earlier versions.
        """
        found = super().params_changed(job, file)
        if job.rule.name != "train_onpolicy":
            return found
        return replace(found, only_old=_deciding(found.only_old), only_new=_deciding(found.only_new))

    def record_of(self, file: str) -> Record | None:
        """Our record of an output that is there."""
        return self._records.of(Path(file)) if Path(file).is_file() else None

    def _price(self, job: Any) -> str:
        """What the job took, where one of its outputs says so."""
        took = next(
            (record.content["seconds"] for file in job.output if (record := self._records.of(Path(file)))), None
        )
        return "" if took is None else f" (it took {_at_least([job])}{took / 60:.1f} minutes)"

    def _tell(self, sentence: str) -> None:
        if sentence not in self._told:
            self._told.add(sentence)
            logger.warning(sentence)

    @cached_property
    def _told(self) -> set[str]:
        return set()


def _deciding(values: Collection[str]) -> set[str]:
    return {value for value in values if not value.startswith(SENT)}


def _made_with(job: Any) -> dict[str, Any]:
    return {name: json.loads(json.dumps(value)) for name, value in job.params.items() if name in NO_WORDS}


def _differences(record: Record, job: Any) -> Iterator[str]:
    """How a job's command, and what it is made with, differ from those of a record.

    A table without its text stands for one that was made elsewhere: with which code does not matter here.
    """
    template = job.rule.shellcmd or ""
    told = filled(ASIDE.sub("any", template), input=job.input, params=job.params, wildcards=job.wildcards)
    given = told.partition(f" {record.maker} ")[2].rpartition(" 2>&1")[0]
    if given:
        made, now = record.content["command"][2:], shlex.split(given)
        yield from _unlike(_by_flag(made), _by_flag(now), {MIRRORS, *FREE.findall(template)})
    made_with = record.content.get("made_with", {})
    if record.whole is None:
        for name, value in _made_with(job).items():
            if name in made_with:
                yield from _unlike({name: _parts(name, made_with[name])}, {name: _parts(name, value)})


def _by_flag(words: list[str]) -> dict[str, list[str]]:
    """The words of a command by the flag that they belong to, each with that flag."""
    found: dict[str, list[str]] = {}
    flag = ""
    for word in words:
        if word.startswith("--"):
            flag = word.partition("=")[0]
            found.setdefault(flag, []).extend([word] if "=" in word else [])
        else:
            found.setdefault(flag, []).append(f"{flag} {word}".strip())
    return found


def _parts(name: str, value: object) -> list[str]:
    """What a job is made with, in parts that a sentence can name."""
    if isinstance(value, dict):
        return [f"{key} {part}" for key, part in value.items()]
    return re.split("[;,] ", f"{name} {value}")


def _unlike(made: Mapping[str, list[str]], now: Mapping[str, list[str]], free: Collection[str] = ()) -> Iterator[str]:
    for name in sorted((made.keys() | now.keys()) - set(free)):
        before, after = made.get(name, []), now.get(name, [])
        gone = " ".join(word for word in before if word not in after)
        new = " ".join(word for word in after if word not in before)
        if gone or new:
            yield f"with {gone or f'no {new}'}, now {new or f'no {gone}'}"


def repeated_trainings(dag: Any, records: Persistence) -> Iterator[str]:
    """A sentence with the price, where runs are trained again for nothing but their checkpoints, which were deleted."""
    jobs = [job for job in dag.needrun_jobs() if job.rule.name == "train_onpolicy" and _lacks_checkpoints(job)]
    again = [job for job in jobs if not records.params_changed(job)]
    if again:
        made = [record for job in again if (record := records.record_of(job.output.steps)) is not None]
        took = f"{_at_least(again)}{sum(record.content['seconds'] for record in made) / 60:.1f} minutes"
        yield (
            f"{len(again)} of the pending trainings only make checkpoints again, which were deleted and whose "
            f"evaluation changed; they took {took}. With `onpolicy.keep_checkpoints: true` they stay."
        )


def _at_least(jobs: Iterable[Any]) -> str:
    """What stands before a time that may be that of a last attempt."""
    return "" if all(is_whole(Path(str(job.benchmark))) for job in jobs) else "more than "


def _lacks_checkpoints(job: Any) -> bool:
    return Path(job.output.steps).is_file() and not Path(job.output.checkpoints).is_dir()
