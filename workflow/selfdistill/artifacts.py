"""Every figure and table of a study, one line each: read by the rules, the configuration, the report, plans and tests.

A figure is its line here and its script ``workflow/scripts/draw_{name}.py``, whose docstring is the caption. The
workflow reads this module while it builds its graph, so that nothing heavy is imported.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from selfdistill.errors import UserError, nearest

Files = dict[str, str | list[str]]


class Study(Protocol):
    """What figures need of a `selfdistill.study.Study`."""

    config: Any
    example: dict[str, str]
    curves: str
    sft_runs: Any
    worded: Any
    trained: Any
    released: Any

    def sft_runs_on(self) -> list[str]: ...

    def figure_curves(self, figure: str) -> str: ...

    def table(self, name: str) -> str: ...

    def training(self, model: str, run: str) -> str: ...

    def evaluation(self, model: str, run: str, benchmark: str) -> str: ...

    def problems(self, problem_set: str) -> str: ...


There = Callable[[Study], bool]


def _always(study: Study) -> bool:
    return True


def _tuned(study: Study) -> bool:
    """Whether Section 4 is run."""
    return bool(study.config.sft.models)


def _edited(study: Study) -> bool:
    """Whether fine-tuning is run on edited data sets."""
    return bool(study.config.sft.edited)


def _worded(study: Study) -> bool:
    """Whether base models are evaluated with other words."""
    return bool(study.config.sft.models and study.config.evaluation.words)


def _informed(study: Study) -> bool:
    """Whether what contexts tell of responses is measured."""
    return bool(study.config.guidance.information)


def _aligned(study: Study) -> bool:
    """Whether it is measured where gradients point."""
    return bool(study.config.guidance.alignment)


def _trained(study: Study) -> bool:
    """Whether any on-policy run is trained here."""
    return bool(study.trained)


def _released(study: Study) -> bool:
    """Whether checkpoints are evaluated that were trained elsewhere."""
    return bool(study.released)


@dataclass(frozen=True)
class Source:
    """What figures are drawn from.

    ``files``: a study's files for a figure, by the name under which a script's ``draw`` takes their table.
    ``group``: the job on a cluster that makes these files, in which their figures travel; None: none.
    ``there``: whether a study has them.
    """

    files: Callable[[Study, str], Files]
    group: str | None = None
    there: There = _always


def _table(name: str, group: str | None, there: There = _always) -> Source:
    return Source(lambda study, figure: {"table": study.table(name)}, group, there)


def _curves(study: Study, figure: str) -> Files:
    """Those of the runs in the figure's view; of all runs for a figure without one."""
    return {"curves": study.figure_curves(figure) if figure in VIEWED else study.curves}


def _sft_steps(study: Study, figure: str) -> Files:
    return {"steps": [study.training(model, run) for model in study.config.sft.models for run in study.sft_runs_on()]}


def _examples(study: Study, figure: str) -> Files:
    model, run, benchmark = (study.example[name] for name in ("model", "run", "benchmark"))
    return {
        "base": study.evaluation(model, "base", benchmark),
        "trained": study.evaluation(model, run, benchmark),
        "problems": study.problems(benchmark),
    }


CURVES = Source(_curves, "curves")
ALL_CURVES = Source(_curves)
TABLE_1 = _table("table_1", "section_3")
TABLE_A1 = _table("table_a1", "section_3")
SELECTION = _table("selection", "section_3")
TABLE_2 = _table("table_2", "section_4", _tuned)
TABLE_EDITED = _table("table_edited", None, _edited)
TABLE_WORDS = _table("table_words", None, _worded)
INFORMATION = _table("table_information", None, _informed)
ALIGNMENT = _table("table_alignment", None, _aligned)
ENDS = _table("table_released", "sections_5_and_6", _released)
SFT_STEPS = Source(_sft_steps, there=_tuned)
EXAMPLES = Source(_examples, there=_tuned)


def _view(figure: str, study: Study) -> dict[str, Any]:
    """Which on-policy runs a figure shows, with the benchmarks of the problem set that they were trained on."""
    chosen = study.config.figures.views[figure]
    return {**vars(chosen), "benchmarks": _sets(study, chosen.problem_set)}


def _sets(study: Study, trained_on: str) -> list[str]:
    """The problem sets that runs on one are evaluated on."""
    return [name for name in study.config.onpolicy.benchmarks[trained_on] if name in study.benchmarks]


def _narrow(figure: str, study: Study) -> dict[str, Any]:
    """The runs on problems that are of the same types in training and test, and their benchmarks."""
    chosen = study.config.figures.narrow
    return {**vars(chosen), "benchmarks": _sets(study, chosen.problem_set)}


def _sft_runs(figure: str, study: Study) -> dict[str, tuple[str, float]]:
    """Data set and learning rate of every fine-tuning run, by id."""
    return {name: (run.data, run.learning_rate) for name, run in study.sft_runs.items()}


# Settings that a figure can take from the configuration, by the name of ``draw``'s parameter.
SETTINGS: dict[str, Callable[[str, Study], Any]] = {
    "view": _view,
    "narrow": _narrow,
    "runs": _sft_runs,
    "low": lambda figure, study: study.config.selection.low,
    "high": lambda figure, study: study.config.selection.high,
    "target": lambda figure, study: study.config.selection.target,
    "benchmarks": lambda figure, study: study.config.evaluation.benchmarks,
    "words": lambda figure, study: [*study.worded],
}


