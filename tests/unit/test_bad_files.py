"""Bad and unusual data files, as one table: read right, or refused in one sentence that names file and place."""

import gzip
import json
import os
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from selfdistill.errors import UserError
from selfdistill.problems import ProblemSet, load_problem_set

Content = bytes | str | Callable[[Path], object]

CHOICES = ["46.07", "44.05", "18.02"]
LISTED = "q\n\nA: 46.07\nB: 44.05\nC: 18.02"
SOLUTION = "2*3=<<2*3=6>>6\nSo she has 6 apples.\n"


def written(answer: str) -> str:
    """A JSON line whose answer is written like that."""
    return f'{{"problem": "p", "answer": {answer}}}\n'


def lines(*rows: object) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def row(problem: object = "p", answer: object = "1", **more: object) -> dict:
    return {"problem": problem, "answer": answer} | more


def column(values: object, kind: pa.DataType | None = None, problems: list | None = None) -> Callable[[Path], None]:
    """Writes a Parquet file with these answers."""

    def write(path: Path) -> None:
        answers = values if isinstance(values, pa.Array) else pa.array(values, kind)
        texts = problems or [f"p{i}" for i in range(len(answers))]
        pq.write_table(pa.table({"problem": texts, "answer": answers}), path)

    return write


def table(names: list[str], *columns: pa.Array, **options: object) -> Callable[[Path], None]:
    return lambda path: pq.write_table(pa.Table.from_arrays(list(columns), names=names), path, **options)


def not_utf8() -> pa.Array:
    buffers = pa.array([b"1", b"\xff\xfe", b"3"], pa.binary()).buffers()
    return pa.Array.from_buffers(pa.string(), 3, buffers)


def cut(write: Callable[[Path], object], *, end: int | None = None, start: int = 0) -> Callable[[Path], None]:
    """The file that ``write`` writes, without its ends."""

    def damage(path: Path) -> None:
        write(path)
        path.write_bytes(path.read_bytes()[start:end])

    return damage


def broken_header(path: Path) -> None:
    """A Parquet file whose first page begins with noise."""
    column([str(i) for i in range(100)])(path)
    content = bytearray(path.read_bytes())
    content[4:40] = b"\xff" * 36
    path.write_bytes(content)


def broken_name(path: Path) -> None:
    column(["1"])(path)
    path.write_bytes(path.read_bytes().replace(b"answer", b"\xf7nswer"))


def zipped(write: Callable[[Path], object]) -> Callable[[Path], None]:
    def compress(path: Path) -> None:
        write(path)
        path.write_bytes(gzip.compress(path.read_bytes()))

    return compress


def class_column(path: Path) -> None:
    import datasets

    features = datasets.Features(
        question=datasets.Value("string"),
        choices=datasets.List(datasets.Value("string")),
        answer=datasets.ClassLabel(names=["A", "B", "C"]),
    )
    rows = {"question": ["q"], "choices": [CHOICES], "answer": [1]}
    datasets.Dataset.from_dict(rows, features=features).to_parquet(str(path))


def json_column(path: Path) -> None:
    values = pa.array(["27", '"x+1"', '"\\\\text{Evelyn}"', "0.12345678901234567890", "2.50"], pa.string())
    answers = pa.ExtensionArray.from_storage(pa.json_(pa.string()), values)
    pq.write_table(pa.table({"problem": list("abcde"), "answer": answers}), path)


def through_pandas(path: Path) -> None:
    json_column(path)
    pd.read_parquet(path).to_parquet(path)


