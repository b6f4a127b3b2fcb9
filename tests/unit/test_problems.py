"""Problem sets: layouts of the math data sets, identities, duplicates, malformed files, pinned revisions."""

import hashlib
import json
import logging
from pathlib import Path
from types import SimpleNamespace

import datasets
import huggingface_hub
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from selfdistill import tables
from selfdistill.errors import UserError
from selfdistill.problems import (
    ProblemSet,
    load_problem_set,
    lock_revisions,
    normalise,
    pinned_revision,
    problem_id,
    resolve_revision,
)
from selfdistill.prompts import AUTHORS_INSTRUCTION, user_prompt

REPOSITORY = Path(__file__).resolve().parents[2]
COMMIT = "0123456789abcdef0123456789abcdef01234567"

PROBLEMS = {
    "Find the largest $n$ such that the last nonzero digit of $n!$ is $1$.": "1",
    "用 6 根等长的细铁棒焊接成一个正四面体形框架, 求 $m+n$ 的值。": "6",
    "Solve the following equation for $x$: \\[ \\frac{2}{3} = \\frac{4}{x-5}.\\]": "11",
}


VERL_MATH = " Let's think step by step and output the final answer within \\boxed{}."
VERL_GSM8K = ' Let\'s think step by step and output the final answer after "####".'
VERL_TOOLS = " Let's think step by step and output the final answer after `####`."


def boxed(problem: str) -> str:
    """The authors' files."""
    return f"{problem}\nPlease reason step by step, and put your final answer within \\boxed{{}}."


def hub_dapo(problem: str) -> str:
    """The hub's DAPO-Math-17k."""
    return (
        "Solve the following math problem step by step. The last line of your response should be of the form Answer: "
        f"$Answer (without quotes) where $Answer is the answer to the problem.\n\n{problem}\n\n"
        'Remember to put your answer on its own line after "Answer:".'
    )


