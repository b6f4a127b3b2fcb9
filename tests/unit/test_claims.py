"""The claims ledger on responses of known truth: what it must find, what it must not, and how it says so."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from selfdistill import tables
from selfdistill.analysis.intervals import Bootstrap
from selfdistill.artifacts import FIGURES, TABLES
from selfdistill.claims.ledger import Role, ledger
from selfdistill.claims.statements import Claim, read_claims
from selfdistill.claims.units import LABELS, evaluation_units, guidance_units, sft_units, training_units
from selfdistill.claims.verdicts import CONFLICT, CONTRADICTED, HOLDS, INCONCLUSIVE, NOT_TESTABLE, holm, p_value
from selfdistill.errors import UserError
from selfdistill.pages.ledger_page import html, markdown, summary_line

CONFIG = Path(__file__).parents[2] / "config"
BOOTSTRAP = Bootstrap(resamples=4000)
ROLE = Role("m", "on", "train", {"grpo": [1e-4], "sdpo": [1e-4, 1e-3]}, 100, "hard")
GRPO = {"of": "evaluation", "method": "grpo", "learning_rate": 1e-4, "problem_set": "train", "size": math.inf}
SDPO = GRPO | {"method": "sdpo", "context": "solution", "top_k": 100}
BASE = {"of": "evaluation", "method": "base"}
DROP = {"of": "evaluation", "each": "benchmark", "metric": "avg", "more": {"method": "base"}}
DROP |= {"less": {"method": "sdpo", "context": "solution"}}


def cell(
    mean: float, noise: float, *, problems: int = 60, seed: int = 0, replicate: str = "m/0", hard: float = 30, **labels
):
    """Units of one cell: problems of very different difficulty, equal in all cells of a seed, plus noise."""
    difficulty = np.random.default_rng(99).normal(0, hard, problems)
    values = mean + difficulty + np.random.default_rng([seed, len(str(labels))]).normal(0, noise, problems)
    frame = pd.DataFrame({"problem_id": [f"p{n:03d}" for n in range(problems)], "rollouts": 8})
    for name in ("score", "avg", "L", "E"):
        frame[name] = values
    labels = {"benchmark": "easy", "family": "m", "replicate": replicate} | labels
    return frame.assign(**{**LABELS, **labels})


def judge(
    tests: list[dict], *cells: pd.DataFrame, role: Role | None = ROLE, bootstrap: Bootstrap = BOOTSTRAP
) -> pd.DataFrame:
    claim = Claim(id="c", section="1", statement="It is so.", role="r", tests=tests)
    found = ledger([claim], pd.concat(cells), {"r": role}, bootstrap=bootstrap)
    tables._check_columns(list(found.columns), tables.LEDGER, "ledger")
    return found


# --- verdicts -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("drop", "noise", "verdict"),
    [(8, 5, HOLDS), (-8, 5, CONTRADICTED), (0.5, 25, INCONCLUSIVE), (-0.5, 25, INCONCLUSIVE)],
)
def test_a_difference_is_found_in_its_sign_and_missed_in_noise(drop: float, noise: float, verdict: str):
    found = judge([DROP], cell(50, noise, seed=1, **BASE), cell(50 - drop, noise, seed=2, **SDPO))
    assert found["verdict"].tolist() == [verdict]
    row = found.iloc[0]
    assert row["low"] <= row["value"] <= row["high"] and row["variant"] == "lr 0.0001"
    assert (row["would_decide"] is None or pd.isna(row["would_decide"])) == (verdict != INCONCLUSIVE)


def test_problems_are_paired_so_that_their_difficulty_cancels():
    """Unpaired, a difficulty of 30 points spread over 60 problems would hide an effect of 3."""
    found = judge([DROP], cell(50, 4, seed=1, **BASE), cell(46, 4, seed=2, **SDPO))
    assert found["verdict"].tolist() == [HOLDS]
    others = cell(46, 4, seed=2, **SDPO).assign(problem_id=[f"q{n:03d}" for n in range(60)])
    assert judge([DROP], cell(50, 4, seed=1, **BASE), others)["verdict"].tolist() == [INCONCLUSIVE]


def test_false_verdicts_are_as_rare_as_stated():
    """Of 200 effects that are none, tested one by one at 5 %, about 10 get a verdict."""
    quick = Bootstrap(resamples=1000)
    wrong = 0
    for seed in range(200):
        found = judge([DROP], cell(50, 10, seed=seed, **BASE), cell(50, 10, seed=seed + 1000, **SDPO), bootstrap=quick)
        wrong += found["verdict"].iloc[0] != INCONCLUSIVE
    assert 2 <= wrong <= 22


def test_a_statement_holds_when_all_its_tests_do_and_falls_with_one():
    def both(easy: float, hard: float) -> str:
        cells = [cell(50, 5, seed=1, **BASE), cell(50, 5, seed=2, **BASE, benchmark="hard")]
        cells += [cell(50 - easy, 5, seed=3, **SDPO), cell(50 - hard, 5, seed=4, **SDPO, benchmark="hard")]
        return judge([DROP], *cells)["verdict"].unique().tolist()

    assert both(8, 8) == [HOLDS]
    assert both(8, 0) == [INCONCLUSIVE]
    assert both(8, -8) == [CONTRADICTED]


def test_no_change_holds_within_a_margin_and_is_contradicted_beyond():
    same = {"of": "evaluation", "each": "benchmark", "metric": "avg", "within": 4}
    same["same"] = [{"method": "grpo"}, {"method": "base"}]

    def verdict(change: float, noise: float) -> str:
        return judge([same], cell(50, noise, seed=1, **BASE), cell(50 + change, noise, seed=2, **GRPO))["verdict"].iloc[
            0
        ]

    assert verdict(0.5, 3) == HOLDS
    assert verdict(-9, 3) == CONTRADICTED
    assert verdict(9, 3) == CONTRADICTED
    assert verdict(0.5, 30) == INCONCLUSIVE  # no evidence of a change is none of its absence
    assert verdict(4.2, 3) == INCONCLUSIVE


def test_a_rise_with_the_number_of_problems():
    rising = {"of": "evaluation", "each": "benchmark", "metric": "avg", "rising": {"method": "grpo"}}
    sizes = {1.0: 0, 8.0: 3, 64.0: 6, math.inf: 10}  # a point per doubling, for a whole set of 1,024
    runs = [
        cell(50 + gain, 2, seed=int(gain), **(GRPO | {"size": size, "whole_size": 1024.0}))
        for size, gain in sizes.items()
    ]
    found = judge([rising], *runs)
    assert found["verdict"].tolist() == [HOLDS]
    assert found["value"].iloc[0] == pytest.approx(1, abs=0.2)
    falling = [run.assign(avg=100 - run["avg"]) for run in runs]
    assert judge([rising], *falling)["verdict"].tolist() == [CONTRADICTED]
    assert judge([rising], *runs[:2])["verdict"].tolist() == [NOT_TESTABLE]


# --- runs ---------------------------------------------------------------------------------------------------------
def test_runs_that_disagree_leave_a_claim_open_where_one_run_would_decide():
    def runs(effects: list[float]) -> pd.DataFrame:
        cells = []
        for number, effect in enumerate(effects):
            place = {"replicate": f"m{number}/0"}
            cells += [
                cell(50, 3, seed=number, **BASE, **place),
                cell(50 - effect, 3, seed=10 + number, **SDPO, **place),
            ]
        return judge([DROP], *cells)

    assert runs([6])["verdict"].tolist() == [HOLDS]
    mixed = runs([14, 6, -2])
    assert mixed["verdict"].tolist() == [INCONCLUSIVE] and mixed["runs"].tolist() == [3]
    assert "runs (here 3)" in mixed["would_decide"].iloc[0]
    assert runs([6, 6.5, 5.5])["verdict"].tolist() == [HOLDS]


def test_only_runs_that_both_sides_have_are_compared():
    cells = [cell(50, 3, seed=1, **BASE), cell(42, 3, seed=2, **SDPO), cell(90, 3, seed=3, **SDPO, replicate="other/0")]
    found = judge([DROP], *cells)
    assert found["runs"].tolist() == [1] and found["verdict"].tolist() == [HOLDS]
    assert judge([DROP], cells[0], cells[2])["verdict"].tolist() == [NOT_TESTABLE]


def test_a_single_problem_of_a_single_run_decides_nothing():
    small = {"of": "training", "each": "few", "metric": "score", "more": {"method": "grpo"}}
    small |= {"less": {"method": "sdpo", "context": "solution"}}
    options = {"problems": 1, "of": "training", "when": "last", "benchmark": "", "size": 1.0}
    found = judge([small], cell(90, 1, **(GRPO | options)), cell(10, 1, **(SDPO | options)))
    assert found["verdict"].tolist() == [INCONCLUSIVE] and found["sizes"].tolist() == ["1"]
    assert found["value"].iloc[0] > 70 and np.isnan(found["low"].iloc[0])
    assert found["would_decide"].iloc[0] == "more than one problem or run"


def test_each_rate_of_sdpo_is_a_variant_and_one_that_was_not_run_is_left_out():
    cells = [cell(50, 3, seed=1, **BASE), cell(42, 3, seed=2, **SDPO)]
    assert judge([DROP], *cells)["variant"].tolist() == ["lr 0.0001"]
    cells.append(cell(58, 3, seed=3, **(SDPO | {"learning_rate": 1e-3})))
    found = judge([DROP], *cells).set_index("variant")["verdict"]
    assert found.to_dict() == {"lr 0.0001": HOLDS, "lr 0.001": CONTRADICTED}


def test_two_runs_that_fit_one_description_are_no_evidence():
    with pytest.raises(UserError, match="several runs of one model fit"):
        judge([DROP], cell(50, 3, **BASE), cell(42, 3, **SDPO), cell(42, 3, **SDPO))


def test_a_role_without_models_cannot_be_tested():
    assert judge([DROP], cell(50, 3, **BASE), role=None)["verdict"].tolist() == [NOT_TESTABLE]
    claim = Claim(id="c", section="1", statement="s", role="nobody", tests=[DROP])
    with pytest.raises(UserError, match="unknown role 'nobody'"):
        ledger([claim], cell(50, 3, **BASE), {"r": ROLE}, bootstrap=BOOTSTRAP)


# --- statistics ---------------------------------------------------------------------------------------------------
def test_holm_steps_down_as_in_a_worked_example():
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.6, 0.7])).tolist() == [1, 1]


def test_p_values_are_those_of_a_normal_distribution():
    draws = np.random.default_rng(0).normal(2.0, 1.0, 200_000)
    assert p_value(draws) == pytest.approx(0.0455, abs=0.002)
    assert p_value(-draws) == pytest.approx(0.0455, abs=0.002)
    assert p_value(draws, within=4.0) == pytest.approx(0.02275, abs=0.002)  # inside: 2 below the margin
    assert p_value(draws + 4, within=4.0) == pytest.approx(0.02275, abs=0.002)  # outside: 2 above it
    assert p_value(np.full(999, 3.0)) == pytest.approx(0.002)  # never 0
    assert p_value(np.array([np.nan, 1.0])) == 1


def test_what_would_decide_does_decide():
    """An effect that is inconclusive with n problems is significant with as many as it is said to need."""
    found = judge([DROP], cell(50, 12, seed=1, **BASE), cell(46.5, 12, seed=2, **SDPO)).iloc[0]
    assert found["verdict"] == INCONCLUSIVE
    needed = int(found["would_decide"].split()[1])
    assert 60 < needed < 400
    scale = math.sqrt(60 / needed)
    width = (found["high"] - found["low"]) / 2 * scale
    assert width == pytest.approx(found["value"], rel=0.1)


# --- the list -----------------------------------------------------------------------------------------------------
def test_the_shipped_list_is_whole_and_names_known_roles():
    from selfdistill.config import ROLES

    claims = read_claims(CONFIG / "claims.yaml")
    assert len(claims) >= 35
    assert {claim.role for claim in claims if claim.role} == set(ROLES)
    assert sum(bool(claim.conflict) for claim in claims) == 4


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("claims: [{id: a, section: s, statement: t}]", "claim 'a': .*role and tests, or a conflict"),
        ("claims: [{id: a, section: s, statement: t, conflict: x, colour: red}]", "claim 'a': unknown key 'colour'"),
        (
            "claims: [{id: a, section: s, statement: t, role: r, tests: [{of: sft, metric: avg, more: {data: base}}]}]",
            "'more' and 'less'",
        ),
        (
            "claims: [{id: a, section: s, statement: t, conflict: x}, {id: a, section: s, statement: t, conflict: x}]",
            "'a'",
        ),
        ("nothing: 1", "a list of statements"),
    ],
)
def test_a_malformed_list_is_told_in_one_sentence(tmp_path: Path, text: str, sentence: str):
    (tmp_path / "claims.yaml").write_text(text)
    with pytest.raises(UserError, match=sentence) as told:
        read_claims(tmp_path / "claims.yaml")
    assert "\n" not in str(told.value)


# --- units --------------------------------------------------------------------------------------------------------
def traces(model: str, run: str, setting: str, *, problems: int = 3, samples: int = 2, steps: range | None = None):
    rows = []
    for step in steps or [None]:
        for problem in range(problems):
            for sample in range(samples):
                rows.append({"problem_id": f"p{problem}", "sample": samples * problem + sample, "step": step})
    frame = pd.DataFrame(rows).astype({"step": "Int32"})
    for column in tables.TRACES.names:
        if column not in frame:
            frame[column] = 1 if column.startswith(("substring", "word")) or column == "response_tokens" else "x"
    correct = frame["sample"] % 2 == 0
    length = 10 * (frame["step"].fillna(1).astype(int))
    return frame.assign(model=model, run=run, setting=setting, correct=correct, response_tokens=length)


def test_units_are_means_per_problem_with_the_labels_of_their_run():
    runs = pd.DataFrame(
        {
            "study": "s", "model": "m", "run": ["grpo-a", "sdpo-b"], "family": "f", "thinking": "on",
            "method": ["grpo", "sdpo"], "context": ["none", "solution"], "teacher_update_rate": [np.nan, 0.05],
            "problem_set": "train", "problems": [500, 8], "whole_set": [True, False], "learning_rate": 1e-4,
            "top_k": [None, 100], "draw": 0, "seed": 0,
        }
    )  # fmt: skip
    rollouts = pd.concat([traces("m", run, run, steps=range(1, 7)) for run in runs["run"]])
    training = training_units(rollouts, runs, window=2)
    lengths = training.groupby(["method", "when"])["L"].mean()
    assert lengths["grpo", "first"] == 15 and lengths["grpo", "last"] == 55 and lengths["grpo", "whole"] == 35
    assert set(training["rollouts"]) == {4, 12}
    sdpo = training[training["method"] == "sdpo"].iloc[0]
    assert (sdpo["size"], sdpo["whole_size"], sdpo["teacher_update_rate"], sdpo["top_k"]) == (8, 500, 0.05, 100)
    along = pd.concat([traces("m", run, "easy", steps=range(1, 3)) for run in runs["run"]])
    base = traces("m", "base", "easy", problems=4)
    models = {"m": {"family": "f", "thinking": "on"}}
    evaluation = evaluation_units(along, base, runs, models=models)
    assert set(evaluation.loc[evaluation["method"] == "base", "problem_id"]) == {"p0", "p1", "p2"}  # asked of both
    assert set(evaluation.loc[evaluation["method"] == "grpo", "L"]) == {20}  # of the last checkpoint
    tuning = pd.DataFrame(
        [{"model": "m", "run": "tuned", "data": "unguided_unfiltered", "learning_rate": 1.23456789e-5}]
    )
    tuned = sft_units([("m", "tuned", "easy", base), ("m", "base", "easy", base)], tuning, models)
    labels = tuned[["data", "learning_rate"]].drop_duplicates()
    assert labels.set_index("data")["learning_rate"].dropna().to_dict() == {"unguided_unfiltered": 1.23456789e-5}
    assert set(labels["data"]) == {"unguided_unfiltered", "base"} and set(tuned["family"]) == {"f"}
    assert guidance_units(base, models)["setting"].unique().tolist() == ["easy"]
    assert (tuned["avg"] == 50).all()


# --- pages --------------------------------------------------------------------------------------------------------
def test_pages_say_verdict_interval_and_what_is_quoted_and_escape_text():
    claim = Claim(
        id="c", section="5.1", statement="A <b>bold</b> claim | so.", role="r", published="54.7", tests=[DROP]
    )
    conflict = Claim(id="d", section="6.1", statement="78 %", conflict="It is 55 %.")
    units = pd.concat([cell(50, 5, seed=1, **BASE), cell(42, 5, seed=2, **SDPO)])
    found = ledger([claim, conflict], units, {"r": ROLE}, bootstrap=BOOTSTRAP)
    assert found["verdict"].tolist() == [HOLDS, CONFLICT]
    text, page = markdown(found, "microcosm"), html(found, "microcosm")
    assert "| c (lr 0.0001) | 5.1 | A <b>bold</b> claim \\| so. | **holds** |" in text
    assert summary_line(found) == "1 holds; 1 conflict as published" and summary_line(found) in text
    assert "not the paper's models" in text and "not the paper&#x27;s models" in page and "nan" not in text
    assert "A &lt;b&gt;bold&lt;/b&gt; claim" in page and "<script" not in page
    assert "published (quoted): 54.7" in page and " points: holds" in page


def test_every_statement_says_where_a_reader_sees_it():
    for claim in read_claims(CONFIG / "claims.yaml"):
        assert claim.shown_in and set(claim.shown_in) <= FIGURES.keys() | TABLES.keys(), claim.id