@dataclass(frozen=True)
class Figure:
    """One drawn figure; ``title`` is what a reader calls it, ``page``: whether a page (HTML) is written with it."""

    name: str
    section: str
    title: str
    source: Source
    settings: tuple[str, ...] = ()
    page: bool = False

    def files(self, study: Study) -> Files:
        """What it is drawn from, by the name under which its script takes each table."""
        return self.source.files(study, self.name)


@dataclass(frozen=True)
class Table:
    """One table; ``title`` is what a reader calls it.

    ``of_all_runs``: whether it gathers every on-policy run; ``there``: whether a study has it.
    """

    name: str
    section: str
    title: str
    of_all_runs: bool = False
    there: There = _always


_FIGURES = (
    Figure("fig_1", "Section 1", "Figure 1", CURVES, ("view", "narrow")),
    Figure("fig_2", "Section 2", "Figure 2", EXAMPLES, page=True),
    Figure("table_1", "Section 3", "Table 1 (drawn)", TABLE_1),
    Figure("marker_breakdown", "Section 3", "Figure of A.1.1 (markers)", TABLE_A1),
    Figure("selection", "Section 3", "Figure of solve rates", SELECTION, ("low", "high", "target")),
    Figure("table_2", "Section 4", "Table 2 (drawn)", TABLE_2, ("runs", "benchmarks")),
    Figure("sft_curves", "Section 4", "Figure of fine-tuning losses", SFT_STEPS, ("runs",)),
    Figure("fig_3", "Section 5", "Figure 3", CURVES, ("view",)),
    Figure("fig_4", "Section 5", "Figure 4", CURVES, ("view",)),
    Figure("fig_5", "Section 5", "Figure 5", CURVES, ("view",)),
    Figure("fig_6", "Section 5", "Figure 6", CURVES, ("view",)),
    Figure("released", "Section 5", "Figure of released checkpoints", ENDS),
    Figure("fig_7", "Section 6", "Figure 7", CURVES, ("view",)),
    Figure("fig_8", "Section 6", "Figure 8", CURVES, ("view",)),
    Figure("fig_d1", "Appendix", "Figure D.1", CURVES, ("view",)),
    Figure("fig_e", "Appendix", "Figures of Appendix E", CURVES, ("view",)),
    Figure("arms", "Beyond the paper", "Figure of what goes with accuracy", ALL_CURVES),
    Figure("edited", "Beyond the paper", "Figure of edited data sets", TABLE_EDITED, ("runs", "benchmarks")),
    Figure("words", "Beyond the paper", "Figure of other words", TABLE_WORDS, ("words", "benchmarks")),
    Figure("information", "Section 3", "Figure of what contexts tell", INFORMATION),
    Figure("alignment", "Beyond the paper", "Figure of where gradients point", ALIGNMENT, ("benchmarks",)),
)
_TABLES = (
    Table("table_1", "Section 3", "Table 1"),
    Table("table_a1", "Section 3", "Table A.1.1"),
    Table("table_2", "Section 4", "Table 2", there=_tuned),
    Table("table_onpolicy", "Section 5", "Table of on-policy runs", of_all_runs=True),
    Table("table_rates", "Section 5", "Table of GRPO's rates", of_all_runs=True, there=_trained),
    Table("table_released", "Section 5", "Table of released checkpoints", of_all_runs=True, there=_released),
    Table("table_3", "Section 6", "Table 3", of_all_runs=True, there=_trained),
    Table("table_information", "Section 3", "Table of what contexts tell", there=_informed),
    Table("table_edited", "Beyond the paper", "Table of edited data sets", there=_edited),
    Table("table_words", "Beyond the paper", "Table of other words", there=_worded),
    Table("table_alignment", "Beyond the paper", "Table of where gradients point", there=_aligned),
)
FIGURES = {figure.name: figure for figure in _FIGURES}
TABLES = {table.name: table for table in _TABLES}
# The figures with a view of their own in the configuration (`figures.views`).
VIEWED = tuple(figure.name for figure in _FIGURES if "view" in figure.settings)
SECTIONS = tuple(dict.fromkeys(each.section for each in (*_FIGURES, *_TABLES)))


def target_of(section: str) -> str:
    """What a start is told to make a section's figures and tables: "section_3", "appendix"."""
    return section.lower().replace(" ", "_")


def of_section(section: str) -> tuple[list[Figure], list[Table]]:
    """A section's figures, and those of its tables that need no run of another section."""
    tables = [table for table in _TABLES if table.section == section and not table.of_all_runs]
    return [figure for figure in _FIGURES if figure.section == section], tables


def figure_named(name: str) -> Figure:
    """The figure called ``name``; `UserError` with the nearest spelling where there is none."""
    if name not in FIGURES:
        raise UserError(f"unknown figure '{name}'{nearest(name, FIGURES)}; known: {', '.join(FIGURES)}")
    return FIGURES[name]


def settings_of(figure: Figure, study: Study) -> dict[str, Any]:
    """What ``figure`` asks of a study's configuration."""
    return {name: SETTINGS[name](figure.name, study) for name in figure.settings}