def message(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def dapo_rows(wording, repeats: int = 1) -> list[dict]:
    return [
        {
            "data_source": "math_dapo",
            "prompt": [message(wording(problem))],
            "ability": "MATH",
            "reward_model": {"ground_truth": answer, "style": "rule-lighteval/MATH_v2"},
            "extra_info": {"index": f"uuid-{i}"},
        }
        for _ in range(repeats)
        for i, (problem, answer) in enumerate(PROBLEMS.items())
    ]


def string_rows() -> list[dict]:
    """AIME25, AMC23 and MATH500 as the authors store them: structs as JSON strings."""
    return [
        {
            "prompt": json.dumps([message(boxed(problem))]),
            "reward_model": json.dumps({"ground_truth": answer}),
            "extra_info": json.dumps({"raw_problem": problem, "subject": "Algebra"}),
        }
        for problem, answer in PROBLEMS.items()
    ]


def parquet(path: Path, rows: list[dict]) -> Path:
    pd.DataFrame(rows).to_parquet(path)
    return path


def jsonl(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def load(path: Path, **options) -> pd.DataFrame:
    return load_problem_set(ProblemSet(source="file", file=path, **options))


# --- identity -------------------------------------------------------------------------------------------------
def test_problem_id_is_the_digest_of_the_normalised_text():
    assert problem_id("  What is\n $1+1$? ") == hashlib.sha256(b"What is $1+1$?").hexdigest()[:16]


@given(st.text(min_size=1).filter(str.strip))
def test_every_wording_of_a_problem_has_one_id(problem):
    wordings = [hub_dapo(problem), boxed(problem), *(problem + line for line in (VERL_MATH, VERL_GSM8K, VERL_TOOLS))]
    assert {problem_id(wording) for wording in wordings} == {problem_id(problem)}
    assert normalise(normalise(problem)) == normalise(problem)


def test_composed_and_decomposed_letters_are_one_problem_but_powers_and_case_are_not_folded():
    assert problem_id("Po\u0301lya's urn") == problem_id("P\u00f3lya's urn")
    assert problem_id("Solve x² = 4") != problem_id("Solve x2 = 4")
    assert problem_id("Find $N$") != problem_id("Find $n$")


def test_a_problem_that_speaks_of_steps_keeps_its_words():
    text = "Please reason step by step. Solve the following math problem step by step: find $x$."
    assert normalise(text) == text


# --- layouts --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("make", "suffix", "rows"),
    [
        (parquet, ".parquet", dapo_rows(boxed)),
        (parquet, ".parquet", dapo_rows(hub_dapo)),
        (parquet, ".parquet", string_rows()),
        (jsonl, ".jsonl", dapo_rows(boxed)),
        (jsonl, ".json", string_rows()),
        (jsonl, ".jsonl", [{"question": p, "answer": a, "id": 3} for p, a in PROBLEMS.items()]),
        (parquet, ".parquet", [{"problem": p, "solution": f"So \\boxed{{{a}}}."} for p, a in PROBLEMS.items()]),
        (jsonl, ".jsonl", [{"prompt": boxed(p), "reward": {"ground_truth": a}} for p, a in PROBLEMS.items()]),
    ],
    ids=["verl", "hub-dapo", "json-strings", "verl-jsonl", "json-lines", "question", "solution", "reward"],
)
def test_every_layout_gives_the_same_problems(tmp_path, make, suffix, rows):
    frame = load(make(tmp_path / f"set{suffix}", rows))
    assert frame["problem"].tolist() == list(PROBLEMS)
    assert frame["answer"].tolist() == list(PROBLEMS.values())
    assert frame["problem_id"].tolist() == [problem_id(problem) for problem in PROBLEMS]
    assert frame["position"].tolist() == [0, 1, 2]
    assert set(frame["source"]) == {f"set{suffix}"}
    tables.write(frame, tmp_path / "out.parquet", tables.PROBLEMS)
    pd.testing.assert_frame_equal(tables.read(tmp_path / "out.parquet", tables.PROBLEMS), frame, check_dtype=False)


def test_a_json_list_is_read_like_json_lines(tmp_path):
    path = tmp_path / "set.json"
    path.write_text(json.dumps(string_rows(), indent=1), encoding="utf-8")
    assert load(path)["problem"].tolist() == list(PROBLEMS)


def test_the_authors_prompt_can_be_rebuilt_byte_for_byte(tmp_path):
    problem = "  Find the sum of\n\n\\[a + b\\] \n"  # some of the benchmarks' problems begin or end with white space
    path = jsonl(tmp_path / "set.jsonl", [{"prompt": [message(boxed(problem))], "answer": 7}])
    assert user_prompt(load(path)["problem"][0], AUTHORS_INSTRUCTION) == boxed(problem)


def test_multiple_choice_keeps_its_options_and_its_letter(tmp_path):
    question = "What is the molar weight (g/mol) of 'CCO'?\n\nA: 46.07\nB: 44.05\nC: 18.02\nD: 32.04"
    row = {"idx": 9, "kind": "mcq", "dataset": "sciknoweval", "answer": "A", "system": "Given a question"}
    path = jsonl(tmp_path / "chemistry.json", [row | {"prompt": f"{question}\nPlease reason step by step."}])
    assert load(path)[["problem", "answer", "problem_type"]].values.tolist() == [[question, "A", "mcq"]]


def test_types_are_taken_from_the_data_set(tmp_path):
    row = {"problem": "p", "answer": "1", "extra_info": json.dumps({"problem_type": ["Algebra", "Geometry"]})}
    assert load(jsonl(tmp_path / "a.jsonl", [row]))["problem_type"][0] == "Algebra, Geometry"
    assert load(parquet(tmp_path / "b.parquet", string_rows()))["problem_type"][0] == "Algebra"
    assert load(jsonl(tmp_path / "c.jsonl", [{"problem": "p", "answer": "1"}]))["problem_type"][0] == "unknown"
    rows = [{"problem": "p", "answer": "1"}, {"problem": "q", "answer": "2", "type": "Algebra"}]
    assert load(jsonl(tmp_path / "d.jsonl", rows))["problem_type"].tolist() == ["unknown", "Algebra"]
    row = {"problem": "p", "answer": "1", "extra_info": "from a book", "kind": "mcq"}
    assert load(jsonl(tmp_path / "e.jsonl", [row]))["problem_type"][0] == "mcq"  # a text that is no JSON has no type


def test_numbers_become_answers_without_a_decimal_point(tmp_path):
    path = parquet(tmp_path / "amc.parquet", [{"question": "a", "answer": 27.0}, {"question": "b", "answer": 2.5}])
    assert load(path)["answer"].tolist() == ["27", "2.5"]


def test_named_columns_take_precedence_and_reach_into_structs(tmp_path):
    row = {"problem": "shown", "Problem": "meant", "answer": "1", "meta": json.dumps({"key": {"value": "2"}})}
    path = jsonl(tmp_path / "set.jsonl", [row])
    frame = load(path, problem_column="Problem", answer_column="meta.key.value")
    assert frame[["problem", "answer"]].values.tolist() == [["meant", "2"]]


def test_a_line_separator_inside_a_json_string_does_not_end_the_line(tmp_path):
    path = jsonl(tmp_path / "set.jsonl", [{"problem": "a\u2028b", "answer": "1"}, {"problem": "c", "answer": "2"}])
    assert load(path)["answer"].tolist() == ["1", "2"]


# --- duplicates -----------------------------------------------------------------------------------------------
def test_copies_are_dropped_before_the_first_problems_are_counted(tmp_path, caplog):
    path = parquet(tmp_path / "dapo.parquet", dapo_rows(hub_dapo, repeats=100))
    with caplog.at_level(logging.INFO):
        assert len(load(path)) == 3
    assert "3 problems; 297 duplicates dropped" in caplog.text
    assert load(path, size=2)["problem"].tolist() == list(PROBLEMS)[:2]
    copies_first = [row for row in dapo_rows(boxed) for _ in range(100)]
    assert load(parquet(tmp_path / "b.parquet", copies_first), size=2)["problem"].tolist() == list(PROBLEMS)[:2]


def test_the_first_of_conflicting_answers_stays_and_is_reported(tmp_path, caplog):
    rows = [{"problem": p, "answer": a} for p, a in [("p", "1"), ("q", "5"), (boxed("p"), "2"), ("p", "3"), ("q", "5")]]
    frame = load(jsonl(tmp_path / "set.jsonl", rows))
    assert frame["answer"].tolist() == ["1", "5"]
    assert [r.message for r in caplog.records if r.levelno == logging.WARNING] == [
        f"{tmp_path}/set.jsonl: 1 duplicated problems have several answers; the first is kept"
    ]


# --- warnings -------------------------------------------------------------------------------------------------
def test_rows_without_an_answer_are_counted_where_they_are_left_out(tmp_path, caplog):
    rows = [{"problem": "p", "answer": "1"}, {"problem": "q", "answer": None}, {"problem": "r", "answer": " "}]
    assert load(jsonl(tmp_path / "set.jsonl", rows), without_answer="drop")["answer"].tolist() == ["1"]
    assert f"{tmp_path}/set.jsonl: 2 rows without an answer left out, the first: line 2" in caplog.text


def test_answers_that_are_paragraphs_are_counted(tmp_path, caplog):
    mathematics = [
        r"\begin{pmatrix}\n 1 & 2 \\\n 3 & 4 \end{pmatrix}",
        r"\text{no real solutions}",
        r"x \in (1, 2) \cup (3, 4)",
    ]
    worked = ["Adding both sides\ngives us 7", "The answer is seven because three and four of them are left over."]
    rows = [{"problem": answer, "answer": answer} for answer in [*mathematics, *worked]]
    load(jsonl(tmp_path / "set.jsonl", rows))
    assert [r.message for r in caplog.records if r.levelno == logging.WARNING] == [
        f"{tmp_path}/set.jsonl: 2 answers are running text, which no response will equal, "
        "the first: 'Adding both sides\\ngives us 7'"
    ]
    caplog.clear()
    load(jsonl(tmp_path / "set.jsonl", rows[:3]))
    assert not [r for r in caplog.records if r.levelno == logging.WARNING]


# --- malformed files ------------------------------------------------------------------------------------------
GOOD = {"problem": "p", "answer": "1"}
MALFORMED = {
    "no problem column": ([{"promt": "p", "answer": "1"}], r"no problem column.*did you mean 'promt'.*columns: promt"),
    "no answer column": ([{"problem": "p", "answr": "1"}], r"no answer column.*did you mean 'answr'"),
    "null problem": ([GOOD, {"problem": None, "answer": "1"}], "line 2, column 'problem': no value"),
    "missing problem": ([GOOD, GOOD, {"answer": "1"}], "line 3, column 'problem': no value"),
    "only an instruction": ([{"problem": boxed(" "), "answer": "1"}], "line 1, column 'problem': the problem is empty"),
    "empty answer": ([{"problem": "p", "answer": "  "}], "line 1, column 'answer': the answer is empty"),
    "not a number": ([{"problem": "p", "answer": float("nan")}], "line 1, column 'answer': no value"),
    "list of answers": ([{"problem": "p", "answer": ["1", "2"]}], "column 'answer': a list of 2 values"),
    "answer of truth": ([{"problem": "p", "answer": True}], "column 'answer': a value of type bool"),
    "broken reward": ([{"prompt": "p", "reward_model": "{1"}], "column 'reward_model.ground_truth': not valid JSON"),
    "reward without answer": ([{"prompt": "p", "reward_model": "{}"}], "'reward_model.ground_truth': no value"),
    "broken messages": ([{"prompt": '[{"role": "user"', "answer": "1"}], "column 'prompt': not valid JSON"),
    "two turns": ([{"prompt": [message("p"), message("q")], "answer": "1"}], r"\['user', 'user'\].*one user message"),
    "worked solution": ([{"problem": "p", "solution": "It is 4."}], r"column 'solution': a solution without a closed"),
    "lone surrogate": ([{"problem": "\ud800", "answer": "1"}], "column 'problem': holds a lone surrogate"),
    "not an object": ([GOOD, 7], "line 2 is a JSON number, expected an object"),
}


@pytest.mark.parametrize(("rows", "expected"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_row_is_named_with_its_place_and_column(tmp_path, rows, expected):
    path = tmp_path / "set.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with pytest.raises(UserError, match=f"set.jsonl: .*{expected}") as error:
        load(path)
    assert "\n" not in str(error.value)


def test_a_malformed_parquet_row_is_counted_across_batches(tmp_path):
    rows = [{"problem": str(i), "answer": "1"} for i in range(5000)] + [{"problem": "p", "answer": None}]
    with pytest.raises(UserError, match=r"set\.parquet: row 5000, column 'answer': no value"):
        load(parquet(tmp_path / "set.parquet", rows))


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("set.jsonl", b'{"problem": "p", "answer": "1"}\n\n{"problem": ', "line 3 is not valid JSON"),
        ("set.json", b'[{"problem": "p",\n "answer": "1"},\n {"problem"}]', "line 3 is not valid JSON"),
        ("set.jsonl", b"\xff\xfe", "not UTF-8 text"),
        ("set.jsonl", b" \n", "holds no rows"),
        ("set.parquet", b"PAR1 no", "not a readable Parquet file"),
        ("set.parqet", b"", r"unknown kind of file '.parqet' \(did you mean '.parquet'\?\); known: .parquet"),
    ],
)
def test_an_unreadable_file_is_named(tmp_path, name, content, expected):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=f"{name}: .*{expected}"):
        load(tmp_path / name)


