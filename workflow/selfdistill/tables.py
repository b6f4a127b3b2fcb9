"""Every Parquet schema of the package, the one writer and the one checking reader.

Equal tables give equal bytes: columns in schema order, rows in key order, fixed writer options, and no
time, host or path inside the file. Every page has a checksum, so that one changed bit is refused and not read as other
numbers; files without checksums, of earlier versions and other writers, are read as they are.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from selfdistill.errors import UserError, nearest
from selfdistill.files import atomic_path
from selfdistill.markers.counting import MARKERS, MODES

# Rows that `batches` reads at a time.
BATCH_ROWS = 2**17
# Ways to count a marker (see `markers.counting`); a traces table holds both counts of each marker.
COUNT_MODES = MODES
MARKER_COLUMNS = {mode: [f"{mode}_{marker}" for marker in MARKERS] for mode in COUNT_MODES}


@dataclass(frozen=True)
class Kind:
    """What a table holds."""

    name: str
    schema: pa.Schema
    key: tuple[str, ...]  # rows are written in this order, whatever order they were computed in
    # Columns of what a model was shown and wrote, and of how it was drawn; `records.measures` shares tables without.
    text: tuple[str, ...] = ()

    @property
    def columns(self) -> list[str]:
        return self.schema.names

    def reduced(self) -> pa.Schema:
        """The schema without `text`."""
        return pa.schema([field for field in self.schema if field.name not in self.text])


def _schema(**columns: pa.DataType) -> pa.Schema:
    return pa.schema([pa.field(name, kind) for name, kind in columns.items()])


UNKNOWN_TYPE = "unknown"  # the problem_type of a source that has none
PROBLEMS = Kind(
    "problems",
    key=("position",),
    schema=_schema(
        problem_id=pa.string(),  # 16 hex digits of the SHA-256 of the normalised problem text
        position=pa.int32(),  # place in the source file, duplicates dropped ("file order")
        problem=pa.string(),
        answer=pa.string(),
        source=pa.string(),
        problem_type=pa.string(),
    ),
)

TRACES = Kind(
    "traces",
    key=("study", "model", "run", "stage", "setting", "step", "problem_id", "sample"),
    text=("seed", "context_sample", "prompt_sha256", "response", "answer"),
    schema=_schema(
        study=pa.string(),
        model=pa.string(),
        run=pa.string(),  # "base", or the training run of the model
        step=pa.int32(),  # trainer steps of the model; null outside of training runs
        stage=pa.string(),
        setting=pa.string(),
        problem_id=pa.string(),
        sample=pa.int32(),
        seed=pa.uint64(),
        context_sample=pa.int32(),  # which earlier response was shown as context; null without context
        prompt_sha256=pa.string(),
        response=pa.string(),
        response_tokens=pa.int32(),
        finish_reason=pa.string(),  # "stop" or "length"
        answer=pa.string(),  # null without a closed box outside the thinking
        correct=pa.bool_(),
        accepted=pa.bool_(),  # the answer is not a guess (`verification.measure`)
        verified=pa.bool_(),  # it is accepted, and shown to hold; outside the microcosm approximately
        **{name: pa.int32() for mode in COUNT_MODES for name in MARKER_COLUMNS[mode]},
    ),
)

# `prompt` and `completion` are message lists: the conversational layout that TRL's SFTTrainer and
# `datasets.load_dataset("parquet", ...)` read as they are.
_MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
SFT_EXAMPLES = Kind(
    "sft_examples",
    key=("problem_id", "sample"),
    text=("prompt", "completion"),
    schema=_schema(
        prompt=_MESSAGES,
        completion=_MESSAGES,
        problem_id=pa.string(),
        sample=pa.int32(),
        correct=pa.bool_(),
        finish_reason=pa.string(),  # as in the traces; a response cut at its limit is trained without end of turn
        response_tokens=pa.int32(),
        E_substring=pa.int32(),
        E_word=pa.int32(),
    ),
)

# Of every response that was drawn with a context: its log-probability under the model that wrote it, in nats.
INFORMATION = Kind(
    "information",
    key=("model", "setting", "problem_id", "sample"),
    schema=_schema(
        model=pa.string(),
        setting=pa.string(),
        problem_id=pa.string(),
        sample=pa.int32(),
        tokens=pa.int32(),  # scored: those of the response, and its end
        given=pa.float64(),  # log p(y | x, c)
        alone=pa.float64(),  # log p(y | x)
    ),
)

# What a step along the gradient of a loss does to success, by response and kind of place (`training.alignment`).
ALIGNMENT = Kind(
    "alignment",
    key=("model", "method", "context", "benchmark", "problem_id", "sample", "place"),
    schema=_schema(
        model=pa.string(),
        method=pa.string(),  # whose loss: "grpo" or "sdpo"
        context=pa.string(),  # c of the self-teacher; "" without one
        benchmark=pa.string(),  # whose success; "trained": of the problems that are trained on
        problem_id=pa.string(),
        sample=pa.int32(),
        correct=pa.bool_(),
        place=pa.string(),  # "decision", "verification" or "other"
        tokens=pa.int32(),
        gain=pa.float64(),  # points for a step of length one; a problem's sum has the change of success as its mean
        gradient_length=pa.float64(),  # of the whole loss's gradient
    ),
)

TRAINING_STEPS = Kind(
    "training_steps",
    key=("model", "run", "metric", "step"),
    schema=_schema(
        model=pa.string(),
        run=pa.string(),
        step=pa.int32(),
        metric=pa.string(),
        value=pa.float64(),
    ),
)

# The columns that distinguish on-policy training runs, besides the draw of problems and the seeds.
_ARM = dict(
    family=pa.string(),  # models that differ only by the seed of their pre-training share one
    thinking=pa.string(),  # "on" or "off"
    method=pa.string(),  # "grpo" or "sdpo"
    context=pa.string(),  # c of the self-teacher: "solution", "solution_without_thinking", or "none"
    teacher_update_rate=pa.float64(),  # 0: fixed; null without a teacher
    problem_set=pa.string(),
    problems=pa.int32(),  # |D|: distinct questions in the training set
    whole_set=pa.bool_(),  # D is the whole problem set
    learning_rate=pa.float64(),
    top_k=pa.int32(),  # support of the divergence; null without a teacher
)

# On-policy training runs, one row each.
RUNS = Kind(
    "runs",
    key=("study", "model", "run"),
    schema=_schema(
        study=pa.string(),
        model=pa.string(),
        run=pa.string(),
        **_ARM,
        draw=pa.int32(),  # the disjoint part of the problem set that is D
        seed=pa.int32(),
    ),
)

# Fine-tuning runs, one row each.
SFT_RUNS = Kind(
    "sft_runs",
    key=("study", "model", "run"),
    schema=_schema(
        study=pa.string(),
        model=pa.string(),
        run=pa.string(),
        data=pa.string(),  # the set trained on
        learning_rate=pa.float64(),
    ),
)

# Beside every interval.
_PLAIN = dict(
    plain_low=pa.float64(),  # the interval by this number's own variance between base models alone
    plain_high=pa.float64(),
    models=pa.int32(),  # base models averaged
    by_model=pa.string(),  # JSON: the value of each base model
)

# Curves over training steps: one row per arm, benchmark, step and metric, averaged over base models.
CURVES = Kind(
    "curves",
    key=("study", *_ARM, "benchmark", "metric", "step"),
    schema=_schema(
        study=pa.string(),
        **_ARM,
        benchmark=pa.string(),  # "" for the rollouts of training themselves
        step=pa.int32(),
        metric=pa.string(),
        value=pa.float64(),
        low=pa.float64(),
        high=pa.float64(),
        **_PLAIN,
        confidence=pa.float64(),
        band=pa.string(),  # what low and high say that another draw could give: "problems", "base models", or both
        runs=pa.int32(),
        samples=pa.int32(),
        origin=pa.string(),
    ),
)

# A published table or figure in tidy form: one row per number that is shown.
SUMMARY = Kind(
    "summary",
    key=("study", "artifact", "model", "row", "benchmark", "metric", "origin"),
    schema=_schema(
        study=pa.string(),
        artifact=pa.string(),  # "table_1", "table_2", ...
        model=pa.string(),  # the family of base models that is averaged
        row=pa.string(),  # the setting or training run
        benchmark=pa.string(),
        metric=pa.string(),
        value=pa.float64(),
        low=pa.float64(),  # what other base models and other problems could have given; null for a quoted number
        high=pa.float64(),
        **_PLAIN,
        sampling_low=pa.float64(),  # what other samples could have given, base models and problems held fixed
        sampling_high=pa.float64(),
        confidence=pa.float64(),
        problems=pa.int32(),
        samples=pa.int32(),
        origin=pa.string(),  # "measured", "quoted" (taken from the paper) or "derived" (follows from quoted numbers)
    ),
)

# The claims ledger: one row per test of each statement and rate.
LEDGER = Kind(
    "ledger",
    key=("place", "variant", "test", "benchmark", "part"),
    schema=_schema(
        place=pa.int32(),  # of the statement in the list
        id=pa.string(),
        section=pa.string(),
        statement=pa.string(),
        variant=pa.string(),  # the learning rate, where several are tested
        primary=pa.bool_(),  # one of those under a correction by Holm
        ours=pa.bool_(),  # not in the paper
        taught=pa.bool_(),  # pre-training teaches the microcosm's models to behave so
        same_as=pa.string(),  # the statement that says the same, whose verdict this is
        verdict=pa.string(),  # of the statement, from all its tests
        correction=pa.string(),  # "Holm" or "Benjamini-Hochberg", of ours "Holm, ours" or "Benjamini-Hochberg, ours"
        family=pa.int32(),  # statements that are corrected together
        p=pa.float64(),  # of the statement
        p_adjusted=pa.float64(),
        p_no_effect=pa.float64(),  # corrected: that some effect reaches its margin
        test=pa.string(),
        of=pa.string(),  # "guidance", "information", "alignment", "solutions", "sets", "sft", "training", "evaluation"
        metric=pa.string(),
        benchmark=pa.string(),
        part=pa.string(),  # the tenth of training, marker or |D| that the test is about
        claim=pa.string(),  # of the effect: "more", "no_less", "same", "little" or "more_than"
        margin=pa.float64(),  # the mean over base models, where it is a share of another effect
        value=pa.float64(),  # the effect
        low=pa.float64(),
        high=pa.float64(),
        plain_low=pa.float64(),  # without what like quantities say of the variance between base models
        plain_high=pa.float64(),
        confidence=pa.float64(),
        se=pa.float64(),
        df=pa.float64(),
        p_for=pa.float64(),  # one-sided: against the opposite of what is claimed
        p_against=pa.float64(),  # one-sided: against what is claimed
        p_within=pa.float64(),  # that the effect reaches its margin, of two one-sided tests; 1 without margin
        models=pa.int32(),  # base models
        problems=pa.int32(),
        models_needed=pa.int32(),  # for 80 % power at an open statement's least certain test; null: > 1,000, others
        remark=pa.string(),  # what is missing or left out
        expects=pa.string(),  # of a primary statement
        published=pa.string(),  # quoted from the paper
        note=pa.string(),  # where the test differs from the paper's setting
        files=pa.list_(pa.string()),  # responses compared, by their place in the results folder
    ),
)

# The effects behind the claims ledger: one row per test and base model.
EFFECTS = Kind(
    "effects",
    key=("id", "variant", "test", "benchmark", "part", "model"),
    schema=_schema(
        id=pa.string(),
        variant=pa.string(),
        test=pa.string(),
        benchmark=pa.string(),
        part=pa.string(),
        model=pa.string(),  # the base model
        value=pa.float64(),
        problems=pa.int32(),
    ),
)

# By name. What is computed reads and writes kinds that it names itself, so that a new column reruns nothing else.
KINDS = {
    kind.name: kind
    for kind in (
        PROBLEMS, TRACES, INFORMATION, ALIGNMENT, SFT_EXAMPLES, TRAINING_STEPS, RUNS, SFT_RUNS, CURVES, SUMMARY, LEDGER,
        EFFECTS,
    )
}  # fmt: skip


def kind_of(columns: pa.Schema) -> Kind | None:
    """The kind whose schema is ``columns``, whole or reduced; None for those of no known table."""
    return next((kind for kind in KINDS.values() if columns in (kind.schema, kind.reduced())), None)


def write(frame: pd.DataFrame, path: str | Path, kind: Kind) -> None:
    """Write ``frame`` to ``path`` (Parquet) in schema and key order; the file appears whole or not at all."""
    _check_columns(list(frame.columns), kind.schema, f"the table for {path}")
    ordered = frame.sort_values(list(kind.key), kind="stable", ignore_index=True)
    table = pa.Table.from_pandas(ordered[kind.columns], schema=kind.schema, preserve_index=False)
    store(table.replace_schema_metadata(None), path)


def store(table: pa.Table, path: str | Path, level: int | None = None) -> None:
    """Write ``table`` to ``path`` as it is; ``level``: how hard it is compressed, with zstd's own by default."""
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", compression_level=level, write_page_checksum=True)


