"""What is said of a model before much is spent on it: shares, the likeliest cause, and progress in tokens."""

import re

import pandas as pd
import pytest
from selfdistill import cli, tables
from selfdistill.errors import UserError
from selfdistill.generation import Sampling, first_words, generate, progress
from selfdistill.generation.traces import annotate
from selfdistill.microcosm.tokenizer import build_tokenizer
from tiny import problems_of, prompt_of, save_tiny_model

PROBLEMS = problems_of(["a", "b"], answer="7")
MUTE, WRONG, RIGHT = "no box here", r"so \\boxed{11 apples}", r"so \\boxed{7}"


def traces_of(*responses: str, cut: int = 0) -> pd.DataFrame:
    """Responses to the first problem, the first ``cut`` of which were cut at the limit."""
    number = len(responses)
    generated = pd.DataFrame(
        {
            "problem_id": PROBLEMS["problem_id"][0], "context_sample": pd.array([None] * number, "Int32"),
            "sample": range(number), "seed": 0, "prompt_sha256": "", "response": responses, "response_tokens": 5,
            "finish_reason": ["length"] * cut + ["stop"] * (number - cut),
        }
    )  # fmt: skip
    labels = {"study": "s", "model": "m", "run": "base", "stage": "evaluation", "setting": "easy"}
    return annotate(generated, PROBLEMS, **labels, opened=False)


def test_shares_are_of_all_responses():
    told = first_words.shares(traces_of(MUTE, WRONG, RIGHT, RIGHT, cut=1))
    assert told == "4 responses, 50.0% right, 75.0% with a box, 25.0% cut at the limit"


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (
            traces_of(MUTE, MUTE, MUTE, cut=2),
            r"most were cut: sampling needs more than max_tokens 4,096, or the model nev",
        ),
        (traces_of(MUTE, MUTE, MUTE, cut=1), r"most end by themselves: the model does not follow the instruction"),
        (traces_of(WRONG, WRONG, MUTE, cut=1), "another form than its own, as '11 apples' where '7' is expected"),
    ],
)
def test_a_model_that_solves_nothing_is_told_with_shares_and_cause(found, sentence):
    with pytest.raises(UserError, match=re.escape(sentence)) as told:
        first_words.check_solved(found, PROBLEMS, max_tokens=4096)
    assert f"{len(found)} responses, 0.0% right" in str(told.value) and "\n" not in str(told.value)


def test_one_right_response_is_enough():
    first_words.check_solved(traces_of(MUTE, MUTE, RIGHT, cut=2), PROBLEMS, max_tokens=4096)


@pytest.mark.parametrize(("response", "status"), [(MUTE, 2), (WRONG, 0), (RIGHT, 0)])
def test_training_waits_for_a_model_that_writes_boxes(tmp_path, caplog, capsys, response, status):
    tables.write(traces_of(response), tmp_path / "t.parquet", tables.TRACES)
    tables.write(PROBLEMS, tmp_path / "p.parquet", tables.PROBLEMS)
    files = [f"--traces={tmp_path}/t.parquet", f"--problems={tmp_path}/p.parquet", f"--out={tmp_path}/out.md"]
    assert cli.main(["check-model", *files, "--max-tokens=9"]) == status
    assert (tmp_path / "out.md").exists() == (status == 0)
    assert ("no response is right" in caplog.text) == (response == WRONG)
    assert ("no response has an answer in a box" in capsys.readouterr().err) == (response == MUTE)


@pytest.mark.parametrize("kind", ["Qwen3", "Llama"])
def test_engines_count_the_tokens_that_they_draw(tmp_path, monkeypatch, kind):
    options = {} if kind == "Qwen3" else {"kind": "Llama"}
    manifest = save_tiny_model(tmp_path / "model", **options)
    prompts = [prompt_of(build_tokenizer(), "a = 3 .", name) for name in ("p", "q")]
    shown, finished = [], progress.Bar.finished

    def look(self, responses, tokens):
        before = sum(progress.shared_counter()) - self.before
        self.show()  # before the shard counts as done
        shown.append((before, self.bar.n))
        finished(self, responses, tokens)
        shown.append((tokens, self.bar.n))

    monkeypatch.setattr(progress.Bar, "finished", look)
    given = {"manifest": manifest, "samples": 4, "sampling": Sampling(1.0, max_tokens=12), "seed": 0, "stream": "x"}
    table = generate(prompts, **given, work_dir=tmp_path / "work")
    (counted, running), (drawn, done) = shown
    ends = (table["finish_reason"] == "stop").sum()
    assert drawn == table["response_tokens"].sum() and counted in (drawn, drawn + ends)  # end tokens may count
    assert running == min(counted, 8 * 12) and done == 8 * 12


def test_a_trial_says_it_and_goes_on(caplog):
    with first_words.told(go_on=True):
        raise UserError("no response is right")
    assert "no response is right" in caplog.text
    with pytest.raises(UserError), first_words.told(go_on=False):
        raise UserError("no response is right")