def test_a_parquet_file_cut_short_is_named(tmp_path):
    path = parquet(tmp_path / "set.parquet", dapo_rows(boxed, repeats=50))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match=r"set\.parquet: not a readable Parquet file"):
        load(path)


def test_too_few_problems_and_a_wrong_source_are_told(tmp_path):
    path = parquet(tmp_path / "set.parquet", dapo_rows(boxed))
    with pytest.raises(UserError, match="holds 3 distinct problems, 4 wanted"):
        load(path, size=4)
    with pytest.raises(UserError, match="no such file"):
        load(tmp_path / "other.parquet")
    with pytest.raises(UserError, match=r"source: unknown 'hubb' \(did you mean 'hub'\?\)"):
        ProblemSet(source="hubb")
    for size in (0, -1):
        with pytest.raises(UserError, match="size: Input should be greater than 0"):
            ProblemSet(source="file", file=path, size=size)
    with pytest.raises(UserError, match="source 'hub' needs 'repo' and 'revision'"):
        ProblemSet(source="hub")


# --- microcosm ------------------------------------------------------------------------------------------------
def test_microcosm_problems_are_distinct_and_never_overlap_a_benchmark():
    pool = load_problem_set(ProblemSet(source="microcosm", split="train", size=500))
    assert pool["problem_id"].nunique() == 500
    assert set(pool["source"]) == {"microcosm:train"}
    benchmark = load_problem_set(ProblemSet(source="microcosm", split="in_domain", size=50))
    assert not set(pool["problem_id"]) & set(benchmark["problem_id"])
    assert pool["answer"].str.fullmatch(r"\d+").all()