# name: (file name, content, the answers or a part of the refusal[, settings])
NUMBERS = {
    "integer": ("a.jsonl", written("27"), ["27"]),
    "integer with a point": ("a.jsonl", written("27.0"), ["27"]),
    "integer as a double": ("a.parquet", column([27.0, 2.5]), ["27", "2.5"]),
    "decimal": ("a.jsonl", written("2.50"), ["2.50"]),
    "small exponent": ("a.jsonl", written("1e-7"), ["0.0000001"]),
    "large exponent": ("a.jsonl", written("1.5E3"), ["1500"]),
    "double with exponent": (
        "a.parquet",
        column([1e-7, 1e23, 2.5e-10]),
        ["0.0000001", "1" + "0" * 23, "0.00000000025"],
    ),
    "25 decimals": ("a.jsonl", written("0.1234567890123456789012345"), ["0.1234567890123456789012345"]),
    "integer of 40 digits": ("a.jsonl", written("7" * 40), ["7" * 40]),
    "digits before and behind the point": ("a.jsonl", written("12345678901234567890.5"), ["12345678901234567890.5"]),
    "negative zero": ("a.jsonl", written("-0.0"), ["0"]),
    "negative": ("a.jsonl", written("-3.5"), ["-3.5"]),
    "float32": ("a.parquet", column([0.1, 1e-7, 3.0, 16777216], pa.float32()), ["0.1", "0.0000001", "3", "16777216"]),
    "float16": ("a.parquet", column(np.array([0.1, 2.5], np.float16)), ["0.1", "2.5"]),
    "float32 in a structure": (
        "a.parquet",
        table(
            ["prompt", "reward_model"],
            pa.array(["p"]),
            pa.array([{"ground_truth": 0.1}], pa.struct([("ground_truth", pa.float32())])),
        ),
        ["0.1"],
    ),
    "Parquet decimal": ("a.parquet", column([Decimal("1.50"), Decimal("3.00")], pa.decimal128(10, 2)), ["1.50", "3"]),
    "Parquet decimal of 60 digits": ("a.parquet", column([Decimal("1" * 60)], pa.decimal256(70, 0)), ["1" * 60]),
    "uint64": ("a.parquet", column([2**64 - 1], pa.uint64()), [str(2**64 - 1)]),
    "JSON infinity": (
        "a.jsonl",
        written("Infinity"),
        "line 1, column 'answer': a number beyond those of double precision",
    ),
    "JSON negative infinity": ("a.jsonl", written("-Infinity"), "column 'answer': a number beyond"),
    "JSON NaN": ("a.jsonl", written("NaN"), "column 'answer': no value"),
    "1e400": (
        "a.jsonl",
        written("1e400"),
        "column 'answer': a number beyond those of double precision; write it as a text",
    ),
    "1e-400": ("a.jsonl", written("1e-400"), "column 'answer': a number beyond"),
    "an exponent of 30 digits": ("a.jsonl", written("1e" + "9" * 30), "column 'answer': a number beyond"),
    "integer of 5,000 digits": ("a.jsonl", written("9" * 5000), "column 'answer': a number beyond"),
    "integer of 5,000 digits elsewhere": ("a.jsonl", lines(row())[:-2] + ', "seed": ' + "9" * 5000 + "}", ["1"]),
    "double infinity": ("a.parquet", column([1.0, float("inf")]), "row 1, column 'answer': a number beyond"),
    "double NaN": ("a.parquet", column([1.0, float("nan")]), "row 1, column 'answer': no value"),
    "truth value": ("a.jsonl", written("true"), "column 'answer': a value of type bool, expected an answer"),
    "date": ("a.parquet", column([0], pa.date32()), "column 'answer': a value of type date"),
    "bytes": ("a.parquet", column([b"7"], pa.binary()), "column 'answer': a value of type bytes"),
}
MISSING = {
    "null": (
        "a.jsonl",
        written("null"),
        "line 1, column 'answer': no value; `without_answer: drop` leaves such rows out",
    ),
    "no such key": ("a.jsonl", lines(row(), {"problem": "q"}), "line 2, column 'answer': no value"),
    "empty": ("a.jsonl", written('" "'), "column 'answer': the answer is empty"),
    "empty list": ("a.jsonl", written("[]"), "column 'answer': no value"),
    "nan as a text": ("a.csv", "problem,answer\np,nan\n", "line 2, column 'answer': 'nan' stands for no value"),
    "None as a text": ("a.csv", "problem,answer\np,None\n", "line 2, column 'answer': 'None' stands for no value"),
    "null as a text": ("a.jsonl", written('"null"'), "line 1, column 'answer': 'null' stands for no value"),
    "not available": ("a.jsonl", written('"N/A"'), "line 1, column 'answer': 'N/A' stands for no value"),
    "a dash": ("a.jsonl", written('" - "'), "line 1, column 'answer': '-' stands for no value"),
    "what looks like none": (
        "a.jsonl",
        lines(*(row(each, each) for each in ("none", "None of these", "nat", "-1", "na"))),
        ["none", "None of these", "nat", "-1", "na"],
    ),
    "left out: made texts": (
        "a.parquet",
        column(["None", "NaT", "<NA>", "nan", "null", "3"], problems=list("abcdef")),
        ["3"],
        {"without_answer": "drop"},
    ),
    "empty box": ("a.jsonl", written(r'"\\boxed{ }"'), "a solution without a closed, non-empty \\boxed{}"),
    "open box": ("a.jsonl", written(r'"\\boxed{7"'), "a solution without a closed, non-empty \\boxed{}"),
    "nothing behind ####": ("a.jsonl", written('"so\\n####"'), "no answer behind ####"),
    "left out: null, empty, NaN, absent": (
        "a.jsonl",
        lines(row("a"), row("b", None), row("c", ""), row("d", float("nan")), {"problem": "e"}, row("f", "2")),
        ["1", "2"],
        {"without_answer": "drop"},
    ),
    "left out in the first line": ("a.jsonl", lines({"problem": "a"}, row("b")), ["1"], {"without_answer": "drop"}),
    "left out: solutions without a box": (
        "a.jsonl",
        lines({"problem": "a", "solution": "By symmetry."}, {"problem": "b", "solution": "\\boxed{3}"}),
        ["3"],
        {"without_answer": "drop"},
    ),
    "left out in CSV": ("a.csv", "problem,answer\na,\nb,2\n", ["2"], {"without_answer": "drop"}),
    "all left out": ("a.jsonl", written("null"), "holds 0 distinct problems", {"without_answer": "drop"}),
    "infinity is no missing answer": ("a.jsonl", written("Infinity"), "a number beyond", {"without_answer": "drop"}),
}
ANSWERS = {
    "GSM8K": ("a.jsonl", lines(row("p", SOLUTION + "#### 6")), ["6"]),
    "GSM8K with thousands": ("a.jsonl", lines(row("p", SOLUTION + "#### 1,200")), ["1200"]),
    "GSM8K in millions": ("a.jsonl", lines(row("p", SOLUTION + "#### -1,234,567.5")), ["-1234567.5"]),
    "GSM8K, line breaks behind": ("a.jsonl", lines(row("p", SOLUTION + "#### 6 \n\n")), ["6"]),
    "GSM8K in one line": ("a.jsonl", lines(row("p", "2+4=6 #### 6")), ["6"]),
    "GSM8K in CSV": ("a.csv", f'question,answer\np,"{SOLUTION}#### 7"\n', ["7"]),
    "a list behind ####": ("a.jsonl", lines(row("p", "so\n#### 1,2")), ["1,2"]),
    "#### above the last line": ("a.jsonl", lines(row("p", "#### 1\nsee above")), ["#### 1\nsee above"]),
    "thousands without ####": ("a.jsonl", lines(row("p", "1,200")), ["1,200"]),
    "list of one": ("a.jsonl", lines(row("a", ["7"]), row("b", [8]), row("c", [["9"]])), ["7", "8", "9"]),
    "list of one in Parquet": ("a.parquet", column([["x+1"], ["2"]]), ["x+1", "2"]),
    "list of two": ("a.jsonl", lines(row("a", ["7", "8"])), "column 'answer': a list of 2 values, expected an answer"),
    "object": ("a.jsonl", lines(row("a", {"value": 1})), "column 'answer': a value of type dict, expected an answer"),
    "boxed": ("a.jsonl", lines(row("p", "So $x = \\boxed{\\frac{1}{2}}$.")), ["\\frac{1}{2}"]),
    "JSON's quotes": ("a.csv", 'problem,answer\np,"""x+1"""\nq,"""\\\\text{E}"""\n', ["x+1", "\\text{E}"]),
    "other quotes": ("a.jsonl", lines(row("p", '"a" and "b"')), ['"a" and "b"']),
    "mixed types of JSON in Parquet": (
        "a.parquet",
        json_column,
        ["27", "x+1", "\\text{Evelyn}", "0.12345678901234567890", "2.50"],
    ),
    "mixed types through pandas": (
        "a.parquet",
        through_pandas,
        ["27", "x+1", "\\text{Evelyn}", "0.12345678901234567890", "2.50"],
    ),
    "a class by its name": ("a.parquet", class_column, [(LISTED, "B")]),
    "surrogate": ("a.jsonl", written('"\\ud800"'), "column 'answer': holds a lone surrogate"),
    "NUL": ("a.jsonl", written('"\\u0000"'), ["\x00"]),
    "a single backslash": ("a.jsonl", written('"\\frac{3}{2}"'), "the control character '\\x0c' for '\\frac'"),
    "a single backslash of a product": (
        "a.jsonl",
        written('"3\\times 4"'),
        "the control character '\\t' for '\\times'",
    ),
    "a tab": ("a.jsonl", written('"3\\t4"'), ["3\t4"]),
    "not UTF-8 in Parquet": ("a.parquet", column(not_utf8()), "row 1, column 'answer': not UTF-8 text"),
    "category": ("a.parquet", column(pa.array(["1", "2", "1"]).dictionary_encode()), ["1", "2", "1"]),
    "large strings": ("a.parquet", column(["1"], pa.large_string()), ["1"]),
    "nulls alone": ("a.parquet", column([None], pa.null()), "row 0, column 'answer': no value"),
}
COLUMNS = {
    "a named solution": ("a.jsonl", lines({"problem": "p", "solution": "7"}), ["7"], {"answer_column": "solution"}),
    "a usual solution": ("a.jsonl", lines({"problem": "p", "solution": "7"}), "a solution without a closed"),
    "a named solution as the problem": (
        "a.jsonl",
        lines({"problem": "x", "solution": "Is \\boxed{1} right?", "answer": "2"}),
        [("Is \\boxed{1} right?", "2")],
        {"problem_column": "solution"},
    ),
    "a name with a dot": (
        "a.csv",
        "prompt,reward_model.ground_truth\np,5\n",
        ["5"],
    ),
    "a named name with dots": ("a.csv", "a.b,c.d\np,5\n", ["5"], {"problem_column": "a.b", "answer_column": "c.d"}),
    "a named column that is not there": (
        "a.jsonl",
        lines(row()),
        "no column 'problm' (did you mean 'problem'?); columns: problem, answer",
        {"problem_column": "problm"},
    ),
    "one column for both": ("a.jsonl", lines(row()), "cannot be both", {"problem_column": "answer"}),
    "capital names": ("a.csv", "Problem,Answer\np,1\n", "did you mean 'Problem'?); problem_column names another"),
    "the same key twice": (
        "a.jsonl",
        lines(row()) + '{"problem": "q", "answer": "1", "answer": "2"}',
        "line 2: the key 'answer' stands twice in the object that begins with 'problem': 'q'",
    ),
    "the same key twice in a list": (
        "a.json",
        '[{"problem": "q", "answer": "1",\n "answer": "2"}]',
        "a.json: the key 'answer' stands twice",
    ),
    "the same key twice inside": (
        "a.jsonl",
        '{"prompt": "p", "reward_model": {"ground_truth": 1, "ground_truth": 2}}',
        "the key 'ground_truth' stands twice",
    ),
    "the same key twice in a text": (
        "a.jsonl",
        lines({"prompt": "p", "reward_model": '{"ground_truth": 1, "ground_truth": 2}'}),
        "not valid JSON: the key 'ground_truth' stands twice",
    ),
    "the same column twice in Parquet": (
        "a.parquet",
        table(["problem", "answer", "answer"], pa.array(["p"]), pa.array(["1"]), pa.array(["2"])),
        "several columns are named 'answer'; keep one",
    ),
    "the same field twice in Parquet": (
        "a.parquet",
        table(
            ["prompt", "reward_model"],
            pa.array(["p"]),
            pa.StructArray.from_arrays([pa.array(["1"]), pa.array(["2"])], ["ground_truth", "ground_truth"]),
        ),
        "row 0, column 'reward_model': ",
    ),
    "the same column twice in CSV": ("a.csv", "problem,answer,answer\np,1,2\n", "several columns are named 'answer'"),
    "a map": (
        "a.parquet",
        table(
            ["prompt", "reward_model"],
            pa.array(["p"]),
            pa.array([[("ground_truth", "4")]], pa.map_(pa.string(), pa.string())),
        ),
        ["4"],
    ),
    "the same key twice in a map": (
        "a.parquet",
        table(
            ["prompt", "reward_model"],
            pa.array(["p"]),
            pa.array([[("ground_truth", "4"), ("ground_truth", "5")]], pa.map_(pa.string(), pa.string())),
        ),
        "row 0, column 'reward_model': the key 'ground_truth' stands twice",
    ),
    "no columns": (
        "a.parquet",
        lambda path: pq.write_table(pa.table({}), path),
        "no problem column: none of problem, question, prompt; problem_column names another; columns: none",
    ),
    "zero rows": ("a.parquet", column([], pa.string()), "holds 0 distinct problems, at least 1 wanted"),
    "many columns": ("a.jsonl", lines({f"c{i}": i for i in range(500)}), "and 480 more"),
    "more columns than the first line": (
        "a.jsonl",
        lines({"question": "p", "answer": "1"}, {"question": "q", "answer": "2", "level": 3}),
        ["1", "2"],
    ),
    "reward as broken JSON": (
        "a.jsonl",
        lines({"prompt": "p", "reward_model": "{1"}),
        "column 'reward_model.ground_truth': not valid JSON",
    ),
    "reward as Python prints it": (
        "a.csv",
        "prompt,reward_model\np,{'ground_truth': 1}\n",
        "column 'reward_model.ground_truth': not valid JSON",
    ),
    "reward as null": (
        "a.jsonl",
        lines({"prompt": "p", "reward_model": None}),
        "column 'reward_model.ground_truth': no value",
    ),
}
PROBLEMS = {
    "begins like a list of objects": (
        "a.jsonl",
        lines(row('[{"x": 1}] is a list. Its length?')),
        [('[{"x": 1}] is a list. Its length?', "1")],
    ),
    "is a list of objects": ("a.jsonl", lines(row('[{"x": 1}]')), [('[{"x": 1}]', "1")]),
    "messages": (
        "a.jsonl",
        lines(row([{"role": "system", "content": "s"}, {"role": "user", "content": "u"}])),
        [("u", "1")],
    ),
    "messages as JSON": ("a.jsonl", lines(row('[{"content": "u", "role": "user"}]')), [("u", "1")]),
    "messages with another key first": (
        "a.jsonl",
        lines(row('[{"name": "n", "role": "user", "content": "u"}]')),
        [("u", "1")],
    ),
    "broken messages": ("a.jsonl", lines(row('[{"role": "user", "con')), "column 'problem': not valid JSON"),
    "messages as Python prints them": (
        "a.csv",
        "problem,answer\n\"[{'role': 'user', 'content': 'u'}]\",1\n",
        "messages as Python prints them",
    ),
    "messages without a user": (
        "a.jsonl",
        lines(row([{"role": "system", "content": "s"}])),
        "messages with the roles ['system']",
    ),
    "an earlier exchange": (
        "a.jsonl",
        lines(row([{"role": r, "content": "x"} for r in ("user", "assistant", "user")])),
        "expected one user message",
    ),
    "messages of parts": (
        "a.jsonl",
        lines(row([{"role": "user", "content": [{"type": "text", "text": "u"}]}])),
        "a list of 1 values, expected a text",
    ),
    "a list of texts": ("a.jsonl", lines(row(["p", "q"])), "a list of 2 values, expected a text or a list of messages"),
    "an empty list": ("a.jsonl", lines(row([])), "expected one user message"),
    "a number": ("a.jsonl", lines(row(7)), "column 'problem': a value of type number"),
    "white space": ("a.jsonl", lines(row(" \n")), "column 'problem': the problem is empty"),
    "nested 100,000 deep": (
        "a.jsonl",
        '{"problem": "p", "answer": ' + "[" * 100_000 + "]" * 100_000 + "}",
        "line 1: nests too deeply",
    ),
    "a text of 2 MB": ("a.csv", "problem,answer\n" + "p" * 2_000_000 + ",1\n", ["1"]),
    "the same problem with another answer": ("a.jsonl", lines(row(), row("p ", "2")), ["1"]),
    "verl's line": (
        "a.jsonl",
        lines(row("p Let's think step by step and output the final answer within \\boxed{}.")),
        [("p", "1")],
    ),
    "verl's line of GSM8K": (
        "a.jsonl",
        lines(row('p Let\'s think step by step and output the final answer after "####".')),
        [("p", "1")],
    ),
    "verl's line of GSM8K with tools": (
        "a.jsonl",
        lines(row("p Let's think step by step and output the final answer after `####`.")),
        [("p", "1")],
    ),
    "nothing but verl's line": (
        "a.jsonl",
        lines(row(" Let's think step by step and output the final answer within \\boxed{}.")),
        "the problem is empty",
    ),
}
FORMS = ["(A)", "b", "C.", "A, C", "A and C", "x^2", "heat", r"\textbf{(B)}\ Heat"]
OPTIONS = {
    "a list": ("a.jsonl", lines(row("q", "B", options=CHOICES)), [(LISTED, "B")]),
    "labels and texts": (
        "a.jsonl",
        lines(row("q", "B", choices={"label": ["A", "B", "C"], "text": CHOICES})),
        [(LISTED, "B")],
    ),
    "by letter": ("a.jsonl", lines(row("q", "B", options=dict(zip("ABC", CHOICES, strict=True)))), [(LISTED, "B")]),
    "with their letters": ("a.jsonl", lines(row("q", "B", options=["A)46.07", "B)44.05", "C)18.02"])), [(LISTED, "B")]),
    "numbers": ("a.jsonl", lines(row("q", "B", options=[46.07, 44.05, 18.02])), [(LISTED, "B")]),
    "JSON in CSV": ("a.csv", 'question,options,answer\nq,"[""46.07"", ""44.05"", ""18.02""]",B\n', [(LISTED, "B")]),
    "in Parquet": (
        "a.parquet",
        table(["question", "choices", "answer"], pa.array(["q"]), pa.array([CHOICES]), pa.array(["B"])),
        [(LISTED, "B")],
    ),
    "already in the problem": ("a.jsonl", lines(row(LISTED, "B", options=CHOICES)), [(LISTED, "B")]),
    "none in some rows": (
        "a.jsonl",
        lines(row("q", "B", options=CHOICES), row("r", "2", options=None)),
        [(LISTED, "B"), ("r", "2")],
    ),
    "the answer is one's text": ("a.jsonl", lines(row("q", "44.05", options=CHOICES)), [(LISTED, "44.05")]),
    "the answer is a place": (
        "a.jsonl",
        lines(row("q", 1, options=CHOICES)),
        "column 'answer': 1 beside options; expected one of their letters A, B, C",
    ),
    "the answer is a place in a text": (
        "a.jsonl",
        lines(row("q", "1", options=CHOICES)),
        "column 'answer': 1 beside options",
    ),
    "the answer is a letter beyond theirs": (
        "a.jsonl",
        lines(row("p", "A", options=CHOICES), row("q", "E", options=CHOICES)),
        "line 2, column 'answer': 'E' is none of the options; expected one of their letters A, B, C, or the text",
    ),
    "the answer is another text": (
        "a.jsonl",
        lines(row("q", "ethanol", options=["methane", "propane"])),
        "line 1, column 'answer': 'ethanol' is none of the options; expected one of their letters A, B, or the text",
    ),
    "letters and texts in other forms": (
        "a.jsonl",
        lines(*(row(each, each, options=["$x^2$", "Heat", r"\frac{1}{2}"]) for each in FORMS)),
        FORMS,
    ),
    "texts as Python prints them": (
        "a.csv",
        "question,options,answer\nq,\"['1', '2']\",A\n",
        "column 'options': not valid JSON",
    ),
    "one a line": (
        "a.csv",
        'question,options,answer\nq,"A. 46.07\nB. 44.05\nC. 18.02",B\nr,,2\n',
        [(LISTED, "B"), ("r", "2")],
    ),
    "a text of one line": ("a.csv", "question,options,answer\nq,A) 1 B) 2,A\n", "column 'options': a list of 1 values"),
    "a number for options": ("a.jsonl", lines(row("q", "A", options=4)), "'options': a value of type number, expected"),
    "a null among them": (
        "a.jsonl",
        lines(row("q", "A", options=["1", None])),
        "column 'options': no value among the options",
    ),
    "thirty": (
        "a.jsonl",
        lines(row("q", "A", options=[str(i) for i in range(30)])),
        "column 'options': a list of 30 values",
    ),
}
TEXT_FILES = {
    "JSON lines, blank ones between": ("a.jsonl", "\n" + written("1") + "\n\n", ["1"]),
    "no line break at the end": ("a.jsonl", written("1").strip(), ["1"]),
    "ndjson": ("a.ndjson", written("1"), ["1"]),
    "JSON list": ("a.json", f"[{written('1')}]", ["1"]),
    "JSON list in a .jsonl": ("a.jsonl", f"[{written('1')}]", ["1"]),
    "JSON lines in a .json": ("a.json", lines(row("p"), row("q", "2")), ["1", "2"]),
    "byte order mark": ("a.jsonl", b"\xef\xbb\xbf" + written("1").encode(), ["1"]),
    "CRLF": ("a.jsonl", written("1").replace("\n", "\r\n"), ["1"]),
    "capital suffix JSONL": ("a.JSONL", written("1"), ["1"]),
    "capital suffix Json": ("a.Json", written("1"), ["1"]),
    "capital suffix CSV": ("a.CSV", "problem,answer\np,1\n", ["1"]),
    "capital suffix Parquet": ("a.PARQUET", column(["1"]), ["1"]),
    "jsonl.gz": ("a.jsonl.gz", gzip.compress(written("1").encode()), ["1"]),
    "json.gz": ("a.json.gz", gzip.compress(f"[{written('1')}]".encode()), ["1"]),
    "csv.gz": ("a.csv.gz", gzip.compress(b"problem,answer\np,1\n"), ["1"]),
    "ndjson.GZ": ("a.ndjson.GZ", gzip.compress(written("1").encode()), ["1"]),
    "parquet.gz": ("a.parquet.gz", zipped(column(["1"])), ["1"]),
    "gzip without the suffix": ("a.jsonl", gzip.compress(written("1").encode()), ["1"]),
    "the suffix without gzip": ("a.jsonl.gz", written("1"), ["1"]),
    "gzip cut short": ("a.jsonl.gz", gzip.compress(written("1").encode())[:-12], "cannot be read: "),
    "gzip with a changed bit": (
        "a.jsonl.gz",
        gzip.compress(written("1").encode())[:-8] + bytes(8),
        "cannot be read: CRC",
    ),
    "gzip with noise": ("a.jsonl.gz", b"\x1f\x8b\x08\x00" + b"\xff" * 60, "cannot be read: "),
    "only gz": ("a.gz", gzip.compress(b""), "unknown kind of file ''; known: .parquet, .jsonl, .ndjson, .json, .csv"),
    "misspelt suffix": ("a.jsnl", written("1"), "unknown kind of file '.jsnl' (did you mean '.jsonl'?)"),
    "a table of Excel": ("a.xlsx", b"PK\x03\x04", "unknown kind of file '.xlsx'"),
    "UTF-16": ("a.jsonl", written("1").encode("utf-16"), "line 1 is not UTF-8 text (byte 0); save the file in UTF-8"),
    "Latin-1": ("a.jsonl", written("1").encode() + '{"problem": "é"}'.encode("latin-1"), "line 2 is not UTF-8 text"),
    "nothing": ("a.jsonl", "", "holds no rows"),
    "a list of nothing": ("a.json", "[]", "holds no rows"),
    "cut in a line": (
        "a.jsonl",
        written("1") + '{"problem": "q", "ans',
        "line 2 is not valid JSON: Unterminated string",
    ),
    "cut in a list": ("a.json", f"[{written('1')},", "is not valid JSON"),
    "one object": (
        "a.json",
        '{\n "problem": "p",\n "answer": "1"\n}',
        "one JSON object over several lines, with the keys problem, answer; expected a list of objects",
    ),
    "rows under a key": (
        "a.json",
        json.dumps({"data": [row()]}, indent=1),
        "one JSON object over several lines, with the keys data",
    ),
    "rows under a key in one line": ("a.json", json.dumps({"data": [row()]}), "no problem column"),
    "columns by name": (
        "a.json",
        json.dumps({"problem": ["p"], "answer": ["1"]}),
        "column 'problem': a list of 1 values",
    ),
    "a number a line": ("a.jsonl", "7\n", "line 1 is a JSON number, expected an object with named columns"),
    "null a line": ("a.jsonl", written("1") + "null\n", "line 2 is a JSON null"),
    "lists in a list": ("a.json", '[["p", "1"]]', "row 0 is a JSON list, expected an object"),
    "single quotes": ("a.jsonl", "{'problem': 'p', 'answer': 1}", "line 1 is not valid JSON: Expecting property name"),
    "a comma too many": ("a.jsonl", '{"problem": "p", "answer": "1",}', "line 1 is not valid JSON"),
    "a line separator in a text": ("a.jsonl", '{"problem": "a\u2028b", "answer": "1"}', ["1"]),
    "CSV under the suffix of JSON": ("a.jsonl", "problem,answer\np,1\n", "line 1 is not valid JSON"),
    "HTML": ("a.json", "<!DOCTYPE html>\n<html></html>", "line 1 is not valid JSON"),
    "a pointer of Git LFS": ("a.jsonl", "version https://git-lfs.github.com/spec/v1\n", "line 1 is not valid JSON"),
}
CSV_FILES = {
    "values are text": (
        "a.csv",
        "problem,answer\na,007\nb,1.50\nc,27.0\nd,1e-7\ne,true\n",
        ["007", "1.50", "27.0", "1e-7", "true"],
    ),
    "quotes and line breaks": (
        "a.csv",
        'problem,answer\n"Say ""a, b""\nnow",1\nq,"1,200"\n',
        [('Say "a, b"\nnow', "1"), ("q", "1,200")],
    ),
    "a quote inside": ("a.csv", 'problem,answer\n5" long,1\n', [('5" long', "1")]),
    "CRLF in CSV": ("a.csv", "problem,answer\r\np,1\r\n", ["1"]),
    "CR": ("a.csv", "problem,answer\rp,1\r", ["1"]),
    "mark and spaces in the header": ("a.csv", "\ufeffproblem, answer\np,1\n", ["1"]),
    "blank lines and rows": ("a.csv", "problem,answer\n\np,1\n,\n", ["1"]),
    "index of pandas": ("a.csv", ",problem,answer\n0,p,1\n", ["1"]),
    "header alone": ("a.csv", "problem,answer\n", "holds no rows"),
    "too many values": (
        "a.csv",
        "problem,answer\np,1\nx, y,2\n",
        "line 3 has 3 values, the header names 2 columns; put values with commas",
    ),
    "too few values": ("a.csv", 'problem,answer\n"a\nb",1\nq\n', "line 4 has 1 values, the header names 2 columns"),
    "open quote": ("a.csv", 'problem,answer\np,1\n"q,2\nr,3\n', "line 3 is not valid CSV: unexpected end of data"),
    "text behind a quote": ("a.csv", 'problem,answer\n"p" q,1\n', "line 2 is not valid CSV"),
    "semicolons": ("a.csv", "problem;answer\np;1\n", "the columns are separated by ';', expected commas"),
    "tabs": ("a.csv", "problem\tanswer\np\t1\n", "the columns are separated by '\\t', expected commas"),
    "line breaks in the header": ("a.csv", '"a\nb",answer\np,1\n', "no problem column: none of problem"),
    "line breaks in a doubled name": ("a.csv", '"a\nb","a\nb"\np,1\n', "several columns are named 'a b'"),
    "no header": ("a.csv", "What is 1+1?,2\nWhat is 1+2?,3\n", "no problem column"),
    "empty problem": ("a.csv", "problem,answer\n,1\n", "line 2, column 'problem': the problem is empty"),
}
PARQUET_FILES = {
    "cut at its end": ("a.parquet", cut(column(["1"] * 100), end=-30), "not a readable Parquet file"),
    "cut at its start": ("a.parquet", cut(column(["1"] * 100), start=9), "not a readable Parquet file"),
    "a broken page header": ("a.parquet", broken_header, "not a readable Parquet file"),
    "a column's name that is not UTF-8": ("a.parquet", broken_name, "not a readable Parquet file: 'utf-8' codec"),
    "empty Parquet": ("a.parquet", b"", "not a readable Parquet file"),
    "JSON as Parquet": ("a.parquet", written("1"), "not a readable Parquet file"),
    "Parquet as JSON": ("a.jsonl", column(["1"]), "is not UTF-8 text (byte "),
    "a folder": ("a.parquet", Path.mkdir, "a folder, where a file of problems is expected"),
    "a dangling link": ("a.parquet", lambda path: path.symlink_to("nothing"), "no such file"),
    "a pipe": ("a.jsonl", lambda path: os.mkfifo(path), "no such file"),
    "a row in a later batch": (
        "a.parquet",
        column(["1"] * 5000 + [None], problems=[str(i) for i in range(5001)]),
        "row 5000, column 'answer': no value",
    ),
    "broken JSON in a JSON column": (
        "a.parquet",
        column(pa.ExtensionArray.from_storage(pa.json_(pa.string()), pa.array(["1", "{"]))),
        "row 1, column 'answer': ",
    ),
    "fewer than wanted": ("a.parquet", column(["1", "2"]), "holds 2 distinct problems, 3 wanted", {"size": 3}),
}
GROUPS = (NUMBERS, MISSING, ANSWERS, COLUMNS, PROBLEMS, OPTIONS, TEXT_FILES, CSV_FILES, PARQUET_FILES)
CASES = [pytest.param(*case, *[{}] * (4 - len(case)), id=name) for group in GROUPS for name, case in group.items()]


@pytest.mark.parametrize(("name", "content", "expected", "settings"), CASES)
def test_a_file_is_read_right_or_refused_in_one_sentence(
    tmp_path: Path, name: str, content: Content, expected: list | str, settings: dict
):
    path = tmp_path / name
    if callable(content):
        content(path)
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    wanted = ProblemSet(source="file", file=path, **settings)
    if isinstance(expected, str):
        with pytest.raises(UserError) as refused:
            load_problem_set(wanted)
        sentence = str(refused.value)
        assert sentence.startswith(f"{path}: ") and expected in sentence
        assert "\n" not in sentence and len(sentence) - len(str(path)) < 700
    else:
        read = load_problem_set(wanted)
        with_problems = isinstance(expected[0], tuple)
        found = list(zip(read["problem"], read["answer"], strict=True)) if with_problems else read["answer"].tolist()
        assert found == expected


def test_there_are_many_kinds():
    assert len({case.id for case in CASES}) == len(CASES) >= 120
