"""Snakemake's records of a working folder, with the locks of `locks`, and with our records beside them.

Snakemake remembers in ``.snakemake/metadata`` what made a file, not what the file held, and nothing at all when results
come without that folder: copied, cleaned, from another machine. Our own records hold both. What no longer is what its
record says is made again; so is what another configuration made, where only our records can tell.
"""

import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from snakemake.logging import logger
from snakemake.persistence import ParamsChange

from selfdistill.files import is_unchanged
from selfdistill.locks import Locks, warm_folder
from selfdistill.records.attempts import is_whole
from selfdistill.records.bundle import Record, Records
from selfdistill.records.standing import changed_since_recorded
from selfdistill.targets import unknown_targets
from selfdistill.warm import start

# Parameters of rules that are no words of the job's command, or decide no result.
NO_WORDS = ("code", "processes", "statements", "mirrors")
# How Snakemake has recorded where step metrics are also sent, or that they are not. It decides no result.
SENT = ("'--mirrors ", "''")


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
        return [] if self.has_metadata(job) else sorted(set(self._made_otherwise(job)))

    @cached_property
    def _changed(self) -> set[Path]:
        return {path.absolute() for path in changed_since_recorded(self.results)} if self.results else set()

    @cached_property
    def _records(self) -> Records:
        return Records(self.results, lambda _: None)

    def _made_otherwise(self, job: Any) -> Iterator[str]:
        """What differs between a job and the records of its outputs, of which Snakemake knows nothing."""
        for file in job.output:
            record = self.record_of(file)
            if record is not None:
                yield from (f"{file} was made {how}" for how in self._differences(record, job))

    def _differences(self, record: Record, job: Any) -> Iterator[str]:
        made = record.content["command"]
        for name, value in job.params.items():
            if name not in NO_WORDS:
                for word in shlex.split(str(value)):
                    if word not in made:
                        yield f"with {_same_flag(word, made)}, now {word}"
        for file in map(str, job.input):
            if file in record.inputs and Path(file).is_file() and not is_unchanged(file, record.inputs[file]):
                other = self._records.of(Path(file))
                if other is None or other.whole != record.inputs[file]:
                    yield f"from another version of {file}"

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


def _same_flag(word: str, made: list[str]) -> str:
    flag = word.partition("=")[0]
    return next((other for other in made if other.partition("=")[0] == flag), f"no {word}")


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