# --- the hub --------------------------------------------------------------------------------------------------
@pytest.fixture
def hub(monkeypatch, tmp_path):
    """`datasets.load_dataset` as it works on the hub, but reading a local Parquet file; records what was asked."""
    asked = []
    local, path = datasets.load_dataset, parquet(tmp_path / "hub.parquet", dapo_rows(hub_dapo, repeats=3))

    def load_dataset(repo, name=None, *, split, revision):
        asked.append((repo, name, split, revision))
        if repo != "org/dapo":
            raise datasets.exceptions.DatasetNotFoundError(f"Dataset '{repo}' doesn't exist on the Hub.\nMore text.")
        return local("parquet", data_files={split: str(path)}, split=split, cache_dir=str(tmp_path / "cache"))

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return asked


def test_a_hub_data_set_reads_like_a_file_at_a_pinned_commit(hub, tmp_path):
    lock = tmp_path / "revisions.json"
    lock.write_text(json.dumps({"org/dapo": {"revision": COMMIT}}))
    frame = load_problem_set(ProblemSet(source="hub", repo="org/dapo", split="train", revision="locked"), lock=lock)
    assert frame["problem"].tolist() == list(PROBLEMS)
    assert set(frame["source"]) == {f"org/dapo@{COMMIT}:train"}
    assert hub == [("org/dapo", None, "train", COMMIT)]