def read(path: str | Path, kind: Kind, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Read the Parquet file ``path``, or some ``columns`` of it, and check it against the schema of its kind."""
    with _readable(path, kind.name):
        file, wanted = _opened(path, kind, columns)
        return file.read(columns=wanted.names).select(wanted.names).to_pandas()


def batches(path: str | Path, kind: Kind, columns: Sequence[str]) -> Iterator[pd.DataFrame]:
    """`read`, some rows at a time, for tables that are larger than memory."""
    return (batch.to_pandas() for batch in record_batches(path, kind, columns, BATCH_ROWS))


def record_batches(path: str | Path, kind: Kind, columns: Sequence[str], batch_rows: int) -> Iterator[pa.RecordBatch]:
    """`batches` of at most ``batch_rows`` rows, as Arrow holds them."""
    with _readable(path, kind.name):
        file, wanted = _opened(path, kind, columns)
        for batch in file.iter_batches(batch_rows, columns=wanted.names):
            yield batch.select(wanted.names)


def whole(path: Path) -> pa.Table:
    """The Parquet file ``path`` as Arrow holds it, whatever its columns."""
    with _readable(path, "any kind"):
        return pq.ParquetFile(path, page_checksum_verification=True).read()


def rows(path: str | Path, kind: Kind) -> int:
    """The number of rows of the Parquet file ``path``, after the checks of `read` but those of the rows themselves."""
    with _readable(path, kind.name):
        return _opened(path, kind, None)[0].metadata.num_rows


@contextmanager
def _readable(path: str | Path, kind: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"{path}: no such file (expected a Parquet table of '{kind}')") from None
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # the last one: of names in a damaged footer
        raise UserError(f"{path}: not a readable Parquet file: {' '.join(str(error).split())}") from None


def _opened(path: str | Path, kind: Kind, columns: Sequence[str] | None) -> tuple[pq.ParquetFile, pa.Schema]:
    """The file, and the schema of the wanted columns, after checks."""
    wanted = kind.schema
    file = pq.ParquetFile(path, page_checksum_verification=True)
    found = file.schema_arrow
    if columns is not None:
        wanted = pa.schema([wanted.field(name) for name in columns])
    _check_columns([name for name in found.names if columns is None or name in columns], wanted, str(path))
    for field in wanted:
        if found.field(field.name).type != field.type:
            raise UserError(f"{path}: column '{field.name}' is {found.field(field.name).type}, expected {field.type}")
    return file, wanted


def _check_columns(found: list[str], wanted: pa.Schema, where: str) -> None:
    missing = [name for name in wanted.names if name not in found]
    if missing:
        raise UserError(f"{where}: column '{missing[0]}' is missing{nearest(missing[0], found)}")
    unknown = [name for name in found if name not in wanted.names]
    if unknown:
        raise UserError(f"{where}: unknown column '{unknown[0]}'{nearest(unknown[0], wanted.names)}")
    if len(found) > len(wanted.names):
        raise UserError(f"{where}: column '{max(found, key=found.count)}' occurs twice")