def test_a_hub_column_of_mixed_types_has_the_answers_of_its_file(monkeypatch, tmp_path):
    rows = [{"problem": "p", "answer": 27}, {"problem": "q", "answer": "x+1"}, {"problem": "r", "answer": "\\pi"}]
    path, local = jsonl(tmp_path / "train.jsonl", rows), datasets.load_dataset

    def load_dataset(repo, name=None, *, split, revision):
        return local("json", data_files=str(path), split=split, cache_dir=str(tmp_path / "cache"))

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    frame = load_problem_set(ProblemSet(source="hub", repo="org/mixed", revision=COMMIT))
    assert frame["answer"].tolist() == load(path)["answer"].tolist() == ["27", "x+1", "\\pi"]


def test_a_hub_data_set_that_cannot_be_loaded_is_one_sentence(hub):
    with pytest.raises(UserError, match=r"^org/other@0123456789ab: split 'test' .*doesn't exist on the Hub\.$"):
        load_problem_set(ProblemSet(source="hub", repo="org/other", split="test", revision=COMMIT))


@pytest.mark.parametrize("revision", ["main", "0123456", COMMIT.upper(), COMMIT + "\n"])
def test_only_full_commits_are_accepted(hub, revision):
    with pytest.raises(UserError, match=r"40 hexadecimal digits; `selfdistill resolve-revisions --repos org/dapo "):
        load_problem_set(ProblemSet(source="hub", repo="org/dapo", revision=revision))
    assert hub == []


def test_a_repository_that_is_not_locked_is_told_with_the_nearest(tmp_path):
    lock = tmp_path / "revisions.json"
    with pytest.raises(UserError, match="no such lock file"):
        pinned_revision("org/dapo", "locked", lock)
    lock.write_text(json.dumps({"org/dapo": {"revision": "main"}}))
    with pytest.raises(UserError, match=r"no revision of 'org/dap' \(did you mean 'org/dapo'\?\)"):
        pinned_revision("org/dap", "locked", lock)
    with pytest.raises(UserError, match="revision of 'org/dapo' is 'main', not 40"):
        pinned_revision("org/dapo", "locked", lock)


@pytest.fixture
def hub_api(monkeypatch):
    commits = {("org/dapo", "dataset"): COMMIT, ("org/model", "model"): COMMIT[::-1], ("org/odd", "dataset"): "main"}

    class Api:
        def repo_info(self, repo, *, repo_type):
            if (repo, repo_type) not in commits:
                raise ConnectionError(f"no {repo_type} {repo}\nRequest id 7")
            return SimpleNamespace(sha=commits[repo, repo_type])

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)


def test_revisions_are_resolved_into_the_lock_file(hub_api, tmp_path):
    lock = tmp_path / "config" / "revisions.json"
    assert lock_revisions(["org/dapo"], lock) == {"org/dapo": COMMIT}
    lock_revisions(["org/model"], lock, kind="model")
    entries = json.loads(lock.read_text())
    assert {repo: (e["kind"], e["revision"]) for repo, e in entries.items()} == {
        "org/dapo": ("dataset", COMMIT),
        "org/model": ("model", COMMIT[::-1]),
    }
    assert pinned_revision("org/model", "locked", lock) == COMMIT[::-1]


def test_a_failed_resolution_changes_nothing(hub_api, tmp_path):
    lock = tmp_path / "revisions.json"
    with pytest.raises(
        UserError, match=r"dataset 'org/gone' cannot be resolved: ConnectionError: no dataset org/gone$"
    ):
        lock_revisions(["org/dapo", "org/gone"], lock)
    assert not lock.exists()
    with pytest.raises(UserError, match="the hub gave 'main'"):
        resolve_revision("org/odd")


def test_the_repositorys_lock_file_holds_full_commits_with_their_source():
    entries = json.loads((REPOSITORY / "config" / "revisions.json").read_text(encoding="utf-8"))
    assert {"BytedTsinghua-SIA/DAPO-Math-17k", "HuggingFaceH4/MATH-500", "math-ai/amc23"} <= set(entries)
    known = {repo: entry for repo, entry in entries.items() if entry["revision"] is not None}
    assert all(repo.startswith("beanie00/") for repo in entries.keys() - known.keys())
    for repo, entry in known.items():
        assert pinned_revision(repo, "locked", REPOSITORY / "config" / "revisions.json") == entry["revision"]
    for entry in entries.values():
        assert entry["kind"] in ("dataset", "model") and entry["source"]


def test_a_part_of_a_set_has_just_the_problems_of_its_size(tmp_path: Path):
    """Distinct ones: one text may stand in several rows, as in the authors' seen_8x8 and seen_512."""
    rows = [{"prompt": [message(boxed(f"Problem {number % 3}?"))], "answer": "1"} for number in range(9)]
    file = tmp_path / "seen.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    assert len(load_problem_set(ProblemSet("file", file=file, size=3), exactly=True)) == 3
    for size in (2, 4):
        told = f"seen.jsonl: holds 3 distinct problems, and is named as a part of {size}"
        with pytest.raises(UserError, match=told):
            load_problem_set(ProblemSet("file", file=file, size=size), exactly=True)
    assert len(load_problem_set(ProblemSet("file", file=file, size=2))) == 2
