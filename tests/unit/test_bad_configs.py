"""Every bad configuration is refused in sentences, before the graph is built: which key, which value, what is allowed.

A case is a file that is laid over the default study, as text, and what its sentence says. It goes through the function
that the workflow's head calls. A few go through Snakemake itself, beside finished results that must stay.
"""

import copy
import os
import re
import subprocess
import sys
import typing
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pandas as pd
import pytest
import yaml
from selfdistill import opening
from selfdistill.checks import faults_at_start
from selfdistill.claims.names import unknown_names
from selfdistill.claims.statements import read_statements
from selfdistill.config import Config, without_other_sources
from selfdistill.errors import UserError
from selfdistill.generation.requests import Sampling
from selfdistill.opening import Opened, Start, open_study
from selfdistill.pages.stamp import stamp_text
from selfdistill.problems.sets import FIRST_ROWS
from selfdistill.settings import as_json, choices, is_settings, keys
from selfdistill.study import Study
from snakemake.cli import parse_config
from snakemake.common.configfile import load_configfile
from snakemake.utils import update_config
from tiny import save_heads

ROOT = Path(__file__).resolve().parents[2]
# Words of pydantic's own that name no key and no value.
FOREIGN = (
    "constrained-",
    "literal[",
    "the configuration",
    "function-",
    "tagged-union",
    "Traceback",
    "pydantic",
    "Kwargs",
    "instance of",
)


@cache
def default() -> dict:
    return load_configfile(ROOT / "config.yaml")


def opened(place: Path, overlay: str | bytes = "{}", *words: str, suffix: str = ".yaml") -> Opened:
    """The study of the default configuration with ``overlay``, a file's content, and ``words`` of ``--config``."""
    file = place / f"mine{suffix}"
    file.write_bytes(overlay if isinstance(overlay, bytes) else overlay.encode())
    values, given = copy.deepcopy(default()), parse_config(words)
    update_config(values, load_configfile(file))
    update_config(values, given)
    return open_study(values, Start(ROOT, [ROOT / "config.yaml", file], given))


def refused(place: Path, overlay: str | bytes, *words: str, suffix: str = ".yaml") -> list[str]:
    """The sentences with which a configuration is refused."""
    with pytest.raises(UserError) as told:
        opened(place, overlay, *words, suffix=suffix)
    sentences = str(told.value).splitlines()
    for sentence in sentences:
        assert not any(word in sentence for word in FOREIGN), sentence
        assert re.match(r"config: [a-z_]|config: unknown key|config: '|\S+(, line \d+)?: ", sentence), sentence
        assert len(sentence) < 500, sentence
    return sentences


STATEMENTS = cache(read_statements)


@pytest.fixture(autouse=True)
def checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(opening, "read_statements", STATEMENTS)  # some hundred times


def over(**sections: object) -> str:
    return yaml.safe_dump(sections, sort_keys=False)


def runs(*rows: dict, **others: object) -> str:
    """On-policy training with these rows alone beside the default's."""
    shown = default()["onpolicy"]["runs"]
    return over(
        onpolicy={"runs": [*shown, *({"model": "microcosm", "learning_rate": 3e-4} | row for row in rows)], **others}
    )


def problem_set(**entry: object) -> str:
    return over(problem_sets={"mine": entry}, evaluation={"benchmarks": ["in_domain", "mine"]})


def model(**entry: object) -> str:
    return over(models={"mine": entry}, selection={"models": ["microcosm", "mine"]})


LONG = "x" * 300
COMMIT = "0123456789abcdef0123456789abcdef01234567"
TWIN = {"source": "microcosm", "family": "microcosm", "instruction": ""}  # and the seed that goes without saying
OF_HUB = {"source": "hub", "repo": "a/b", "revision": COMMIT, "family": "c"}

REFUSED = {
    # --- YAML reads something else than was written ---
    "octal": ("seed: 017", "line 1: YAML does not read 017 as a decimal number"),
    "octal in a list": ("onpolicy: {checkpoint_steps: [010, 030]}", "line 1: YAML does not read 010"),
    "sexagesimal": ("seed: 1:30", "YAML does not read 1:30 as a decimal number"),
    "sexagesimal fraction": ("selection: {low: 0:00.2}", "YAML reads 0:00.2 as a time"),
    "hexadecimal": ("seed: 0x1F", "YAML does not read 0x1F"),
    "binary": ("seed: 0b11", "YAML does not read 0b11"),
    "octal of YAML 1.2": ("seed: 0o17", "seed: Input should be a valid integer"),
    "a truth for a seed": ("seed: true", "seed: a number is expected (found true)"),
    "a truth for a number": (
        "statistics: {confidence: yes}",
        "statistics.confidence: a number is expected (found true)",
    ),
    "a truth for a rate": ("sft: {learning_rates: [true]}", "sft.learning_rates.0: a number is expected"),
    "a truth for a share": ("selection: {high: on}", "selection.high: a number is expected (found true)"),
    "a truth for a run's size": (runs({"method": "grpo", "problems": True}), "problems: a number is expected"),
    "a truth in a sweep": (runs({"method": "grpo", "problems": [1, True]}), "problems.1: a number is expected"),
    "on without quotes": ("figures: {views: {fig_3: {thinking: on}}}", "put the word in quotes"),
    "off without quotes": ("claims: {roles: {coverage: {thinking: off}}}", "thinking: unknown False (YAML reads yes"),
    "a key twice": (
        "seed: 1\nstudy: mine\nseed: 2",
        "line 3: the key 'seed' stands twice in one table (first in line 1)",
    ),
    "a key twice below": ("selection: {target: 5, low: 0.2, target: 6}", "the key 'target' stands twice"),
    "a model twice": ("models:\n  a: {source: microcosm}\n  a: {source: hub}", "the key 'a' stands twice"),
    "a key that is a number": ("models: {7: {source: microcosm}}", "YAML does not read the key '7' as a text"),
    "a key that is a truth": ("models: {on: {source: microcosm}}", "YAML does not read the key 'on' as a text"),
    "a key that is null": ("models: {~: {source: microcosm}}", "YAML does not read the key '~' as a text"),
    "a date": ("study: 2024-01-01", "YAML reads 2024-01-01 as a time"),
    "an emoji as JSON escapes": ('models: {microcosm: {instruction: "\\ud83d\\ude00"}}', "write the character itself"),
    "half an emoji": ('models: {microcosm: {instruction: "\\ud83d"}}', "write the character itself"),
    "a NUL": ('models: {microcosm: {instruction: "a\\0b"}}', "a text with a NUL character"),
    "a template": ("__use_yte__: true\nseed: 3", "a configuration holds plain values, no expressions"),
    "infinity": (
        "sampling: {collect: {temperature: .inf}}",
        "sampling.collect.temperature: Input should be a finite number",
    ),
    "no number": ("selection: {low: .nan}", "selection.low"),
    "e-notation without a point is read as a text": ("seed: 1e3", "seed: Input should be a valid integer"),
    # --- names of keys ---
    "a section": ("selektion: {}", "unknown key 'selektion' (did you mean 'selection'?)"),
    "capitals of a section": ("Selection: {}", "unknown key 'Selection' (did you mean 'selection'?)"),
    "a key": ("selection: {hihg: 1}", "unknown key 'selection.hihg' (did you mean 'high'?)"),
    "capitals of a key": ("selection: {HIGH: 1}", "unknown key 'selection.HIGH' (did you mean 'high'?)"),
    "a key of a run": (runs({"method": "grpo", "lr": 1}), "lr'"),
    "a hyphen": ("onpolicy: {batch-size: 8}", "unknown key 'onpolicy.batch-size' (did you mean 'batch_size'?)"),
    "a figure": ("figures: {views: {fig_33: {families: [microcosm]}}}", "unknown 'fig_33' (did you mean 'fig_3'?)"),
    "a role": ("claims: {roles: {coverige: {family: microcosm}}}", "unknown 'coverige' (did you mean 'coverage'?)"),
    "a method of a view": (
        "figures: {views: {fig_3: {rates: {gpro: 3.0e-4}}}}",
        "unknown 'gpro' (did you mean 'grpo'?)",
    ),
    "a key of the method's own section": ("onpolicy: {clip_low: 0.1}", "(did you mean 'grpo.clip_low'?)"),
    "a dotted key": ("selection.high: 0.5", "unknown key 'selection.high'"),
    "an empty key": ('"": 1', "unknown key ''"),
    # --- spellings of values ---
    "vLLM": ("engine: vLLM", "engine: unknown 'vLLM' (did you mean 'vllm'?); known: transformers, vllm"),
    "TRANSFORMERS": ("engine: TRANSFORMERS", "did you mean 'transformers'?"),
    "another engine": ("engine: sglang", "engine: unknown 'sglang'"),
    "GRPO": (runs({"method": "GRPO"}), "method: unknown 'GRPO' (did you mean 'grpo'?); known: grpo, sdpo"),
    "gpro in a sweep": (runs({"method": ["gpro", "sdpo"]}), "method.0: unknown 'gpro' (did you mean 'grpo'?)"),
    "files": (
        problem_set(source="files", file="a.jsonl"),
        "problem_sets.mine.source: unknown 'files' (did you mean 'file'?)",
    ),
    "huggingface": (problem_set(source="huggingface", repo="a/b"), "known: microcosm, file, hub"),
    "Hub": (model(source="Hub", repo="a/b"), "models.mine.source: unknown 'Hub' (did you mean 'hub'?)"),
    "a context": (
        runs({"method": "sdpo", "context": "solutions"}),
        "context: unknown 'solutions' (did you mean 'solution'?)",
    ),
    "a schedule": ("sft: {schedule: cosin}", "sft.schedule: unknown 'cosin' (did you mean 'cosine'?)"),
    "an aggregation": ("onpolicy: {aggregation: tokens}", "(did you mean 'token'?)"),
    "a preset": (
        "pretraining: {preset: Standard}",
        "pretraining.preset: unknown 'Standard' (did you mean 'standard'?)",
    ),
    "a mirror": ("onpolicy: {mirrors: [tensorbord]}", "(did you mean 'tensorboard'?)"),
    "a demonstration": ("onpolicy: {sdpo: {demonstration: frist}}", "(did you mean 'first'?)"),
    "thinking": ('figures: {views: {fig_3: {thinking: "yes"}}}', "thinking: unknown 'yes'; known: on, off"),
    "a split": ("problem_sets: {train: {split: trian}}", "unknown microcosm split 'trian' (did you mean 'train'?)"),
    # --- names that stand for nothing ---
    "a model of Section 3": (
        "selection: {models: [micro]}",
        "selection.models: unknown 'micro' (did you mean 'microcosm'?)",
    ),
    "a model of Section 4": ("sft: {models: [microcosm_of]}", "sft.models: unknown 'microcosm_of'"),
    "a model of Section 4 that Section 3 has not": (
        "sft: {models: [microcosm_off]}",
        "sft.models: unknown 'microcosm_off'",
    ),
    "a run's model": (runs({"method": "grpo", "model": "qwen"}), "onpolicy.runs.model: unknown 'qwen'"),
    "a run's problem set": (
        runs({"method": "grpo", "problem_set": "narow"}),
        "unknown 'narow' (did you mean 'narrow'?)",
    ),
    "a run's set without benchmarks": (runs({"method": "grpo", "problem_set": "easy"}), "unknown 'easy'"),
    "a pool": ("selection: {problem_set: trian}", "selection.problem_set: unknown 'trian' (did you mean 'train'?)"),
    "a benchmark": ("evaluation: {benchmarks: [hrad]}", "evaluation.benchmarks: unknown 'hrad' (did you mean 'hard'?)"),
    "a benchmark along training": ("onpolicy: {benchmarks: {train: [esay]}}", "unknown 'esay' (did you mean 'easy'?)"),
    "a set trained on": ("onpolicy: {benchmarks: {trian: [easy]}}", "onpolicy.benchmarks: unknown 'trian'"),
    "Figure 1a's set": (
        "figures: {narrow: {problem_set: easy}}",
        "figures.narrow.problem_set: unknown 'easy'; known: train, narrow",
    ),
    "a set that is dropped": ("problem_sets: {hard: null}", "unknown 'hard'; known:"),
    "a model that is dropped": ("models: {microcosm_off: null}", "unknown 'microcosm_off' (did you mean 'microcosm'?)"),
    "weights of another entry": ("models: {microcosm_off: {of: mikrocosm}}", "models.*.of: unknown 'mikrocosm'"),
    "a view's family": (
        "figures: {views: {fig_3: {families: [mine]}}}",
        "figures.views.fig_3.families: unknown 'mine'; known: microcosm",
    ),
    "a view's problem set": (
        "figures: {views: {fig_5: {problem_set: trainn}}}",
        "figures.views.fig_5.problem_set: unknown 'trainn' (did you mean 'train'?)",
    ),
    "a view's rate": (
        "figures: {views: {fig_4: {rates: {sdpo: 1.0e-3}}}}",
        "fig_4.rates.sdpo: no run of 'sdpo' has the rate 0.001; rates of its runs: 0.0003, 0.003",
    ),
    "a view's top-k": (
        "figures: {views: {fig_6: {top_k: 7}}}",
        "figures.views.fig_6: no on-policy run is what this figure shows",
    ),
    "a view of thinking that no run has": (
        'figures: {views: {fig_7: {problem_set: narrow, thinking: "off"}}}',
        "figures.views.fig_7: no on-policy run",
    ),
    "a view without one of its methods": (
        over(
            onpolicy={
                "runs": [{"model": ["microcosm", "microcosm_off"], "method": "sdpo", "learning_rate": [3e-4, 3e-3]}]
            }
        ),
        "figures.views.fig_7.rates.grpo: no run of 'grpo' has the rate 0.0003; rates of its runs: none",
    ),
    "Figure 1a without runs": (
        over(
            onpolicy={
                "runs": [
                    {"model": ["microcosm", "microcosm_off"], "method": ["grpo", "sdpo"], "learning_rate": [3e-4, 3e-3]}
                ]
            }
        ),
        "figures.views.fig_1: no on-policy run is what this figure shows",
    ),
    "Figure 1 without Figure 1a": ("figures: {narrow: null}", "views.fig_1: 'figures.narrow' is missing"),
    "a role's family": (
        "claims: {roles: {coverage: {family: mine}}}",
        "claims.roles.coverage.family: unknown 'mine'; known: microcosm",
    ),
    "a role's hardest benchmark": (
        "claims: {roles: {no_thinking: {hardest: hrad}}}",
        "claims.roles.no_thinking.hardest: unknown 'hrad' (did you mean 'hard'?)",
    ),
    "a role's problem set": (
        "claims: {roles: {chemistry: {problem_set: narow}}}",
        "claims.roles.chemistry.problem_set: unknown 'narow' (did you mean 'narrow'?)",
    ),
    "a role's rate": (
        "claims: {roles: {coverage: {rates: {sdpo: [3.0e-4, 1.0e-3]}}}}",
        "claims.roles.coverage.rates.sdpo: no run of 'sdpo' has the rate 0.001",
    ),
    "a role without rates": (
        over(claims={"roles": {"long_thinking": {"family": "microcosm"}}}),
        "claims.roles.long_thinking.rates: its statements compare runs of 'grpo', of which no rate is named",
    ),
    "a role's top-k": (
        "claims: {roles: {coverage: {top_k: 55}}}",
        "claims.roles.coverage.top_k: no run of 'sdpo' has top-k 55; known: 10, 100",
    ),
    # --- missing, null, empty ---
    "a section of nothing": ("selection:", "selection: Input should be a dictionary (found None)"),
    "a null seed": ("seed:", "seed: Input should be a valid integer (found None)"),
    "no models": ("models: {microcosm: null, microcosm_off: null}", "models: Dictionary should have at least 1 item"),
    "no models of Section 3": ("selection: {models: []}", "selection.models: List should have at least 1 item"),
    "a world": (
        "pretraining: {world: carier}",
        "pretraining.world: unknown 'carier' (did you mean 'carrier'?)",
    ),
    "two models with the same weights in a family": (
        over(models={"twin": TWIN}, selection={"models": ["microcosm", "twin"]}),
        "models.twin.seed: the same weights as those of 'microcosm', of the same family; base models of a family are "
        "averaged",
    ),
    "a second entry of the same weights and thinking": (
        over(
            models={"again": {"source": "model", "of": "microcosm", "family": "microcosm", "instruction": ""}},
            selection={"models": ["again", "microcosm"]},
        ),
        "models.again.of: the same weights as those of 'microcosm', of the same family",
    ),
    "two runs of GRPO that a role takes": (
        over(
            onpolicy={
                "runs": [
                    *default()["onpolicy"]["runs"],
                    {"model": "microcosm", "method": "grpo", "learning_rate": 1e-3},
                ]
            },
            claims={"roles": {"high_reasoning": {"rates": {"grpo": [3e-4, 1e-3]}}}},
        ),
        "claims.roles.high_reasoning.rates: its statements take one run of 'grpo', and both "
        "'grpo-train-lr0.0003-seed0' and 'grpo-train-lr0.001-seed0' fit",
    ),
    "two moving teachers that a role takes": (
        runs({"method": "sdpo", "teacher_update_rate": 0.1}),
        "claims.roles.high_reasoning.teacher: its statements take one run of 'sdpo', and both "
        "'sdpo-ema0.05-train-lr0.0003-k100-seed0' and 'sdpo-ema0.1-train-lr0.0003-k100-seed0' fit",
    ),
    "a backslash in double quotes": (
        'models: {microcosm: {instruction: "End with \\boxed{}."}}',
        "a text with the control character '\\x08' for '\\boxed'; in double quotes write '\\\\boxed'",
    ),
    "complete as a text": ('complete: "yes"', "complete: true or false, without quotes (found 'yes')"),
    "fewer problems than the data sets need": (
        "selection: {target: 50}",
        "sft.at_least: 800 responses are needed; 50 problems (selection.target) with up to 15 each (sft.per_problem, "
        "sft.max_draws) give 750 at most",
    ),
    "two models of one repository in a family": (
        over(models={"a": OF_HUB, "b": OF_HUB}, selection={"models": ["microcosm", "a", "b"]}),
        "models.b.repo: the same weights as those of 'a', of the same family",
    ),
    "a word that the microcosm has not": (
        "evaluation: {words: {x: {bad: [wait, perhap]}}}",
        "evaluation.words.x.bad: the microcosm has no word 'perhap' (did you mean 'perhaps'?)",
    ),
    "no words": ("evaluation: {words: {x: {}}}", "evaluation.words.x: neither 'bad' nor 'forced' words are given"),
    "a template in which LaTeX loses its braces": (
        r"""contexts: {hint: '{problem} \boxed{answer}'}""",
        r"contexts.hint: \boxed{answer} would lose its braces; write \boxed{ {answer} }",
    ),
    "a template with spaces in braces": (
        "contexts: {hint: '{problem} { solution }'}",
        "contexts.hint: { solution } is no place for a text; write {solution}",
    ),
    "a template with double braces": (
        "contexts: {hint: 'x {{problem}}'}",
        "contexts.hint: {{problem}} is no place for a text; write {problem}",
    ),
    "fewer samples where more are meant": (
        "evaluation: {samples: 32, deep: {problems: 4, samples: 16}}",
        "evaluation.deep.samples: 16, fewer than of the other problems, 32 (evaluation.samples)",
    ),
    "fewer samples along training": (
        "onpolicy: {evaluation_samples: 8, evaluation_deep: {problems: 4, samples: 4}}",
        "onpolicy.evaluation_deep.samples: 4, fewer than of the other problems, 8 (onpolicy.evaluation_samples)",
    ),
    "a role's thinking": (
        "claims: {roles: {sft: {thinking: 'off'}}}",
        "claims.roles.sft.thinking: no model of 'microcosm' in sft.models has thinking off",
    ),
    "a role's context that no run has": (
        "claims: {roles: {high_reasoning: {context: wrong_solution}}}",
        "claims.roles.high_reasoning.context: no run of 'sdpo' with 'wrong_solution'; its family's have: solution, ",
    ),
    "a role's teacher that no run has": (
        "claims: {roles: {no_thinking: {teacher: moving}}}",
        "claims.roles.no_thinking.teacher: no run of 'sdpo' with 'moving'; its family's have: fixed",
    ),
    "an edited set that this world has not": (
        "{pretraining: {world: carrier}, sft: {edited: [kept, no_search]}}",
        "sft.edited: 'no_search' is none of what the world 'carrier' has (kept, no_markers)",
    ),
    "a method that reads another world's language": (
        over(
            pretraining={"world": "carrier"},
            onpolicy={
                "runs": [{"model": "microcosm", "method": "sdpo_sparing_decisions", "learning_rate": 3e-4}],
                "benchmarks": {"narrow": None},
            },
        ),
        "the method 'sdpo_sparing_decisions' reads the language of the world 'standard' (pretraining.world)",
    ),
    "words to and from": (
        "evaluation: {words: {a: {bad: [wait], forced: [wait], forced_from: 0.1}}}",
        "evaluation.words.a: 'wait' is among 'bad' and 'forced'",
    ),
    "forced words without a chance": (
        "evaluation: {words: {a: {forced: [wait]}}}",
        "evaluation.words.a: 'forced' and 'forced_from' go together",
    ),
    "a key of words": (
        "evaluation: {words: {a: {bed: [wait]}}}",
        "unknown key 'evaluation.words.a.bed' (did you mean 'bad'?)",
    ),
    "an edited set": ("sft: {edited: [no_marker]}", "sft.edited.0: unknown 'no_marker' (did you mean 'no_markers'?)"),
    "nothing near": ("sft: {edited: [xyz]}", "sft.edited.0: unknown 'xyz'; known: kept, no_search, "),
    "no rates": ("sft: {learning_rates: []}", "sft.learning_rates: List should have at least 1 item"),
    "no runs": ("onpolicy: {runs: []}", "'runs' and 'released' are empty: expected a run"),
    "no checkpoints": (
        "onpolicy: {checkpoint_steps: []}",
        "onpolicy.checkpoint_steps: List should have at least 1 item",
    ),
    "no benchmarks": ("evaluation: {benchmarks: []}", "evaluation.benchmarks: List should have at least 1 item"),
    "no benchmarks along training": (
        "onpolicy: {benchmarks: {train: []}}",
        "onpolicy.benchmarks.train: List should have at least 1 item",
    ),
    "no families": (
        "figures: {views: {fig_3: {families: []}}}",
        "figures.views.fig_3.families: List should have at least 1 item",
    ),
    "no members in a sweep": (runs({"method": "grpo", "problems": []}), "problems: List should have at least 1 item"),
    "no rates of a role": (
        "claims: {roles: {coverage: {rates: {sdpo: []}}}}",
        "rates.sdpo: List should have at least 1 item",
    ),
    "an empty study": ('study: ""', "study: String should match pattern"),
    "an empty family": ('models: {microcosm: {family: ""}}', "models.microcosm.family"),
    "a run without a model": (
        "onpolicy: {runs: [{method: grpo, learning_rate: 3.0e-4}]}",
        "'onpolicy.runs.0.model' is missing",
    ),
    "a run without a method": (
        "onpolicy: {runs: [{model: microcosm, learning_rate: 3.0e-4}]}",
        "'onpolicy.runs.0.method' is missing",
    ),
    "a run without a rate": (
        "onpolicy: {runs: [{model: microcosm, method: grpo}]}",
        "'onpolicy.runs.0.learning_rate' is missing",
    ),
    "a model without a source": ("models: {mine: {instruction: x}}", "'models.mine.source' is missing"),
    "a problem set without a source": ("problem_sets: {mine: {size: 3}}", "'problem_sets.mine.source' is missing"),
    "a hub model without a repository": (
        model(source="hub", revision=COMMIT),
        "models.mine: a model of source 'hub' needs 'repo' and 'revision'",
    ),
    "a hub model without a revision": (model(source="hub", repo="a/b"), "needs 'repo' and 'revision'"),
    "a folder model without a folder": (model(source="folder"), "a model of source 'folder' needs 'folder'"),
    "a shared model without the other": (model(source="model"), "a model of source 'model' needs 'of'"),
    "a file set without a file": (problem_set(source="file"), "a problem set of source 'file' needs 'file'"),
    "a hub set without a revision": (problem_set(source="hub", repo="a/b"), "needs 'repo' and 'revision'"),
    "SDPO without context": (runs({"method": "sdpo", "context": None}), "a run of sdpo needs 'context'"),
    "SDPO without top-k": (runs({"method": "sdpo", "top_k": [10, None]}), "a run of sdpo needs 'top_k'"),
    # --- texts ---
    "a study with a slash": ("study: ../elsewhere", "study: String should match pattern"),
    "a study in capitals": ("study: Mine", "study: String should match pattern"),
    "a study of 300 characters": (f"study: {LONG}", "study: String should have at most 64 characters"),
    "the study that is shipped": (
        "study: reference",
        "study: 'reference' is the name of the results that the repository holds",
    ),
    "a family with a space": (
        "models: {microcosm: {family: my models}}",
        "models.microcosm.family: String should match pattern",
    ),
    "a family that is a path": ("models: {microcosm: {family: ../up}}", "models.microcosm.family"),
    "a family that runs a command": ("models: {microcosm: {family: $(touch x)}}", "models.microcosm.family"),
    "a model's name with a slash": ("models: {a/b: {source: microcosm}}", "models.a/b"),
    "a model's name with a space": ("models: {my model: {source: microcosm}}", "models.my model"),
    "a long name": (over(models={LONG: {"source": "microcosm"}}), "String should have at most 64 characters"),
    "a set's name with a brace": ('problem_sets: {"{x}": {source: microcosm}}', "problem_sets.{x}"),
    "an instruction of 150 KB": (
        over(models={"microcosm": {"instruction": "a" * 150_000}}),
        "models.microcosm.instruction: String should have at most 10000 characters",
    ),
    "instructions that fill a command": (
        over(models={f"m{i}": {"source": "microcosm", "instruction": "ä" * 9_000} for i in range(3)}),
        "all keys together: ",
    ),
    "more runs than fit a command": (
        over(
            onpolicy={
                "runs": [
                    {"model": "microcosm", "method": ["grpo", "sdpo"], "learning_rate": 3e-4, "seed": list(range(600))}
                ]
            }
        ),
        "onpolicy.runs: ",
    ),
    "a repository with a space": (
        model(source="hub", repo="a b", revision=COMMIT),
        "models.mine.repo: String should match pattern",
    ),
    "a repository that is a path": (
        problem_set(source="hub", repo="../a/b", revision=COMMIT),
        "problem_sets.mine.repo: String should match pattern",
    ),
    "a repository in three parts": (model(source="hub", repo="a/b/c", revision=COMMIT), "models.mine.repo"),
    # --- twice ---
    "a benchmark twice": (
        "evaluation: {benchmarks: [in_domain, in_domain]}",
        "evaluation.benchmarks: 'in_domain' stands twice",
    ),
    "a benchmark along training twice": (
        "onpolicy: {benchmarks: {train: [easy, easy]}}",
        "onpolicy.benchmarks.train: 'easy' stands twice",
    ),
    "a model twice in Section 3": (
        "selection: {models: [microcosm, microcosm]}",
        "selection.models: 'microcosm' stands twice",
    ),
    "a model twice in Section 4": ("sft: {models: [microcosm, microcosm]}", "sft.models: 'microcosm' stands twice"),
    "a rate twice": ("sft: {learning_rates: [3.0e-4, 0.0003]}", "sft.learning_rates: 0.0003 stands twice"),
    "a checkpoint twice": ("onpolicy: {checkpoint_steps: [15, 15]}", "onpolicy.checkpoint_steps: 15 stands twice"),
    "a family twice": (
        "figures: {views: {fig_3: {families: [microcosm, microcosm]}}}",
        "families: 'microcosm' stands twice",
    ),
    "a role's rate twice": (
        "claims: {roles: {coverage: {rates: {grpo: [3.0e-4, 3.0e-4]}}}}",
        "rates.grpo: 0.0003 stands twice",
    ),
    "two runs of one name": (
        runs({"model": "microcosm_off", "method": "grpo", "problems": 8, "batch_size": 16}),
        "onpolicy.runs: two runs of 'microcosm_off' are called 'grpo-train-n8-draw0-lr0.0003-seed0': they differ in "
        "'batch_size' (8 and 16), which no name shows",
    ),
    "two runs of one name, of other steps": (
        runs({"method": "grpo", "steps": 20}),
        "two runs of 'microcosm' are called 'grpo-train-lr0.0003-seed0': they differ in 'steps' (30 and 20)",
    ),
    "a run without a checkpoint": (
        runs({"method": "grpo", "seed": 1, "steps": 14}),
        "grpo-train-lr0.0003-seed1: a run of 14 steps reaches none of onpolicy.checkpoint_steps (15, 30)",
    ),
    "a checkpoint that no run reaches": (
        runs({"method": "grpo", "seed": 1, "steps": 40}, checkpoint_steps=[15, 41]),
        "onpolicy: checkpoint_steps: 41 is not between 1 and steps (40)",
    ),
    "replicates of unequal length": (
        runs({"method": "grpo", "seed": 1, "steps": 20}),
        "onpolicy.runs: 'grpo-train-lr0.0003-seed0' has 30 steps with 'microcosm' and 20 with 'microcosm';",
    ),
    # --- what a run trains on ---
    "a set called trained": (
        "problem_sets: {trained: {source: microcosm, split: easy}}",
        "problem_sets.trained: is what a run trains on (onpolicy.benchmarks); the set needs another name",
    ),
    "base models on what no run trains on": (
        "evaluation: {benchmarks: [trained]}",
        "evaluation.benchmarks: unknown 'trained' (did you mean 'train'?)",
    ),
    "a misspelt trained": ("onpolicy: {benchmarks: {train: [trainde]}}", "onpolicy.benchmarks.*: unknown 'trainde'"),
    "the first problems without samples": (
        "onpolicy: {evaluation_deep: {problems: 32}}",
        "'onpolicy.evaluation_deep.samples' is missing",
    ),
    "a draw in words": (
        runs({"method": "grpo", "problems": 8, "draw": "own"}),
        ".draw: unknown 'own'; known: seed",
    ),
    # --- base models of several seeds ---
    "a seed twice": ("models: {microcosm: {each_seed: [0, 0]}}", "models.microcosm.each_seed: 0 stands twice"),
    "a seed below 0": (
        "models: {microcosm: {each_seed: [-1]}}",
        "models.microcosm.each_seed.0: Input should be greater",
    ),
    "no seed": ("models: {microcosm: {each_seed: []}}", "models.microcosm.each_seed: List should have at least 1 item"),
    "seeds of published weights": (
        over(models={"mine": {"source": "hub", "repo": "a/b", "revision": COMMIT, "each_seed": [0]}}),
        "models.mine.each_seed: belongs to the source 'microcosm', not to 'hub'",
    ),
    "a model that another entry stands for": (
        "models: {microcosm: {each_seed: [0, 1]}, microcosm_seed1: {source: microcosm, seed: 7}}",
        "models.microcosm_seed1: is also one of the models that 'microcosm' stands for, by its seeds",
    ),
    "a misspelt one of many": (
        "{models: {microcosm: {each_seed: [0, 1, 2, 3, 4, 5, 6, 7, 8]}}, sft: {models: [microcosm_sed3]}}",
        "sft.models: unknown 'microcosm_sed3' (did you mean 'microcosm_seed3'?)",
    ),
    # --- bounds ---
    "a rate of 1e10": (
        "sft: {learning_rates: [1.0e+10]}",
        "sft.learning_rates.0: Input should be less than or equal to 1 (found 10000000000.0)",
    ),
    "a run's rate of 1e10": (
        runs({"method": "grpo", "learning_rate": 1e10}),
        "learning_rate: Input should be less than or equal to 1",
    ),
    "a rate of 0": ("sft: {learning_rates: [0]}", "sft.learning_rates.0: Input should be greater than 0"),
    "a negative rate": (
        runs({"method": "grpo", "learning_rate": -1e-4}),
        "learning_rate: Input should be greater than 0",
    ),
    "a run's seed beyond int32": (
        runs({"method": "grpo", "seed": 10**11}),
        "seed: Input should be less than 2147483648",
    ),
    "the study's seed beyond int32": (f"seed: {2**31}", "seed: Input should be less than 2147483648"),
    "a seed of 90 digits": (f"seed: {'9' * 90}", "seed: "),
    "a negative seed": ("seed: -1", "seed: Input should be greater than or equal to 0"),
    "a top-k of 10**10": (
        runs({"method": "sdpo", "top_k": 10**10}),
        "top_k: Input should be less than or equal to 1000000",
    ),
    "a sampling top-k of 10**10": (
        f"sampling: {{collect: {{top_k: {10**10}}}}}",
        "sampling.collect.top_k: Input should be less than 2147483648",
    ),
    "resamples of a bootstrap": (
        "statistics: {confidence: 0.95, resamples: 10000}",
        "unknown key 'statistics.resamples'; known here: confidence",
    ),
    "a confidence of 95": (
        "statistics: {confidence: 95}",
        "statistics.confidence: Input should be less than 1 (found 95)",
    ),
    "a confidence of 0": ("statistics: {confidence: 0}", "statistics.confidence: Input should be greater than 0"),
    "a top-p in percent": (
        "sampling: {train: {top_p: 95}}",
        "sampling.train.top_p: Input should be less than or equal to 1 (found 95)",
    ),
    "a top-p of 0": ("sampling: {evaluate: {top_p: 0}}", "sampling.evaluate.top_p: Input should be greater than 0"),
    "the paper's top-k of -1": (
        "sampling: {train: {top_k: -1}}",
        "sampling.train.top_k: Input should be greater than or equal to 0",
    ),
    "a temperature of nearly nothing": (
        "sampling: {collect: {temperature: 1.0e-9}}",
        "sampling.collect: 'temperature' (1e-09) is below 0.01; 0 is greedy",
    ),
    "greedy training": ("sampling: {train: {temperature: 0}}", "sampling.train.temperature: 0 draws one response"),
    "training on the likeliest words": (
        "sampling: {train: {top_k: 1}}",
        "sampling.train.top_k: 1 draws one response as often as there are rollouts; training needs more",
    ),
    "a greedy search": ("sampling: {collect: {temperature: 0}}", "sampling.collect.temperature: 0 solves a problem"),
    "a temperature of 1e10": (
        "sampling: {collect: {temperature: 1.0e+10}}",
        "sampling.collect.temperature: Input should be less than or equal to 100",
    ),
    "no tokens": (
        "sampling: {collect: {max_tokens: 0}}",
        "sampling.collect.max_tokens: Input should be greater than 0",
    ),
    "half a rollout": ("selection: {rollouts: 2.5}", "selection.rollouts: Input should be a valid integer"),
    "rollouts as words": ("selection: {rollouts: eight}", "selection.rollouts: Input should be a valid integer"),
    "bounds of another order": ("selection: {low: 0.6}", "selection: 'low' (0.6) is above 'high' (0.5)"),
    "a band without a rate": (
        "selection: {low: 0.3, high: 0.35}",
        "no solve rate of 8 rollouts lies between 'low' (0.3) and 'high' (0.35); nearest: 2/8 and 3/8",
    ),
    "a band of one rollout": ("selection: {rollouts: 1}", "no solve rate of 1 rollouts lies between"),
    "fewer than are accepted": ("sft: {at_least: 801}", "sft: 'at_least' (801) is above 'responses' (800)"),
    "more right responses than draws": (
        "sft: {per_problem: 65}",
        "sft.per_problem: 65 right responses to a problem are wanted, of 64 (sft.max_draws)",
    ),
    "more responses than are drawn": (
        "sft: {max_draws: 8, responses: 801, at_least: 801}",
        "sft.at_least: 801 responses are needed; 100 problems (selection.target) with up to 8 each (sft.per_problem, "
        "sft.max_draws) give 800 at most",
    ),
    "a group of one": ("onpolicy: {rollouts: 1}", "onpolicy.rollouts: Input should be greater than 1"),
    "steps of 0": ("onpolicy: {steps: 0}", "onpolicy.steps: Input should be greater than 0"),
    "a window of 0": ("onpolicy: {window: 0}", "onpolicy.window: Input should be greater than 0"),
    "a beta of 1": ("onpolicy: {adam_beta1: 1}", "onpolicy.adam_beta1: Input should be less than 1"),
    "a dual clip of 1": ("onpolicy: {grpo: {dual_clip: 1}}", "onpolicy.grpo.dual_clip: Input should be greater than 1"),
    "an alpha of 2": (
        "onpolicy: {sdpo: {divergence_alpha: 2}}",
        "onpolicy.sdpo.divergence_alpha: Input should be less than or equal to 1",
    ),
    "a teacher that moves twice": (
        runs({"method": "sdpo", "teacher_update_rate": 2}),
        "teacher_update_rate: Input should be less than or equal to 1",
    ),
    "a teacher's prompt of a token": (
        "onpolicy: {sdpo: {max_teacher_tokens: 1}}",
        "onpolicy.sdpo.max_teacher_tokens: Input should be greater than or equal to 16",
    ),
    "a size of 0": ("problem_sets: {train: {size: 0}}", "problem_sets.train.size: Input should be greater than 0"),
    "a size of -1": ("problem_sets: {train: {size: -1}}", "problem_sets.train.size: Input should be greater than 0"),
    # --- sizes that do not fit each other ---
    "a micro-batch that does not divide": (
        "onpolicy: {micro_batch_size: 5}",
        "micro_batch_size 5 does not divide 32 sequences per update and process; nearest micro_batch_size: 2 or 4",
    ),
    "a micro-batch beyond the batch": ("onpolicy: {micro_batch_size: 64}", "micro_batch_size 64 does not divide 32"),
    "updates that do not divide": (
        "onpolicy: {updates_per_step: 3}",
        "updates_per_step 3 does not divide batch_size x rollouts (64); nearest updates_per_step: 2 or 4",
    ),
    "huge sizes that do not divide": (
        "onpolicy: {batch_size: 999983, rollouts: 9973, updates_per_step: 7}",
        "updates_per_step 7 does not divide batch_size x rollouts (",
    ),
    "a micro-batch of fine-tuning": (
        "sft: {micro_batch_size: 5}",
        "sft: micro_batch_size 5 does not divide 32 sequences per step and process; nearest micro_batch_size: 2 or 4",
    ),
    "a batch of fine-tuning": ("sft: {batch_size: 30}", "micro_batch_size 4 does not divide 30"),
    "a run's own batch": (
        runs({"method": "grpo", "problems": 4, "batch_size": 3}),
        "micro_batch_size 16 does not divide 12",
    ),
    "a checkpoint after the end": (
        "onpolicy: {checkpoint_steps: [15, 31]}",
        "onpolicy: checkpoint_steps: 31 is not between 1 and steps (30)",
    ),
    "a checkpoint of step 0": (
        "onpolicy: {checkpoint_steps: [0, 30]}",
        "onpolicy.checkpoint_steps.0: Input should be greater than 0",
    ),
    "fewer steps than checkpoints": ("onpolicy: {steps: 20}", "checkpoint_steps: 30 is not between 1 and steps (20)"),
    "adapters of a negative rank": (
        "sft: {lora_rank: -1}",
        "sft.lora_rank: Input should be greater than or equal to 0",
    ),
    "a split that is smaller": (
        "problem_sets: {narrow: {size: 289}}",
        "problem_sets.narrow: microcosm split 'narrow_train' has 288 problems, 289 were asked for",
    ),
    "an endless split": (
        "problem_sets: {easy: {size: 1000000}}",
        "microcosm split 'easy' has 5363 problems, 1000000 were asked for",
    ),
    "more problems than the set has": (
        runs({"method": "grpo", "problem_set": "narrow", "problems": 300}),
        "draw 0 of 300 problems needs at least 300 problems, 512 apart at most; the set has 288",
    ),
    "a draw beyond the set": (
        runs({"method": "grpo", "problems": 8, "draw": 16}),
        "draw 16 of 8 problems needs at least 8200 problems",
    ),
    "more problems than draws are apart": (runs({"method": "grpo", "problems": 2000}), "draw 0 of 2000 problems needs"),
    "a target beyond the pool": (
        "selection: {target: 9000}",
        "selection.target: 9000 problems are asked for, the set has 8000",
    ),
    "a training set as its benchmark": (
        "onpolicy: {benchmarks: {train: [train]}}",
        "onpolicy.benchmarks.train: 'train' is the set trained on",
    ),
    "a benchmark that is the training set by another name": (
        "problem_sets: {again: {source: microcosm, split: train, size: 10}}\nonpolicy: {benchmarks: {train: [again]}}",
        "onpolicy.benchmarks.train: 'again' is the set trained on",
    ),
    "the pool as a benchmark": (
        "evaluation: {benchmarks: [train]}",
        "evaluation.benchmarks: 'train' is the set that Section 4's data are selected from",
    ),
    "vLLM at 2.5": (
        "engine: vllm\nsampling: {collect: {temperature: 2.5}}",
        "sampling.collect.temperature: vLLM takes temperatures up to 2, found 2.5",
    ),
    # --- where things come from ---
    "weights of itself": (
        "models: {microcosm_off: {of: microcosm_off}}",
        "models.microcosm_off.of: leads back to itself (microcosm_off -> microcosm_off)",
    ),
    "weights in a circle": (
        "models: {a: {source: model, of: b}, b: {source: model, of: a}}",
        "models.a.of: leads back to itself (a -> b -> a)",
    ),
    "a model's branch": (
        model(source="hub", repo="a/b", revision="main"),
        "models.mine: a/b: revision 'main' is not a commit of 40 hexadecimal digits",
    ),
    "a short commit": (model(source="hub", repo="a/b", revision="0123456"), "is not a commit of 40 hexadecimal digits"),
    "a set's branch": (
        problem_set(source="hub", repo="a/b", revision="main"),
        "problem_sets.mine: a/b: revision 'main' is not a commit",
    ),
    "a model that is not locked": (
        model(source="hub", repo="Qwen/Qwen3-8C", revision="locked"),
        "no revision of 'Qwen/Qwen3-8C' (did you mean 'Qwen/Qwen3-8B'?)",
    ),
    "a set that is not locked": (
        problem_set(source="hub", repo="math-ai/aime26", revision="locked"),
        "config/revisions.json: no revision of 'math-ai/aime26'",
    ),
    "a folder that is not there": (
        model(source="folder", folder="no/where"),
        "models.mine.folder: no/where: no such folder",
    ),
    "a folder without weights": (
        model(source="folder", folder="docs"),
        "models.mine.folder: docs: no safetensors weights found",
    ),
    "a file for a folder": (
        model(source="folder", folder="README.md"),
        "models.mine.folder: README.md: no such folder",
    ),
    "an empty folder name": (model(source="folder", folder=""), "models.mine.folder"),
    "a home folder": (model(source="folder", folder="~/models/x"), "models.mine.folder: ~/models/x: no such folder"),
    "a file of another kind": (
        problem_set(source="file", file="data/mine.xlsx"),
        "problem_sets.mine.file: data/mine.xlsx: unknown kind of file '.xlsx'",
    ),
    "a suffix that is misspelt": (
        problem_set(source="file", file="data/mine.jsnl"),
        "unknown kind of file '.jsnl' (did you mean '.jsonl'?)",
    ),
    "a folder for a file": (
        problem_set(source="file", file="docs"),
        "problem_sets.mine.file: docs: a folder, where a file of problems is expected",
    ),
    "an empty file name": (problem_set(source="file", file=""), "problem_sets.mine.file"),
    "more rows than the file has": (
        problem_set(source="file", file="examples/data_set/problems.jsonl", size=99),
        "problem_sets.mine.size: 99 problems are asked for, examples/data_set/problems.jsonl has",
    ),
    "a repository for the microcosm": (
        problem_set(source="microcosm", split="hard", repo="a/b"),
        "problem_sets.mine.repo: belongs to the source 'hub', not to 'microcosm'",
    ),
    "a column for the microcosm": (
        problem_set(source="microcosm", split="hard", problem_column="q"),
        "problem_sets.mine.problem_column: belongs to the source 'file' or 'hub'",
    ),
    "a file for the microcosm": (
        problem_set(source="microcosm", split="hard", file="a.jsonl"),
        "problem_sets.mine.file: belongs to the source 'file'",
    ),
    "a split of a file": (
        problem_set(source="file", file="examples/data_set/problems.jsonl", split="test"),
        "problem_sets.mine.split: belongs to the source 'microcosm' or 'hub'",
    ),
    "a file for the hub": (
        problem_set(source="hub", repo="a/b", revision=COMMIT, file="a.jsonl"),
        "problem_sets.mine.file: belongs to the source 'file'",
    ),
    "a repository added to the default's set": (
        "problem_sets: {train: {repo: a/b, revision: main}}",
        "problem_sets.train.repo: belongs to the source 'hub', not to 'microcosm'",
    ),
    "a seed for the hub": (
        model(source="hub", repo="a/b", revision=COMMIT, seed=3),
        "models.mine.seed: belongs to the source 'microcosm', not to 'hub'",
    ),
    "a folder for the microcosm": (
        "models: {microcosm: {folder: docs}}",
        "models.microcosm.folder: belongs to the source 'folder', not to 'microcosm'",
    ),
    "another entry for the microcosm": (
        "models: {microcosm: {of: microcosm_off}}",
        "models.microcosm.of: belongs to the source 'model'",
    ),
    "a misspelt part of a template": (
        'contexts: {hint: "{problem} {anwser}"}',
        "contexts.hint: unknown {anwser} (did you mean 'answer'?); a template may hold {problem}, {solution}, {answer}",
    ),
    "a template called as a setting is": (
        "contexts: {regeneration: '{problem}'}",
        "contexts.regeneration: is the name of something else",
    ),
    "a template called as a method is": (
        "contexts: {sdpo: '{problem}'}",
        "contexts.sdpo: is the name of something else",
    ),
    "a template called as a context that needs none is": (
        "contexts: {wrong_solution: '{problem}'}",
        "contexts.wrong_solution: is the name of something else",
    ),
    "a template with a dash": ("contexts: {my-hint: '{problem}'}", "contexts.my-hint"),
    "an empty template": ("contexts: {hint: ''}", "contexts.hint: String should have at least 1 character"),
    "a context that no template is called": (
        'contexts: {hint: "{problem}"}\n' + runs({"method": "sdpo", "context": ["solution", "hnt"]}),
        "onpolicy.runs.context: unknown 'hnt' (did you mean 'hint'?); known: solution, solution_without_thinking, "
        "wrong_solution, unrelated_solution, hint",
    ),
    "a role with a misspelt context": (
        "claims: {roles: {chemistry: {context: solutoin}}}",
        "claims.roles.*.context: unknown 'solutoin' (did you mean 'solution'?)",
    ),
    "Figure 1 without what its first half shows": (
        "figures: {narrow: null}",
        "figures.views.fig_1: 'figures.narrow' is missing, which says what Figure 1a shows",
    ),
    "a complete study that says little": ("complete: true\nstudy: mine", "'models' is missing"),
    "top-k for GRPO": (runs({"method": "grpo", "top_k": 10}), "top_k: belongs to the method 'sdpo' (found 10)"),
    "a context for GRPO": (
        runs({"method": "grpo", "context": "solution_without_thinking"}),
        "context: belongs to the method 'sdpo'",
    ),
    "a teacher for GRPO": (
        runs({"method": "grpo", "teacher_update_rate": 0.05}),
        "teacher_update_rate: belongs to the method 'sdpo'",
    ),
    "several top-k for GRPO": (runs({"method": ["grpo"], "top_k": [10, 100]}), "top_k: belongs to the method 'sdpo'"),
    "copies of so many problems": (
        runs({"method": "grpo", "problems": 8, "copies": 103}),
        "copies: are of a whole set; a run on so many 'problems' repeats them to fill a batch",
    ),
    "copies beside none": (
        runs({"method": "grpo", "copies": 103}),
        "they differ in 'copies' (1 and 103), which no name shows",
    ),
    "an answer elsewhere": (
        "models: {microcosm: {answer_in: tags}}",
        "models.microcosm.answer_in: unknown 'tags' (did you mean 'tag'?); known: box, tag",
    ),
    "a draw of the whole set": (
        runs({"method": "grpo", "draw": 2}),
        "draw: is a draw of so many 'problems', which this run does not name",
    ),
}

TAKEN = {
    "nothing": "{}",
    "numbers as texts": 'seed: "3"\nsft: {learning_rates: ["1e-4"]}',
    "whole numbers with a point": "onpolicy: {window: 5.0}",
    "a large decimal with underscores": "seed: 10_000",
    "a truth by another word": "onpolicy: {keep_checkpoints: yes}",
    "on in quotes": 'figures: {views: {fig_3: {thinking: "on"}}}',
    "an emoji": "models: {microcosm: {instruction: 😀 und ümlaut}}",
    "an instruction like a flag": 'models: {microcosm: {instruction: "--then=this {x} \\\\boxed{}"}}',
    "an instruction of lines": 'models: {microcosm: {instruction: "one\\ntwo"}}',
    "a byte order mark": "\ufeffseed: 3",
    "Windows line ends": "seed: 3\r\nengine: transformers\r\n",
    "anchors": "sampling: {collect: &all {temperature: 0.5}, train: *all}",
    "a merged anchor": "sampling: {collect: &all {temperature: 0.5}, train: {<<: *all, top_p: 0.9}}",
    "greedy sampling": "sampling: {evaluate: {temperature: 0}}",
    "a band of one rate": "selection: {low: 0.125, high: 0.125}",
    "a band up to all": "selection: {low: 0, high: 1}",
    "as many responses as are drawn": "sft: {max_draws: 8, at_least: 800}",
    "sizes of sets that nothing is trained on": "sft: {models: [], max_draws: 4}\nclaims: {roles: {sft: null}}",
    "a rate with all digits": "sft: {learning_rates: [1.2345678e-4, 3.0e-4]}",
    "rates that are nearly one": "sft: {learning_rates: [3.0e-4, 3.0000001e-4]}",
    "a largest seed": f"seed: {2**31 - 1}",
    "a run named twice": runs({"method": "grpo"}, {"method": "grpo"}),
    "methods that share a row": runs({"method": ["grpo", "sdpo"], "top_k": [10, 100]}),
    "the default's top-k, said of GRPO": runs({"method": "grpo", "top_k": 100, "context": "solution", "draw": 0}),
    "nulls for GRPO": runs({"method": "grpo", "top_k": None, "context": None, "teacher_update_rate": None}),
    "a draw of some of the sizes": runs({"method": "grpo", "problems": [None, 8], "draw": [0, 1]}),
    "copies of the whole set": runs({"method": "grpo", "problems": [None, 8], "copies": 103, "seed": 1}),
    "a batch of a run's own": runs({"method": "grpo", "problems": 2, "batch_size": 16}),
    "the whole split": "problem_sets: {narrow: {size: 288}}",
    "a series that is dropped": "onpolicy: {benchmarks: {mine: null}}",
    "a family that is the model's own": "models: {microcosm: {family: null}}",
    "another family": "models: {microcosm: {family: microcosm}}",
    "a role that nobody plays": "claims: {roles: {coverage: null}}",
    "a file": problem_set(source="file", file="examples/data_set/problems.jsonl"),
    "a file and its size": problem_set(source="file", file="examples/data_set/problems.jsonl", size=3),
    "a locked set": problem_set(source="hub", repo="math-ai/aime24", revision="locked", split="test"),
    "a set at a commit": problem_set(source="hub", repo="a/b", revision=COMMIT, name="main", problem_column="q"),
    "a locked model": model(source="hub", repo="Qwen/Qwen3-8B", revision="locked"),
    "a repository without an owner": model(source="hub", repo="gpt2", revision=COMMIT),
    "another source with all that it takes": over(
        models={"microcosm": {"source": "hub", "repo": "gpt2", "revision": COMMIT, "instruction": ""}}
    ),
    "a set of another source": over(
        problem_sets={"train": {"source": "hub", "repo": "a/b", "revision": COMMIT, "size": None}}
    ),
    "base models of several seeds": "models: {microcosm: {each_seed: [0, 3]}}",
    "problems of each base model's own": runs({"method": "grpo", "problems": 8, "draw": "seed", "seed": 1}),
    "what runs train on": "onpolicy: {benchmarks: {train: [easy, trained]}}",
    "weights of weights": model(source="model", of="microcosm_off"),
    "vLLM": "engine: vllm",
    "adapters, and teachers that move in them": over(onpolicy={"lora_rank": 8}, sft={"lora_rank": 8}),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_configuration_is_refused_in_a_sentence(case, tmp_path):
    overlay, sentence = REFUSED[case]
    told = refused(tmp_path, overlay)
    assert any(sentence in line for line in told), told


@pytest.mark.parametrize("case", TAKEN)
def test_an_unusual_but_sound_configuration_is_taken(case, tmp_path):
    assert opened(tmp_path, TAKEN[case]).study.runs


# --- beside the file --------------------------------------------------------------------------------------------------

GIVEN = {
    "a truth": ("seed=True", "seed: a number is expected (found true)"),
    "a time": ("seed=1:30", "seed: Input should be a valid integer"),
    "nothing": ("seed=", "seed: Input should be a valid integer (found None)"),
    "a table in words": ("onpolicy={micro_batch_size: 5}", "micro_batch_size 5 does not divide 32"),
    "a key of another source": (
        "problem_sets={train: {repo: a/b}}",
        "problem_sets.train.repo: belongs to the source 'hub'",
    ),
    "another source": (
        "models={microcosm: {source: folder, folder: docs}}",
        "models.microcosm.folder: docs: no safetensors weights found",
    ),
    "the shipped study": ("study=reference", "'reference' is the name of the results that the repository holds"),
    "an unknown key": ("sede=1", "unknown key 'sede' (did you mean 'seed'?)"),
}


@pytest.mark.parametrize("case", GIVEN)
def test_what_the_command_line_gives_is_checked_alike(case, tmp_path):
    word, sentence = GIVEN[case]
    told = refused(tmp_path, "{}", word)
    assert any(sentence in line for line in told), told


def test_decimal_digits_of_the_command_line_are_decimal(tmp_path):
    assert opened(tmp_path, "{}", "seed=017").study.config.seed == 17


def test_json_is_read_as_strictly(tmp_path):
    assert "the key 'seed' stands twice" in refused(tmp_path, '{"seed": 1, "seed": 2}', suffix=".json")[0]
    told = refused(tmp_path, '{"models": {"microcosm": {"instruction": "\\ud83d \\u0000"}}}', suffix=".json")
    assert "config: models.microcosm.instruction: a text with a NUL character" in told
    emoji = opened(tmp_path, '{"models": {"microcosm": {"instruction": "\\ud83d\\ude00"}}}', suffix=".json")
    assert emoji.study.config.models["microcosm"].instruction == "\U0001f600"


def test_an_entry_that_names_its_source_takes_nothing_from_the_one_below(tmp_path):
    overlay = "problem_sets: {narrow: {source: file, file: examples/data_set/problems.jsonl}}"
    narrow = opened(tmp_path, overlay).study.config.problem_sets["narrow"]
    assert (narrow.size, narrow.split) == (None, "train")
    model = "models: {microcosm: {source: hub, repo: Qwen/Qwen3-8B, revision: locked}}"
    assert "Please reason" in opened(tmp_path, model).study.config.models["microcosm"].instruction
    assert opened(tmp_path, "models: {microcosm: {seed: 3}}").study.config.models["microcosm"].instruction == ""


@pytest.mark.parametrize(
    ("given", "shared", "sampled"),
    [
        ({"temperature": 0.7}, {"max_tokens": 120, "top_p": 0.8}, Sampling(0.7, 0.8, 0, 120)),
        ({"max_tokens": 90}, {"temperature": 0, "top_k": 20}, Sampling(0, 1.0, 20, 90)),
        ({}, {"max_tokens": 120}, Sampling(max_tokens=120)),
        (None, {"max_tokens": 120}, None),
    ],
)
def test_what_a_models_own_sampling_leaves_out_is_the_studys(given, shared, sampled, tmp_path):
    overlay = over(models={"microcosm_off": {"evaluate": given}}, sampling={"evaluate": shared})
    study = opened(tmp_path, overlay).study
    assert study.config.models["microcosm_off"].evaluate == sampled
    assert study.evaluated_with("microcosm_off") == (sampled or study.config.sampling.evaluate)
    record = yaml.safe_dump(as_json(study.config) | {"complete": True})
    assert opened(tmp_path, record).study.config.models == study.config.models


DROPPED = {
    "models": over(
        models={"microcosm_off": None},
        onpolicy={"runs": [{"model": "microcosm", "method": "grpo", "learning_rate": 1.0e-4}]},
    ),
    "views": "figures: {narrow: null, views: {fig_1: null, fig_7: null}}\n",
    "rates": "claims: {roles: {chemistry: {rates: {sdpo: null}}}}\n",
}


def test_null_drops_any_named_entry(tmp_path):
    config = opened(tmp_path, DROPPED["views"]).study.config
    assert config.figures.views.keys() == default()["figures"]["views"].keys() - {"fig_1", "fig_7"}
    told = refused(tmp_path, DROPPED["rates"])
    assert all("chemistry" in line and "sdpo" in line for line in told), told  # its statements test a rate of sdpo
    told = refused(tmp_path, DROPPED["models"])
    assert (
        "config: figures.views.fig_7.rates.grpo: no run of 'grpo' has the rate 0.0003; rates of its runs: 0.0001"
        in told
    )
    assert not any("microcosm_off" in line for line in told)


def test_what_nothing_fills_is_said(tmp_path):
    told = opened(tmp_path, "figures: {views: {fig_7: null, fig_1: null}}").warnings
    assert "config: figures.views: not drawn, as no view says what they show: Figure 1, Figure 7" in told
    assert "config: figures.narrow: shown by no figure, as Figure 1 has no view" in told
    (line,) = opened(tmp_path, "onpolicy: {benchmarks: {easy: [hard]}}").warnings
    assert line == "config: onpolicy.benchmarks.easy: no run trains on it"
    assert not opened(tmp_path).warnings


# Snakemake itself does not get through these: it says so in its own words before the workflow is asked.
UNREADABLE = {
    "Latin-1": ("study: café".encode("latin-1"), "not UTF-8 text (byte 10); save it as UTF-8"),
    "UTF-16": ("seed: 1".encode("utf-16"), "not UTF-8 text (byte 0)"),
    "several documents": ("seed: 1\n---\nseed: 2", "line 2: "),
    "tabs": ("onpolicy:\n\tsteps: 3", "line 2: found character that cannot start any token"),
    "an anchor in itself": ("a: &a\n  b: *a", "line 1: the anchor here holds itself"),
    "an unknown anchor": ("a: *b", "line 1: found undefined alias"),
    "an open bracket": ("a: [1, 2", "did not find expected ',' or ']'"),
    "a number of 5,000 digits": (f"seed: {'1' * 5000}", "line 1: a number of 5000 digits"),
    "a Python object": (
        "a: !!python/object/apply:os.getpid []",
        "the tag 'python/object/apply:os.getpid' is not taken",
    ),
    "a tag of one's own": ("a: !mine 1", "the tag '!mine' is not taken"),
    "a set": ("a: !!set {x, y}", "the tag 'set' is not taken"),
    "bytes": ("a: !!binary aGVsbG8=", "the tag 'binary' is not taken"),
    "a control character": ("a: \x01", "control characters are not allowed"),
    "60 levels": ("a: " + "[" * 60 + "]" * 60, "nests deeper than 50 levels"),
    "a key that is a list": ("? [a, b]\n: 1", "does not read the key a list or a table as a text"),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_a_file_that_is_no_plain_yaml_is_refused_with_its_line(case, tmp_path):
    content, sentence = UNREADABLE[case]
    file = tmp_path / "mine.yaml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError) as told:
        open_study(default(), Start(ROOT, [ROOT / "config.yaml", file]))
    assert str(told.value).startswith(f"{file}") and sentence in str(told.value)


UNTESTABLE = "id: a, section: s, statement: t, untestable: x"
TESTED = (
    "id: a, section: s, statement: t, "
    "tests: [{of: guidance, metric: L, more: {setting: unguided}, less: {setting: solution}}]"
)


def statement(of: str, more: str, less: str, margin: str = "1.0") -> str:
    """A list of one statement."""
    test = f"{{of: {of}, metric: L, more: {more}, less: {less}, margin: {margin}}}"
    role = "sft" if of == "sft" else "high_reasoning"
    return f"claims: [{{id: a, section: s, statement: t, role: {role}, tests: [{test}]}}]"


CLAIMS = {
    "nothing": ("", "expected a list of statements under 'claims'"),
    "a null": ("claims:\n  -", "claim 1 of the list: "),
    "a number": ("claims: [3]", "claim 1 of the list: "),
    "a number for the list": ("claims: 3", "expected a list of statements under 'claims'"),
    "Latin-1": ("claims: [caf\xe9]", "not UTF-8 text"),
    "a key twice": ("claims: []\nclaims: []", "the key 'claims' stands twice"),
    "an unknown role": (
        f"claims: [{{{TESTED}, role: coverige}}]",
        "claim 'a': unknown role 'coverige' (did you mean 'coverage'?)",
    ),
    "an unknown figure": (
        f"claims: [{{{UNTESTABLE}, shown_in: [fig3]}}]",
        "shown_in: unknown 'fig3' (did you mean 'fig_3'?)",
    ),
    "an unknown key": (f"claims: [{{{UNTESTABLE}, colour: red}}]", "claim 'a': unknown key 'colour'"),
    "an unknown metric": (f"claims: [{{{TESTED.replace('L', 'length')}, role: sft}}]", "known: score, avg, L, E"),
    "two of one name": (f"claims: [{{{UNTESTABLE}}}, {{{UNTESTABLE}}}]", "2 statements are called 'a'"),
    "a context that no study has": (
        statement("training", "{method: sdpo, context: answer_onyl}", "{method: grpo}"),
        "claim 'a': tests.0: context: no study here has 'answer_onyl' in contexts (did you mean 'answer_only'?); ",
    ),
    "a template that no study has": (
        statement("training", "{method: sdpo, context: mine}", "{method: grpo}"),
        "claim 'a': tests.0: context: no study here has 'mine' in contexts; known: solution, ",
    ),
    "words that no study has": (
        statement("sft", "{words: no_hedge}", "{data: base}"),
        "tests.0: words: no study here has 'no_hedge' in evaluation.words (did you mean 'no_hedges'?)",
    ),
    "words that no study has, in a margin": (
        statement("sft", "{data: guided}", "{data: base}", "{share: 0.5, more: {words: no_hedge}, less: {data: base}}"),
        "tests.0: words: no study here has 'no_hedge' in evaluation.words (did you mean 'no_hedges'?)",
    ),
    "an edited set": (
        statement("sft", "{data: no_marker}", "{data: base}"),
        "claim 'a': tests.0.more.data: unknown 'no_marker' (did you mean 'no_markers'?)",
    ),
    "a method": (
        statement("training", "{method: sdpo_cliped}", "{method: grpo}"),
        "claim 'a': tests.0.more.method: unknown 'sdpo_cliped' (did you mean 'sdpo_clipped'?)",
    ),
}


@pytest.mark.parametrize("case", CLAIMS)
def test_a_bad_list_of_statements_is_refused_with_the_configuration(case, tmp_path, monkeypatch):
    text, sentence = CLAIMS[case]
    file = tmp_path / "claims.yaml"
    file.write_text(text, encoding="latin-1")
    monkeypatch.setattr(opening, "CLAIMS", file)
    told = refused(tmp_path, "seed: true")
    assert len(told) >= 2 and any(sentence in line for line in told), told


def test_a_statement_may_name_what_this_study_or_another_one_defines(tmp_path, monkeypatch):
    file = tmp_path / "claims.yaml"
    file.write_text(statement("training", "{method: sdpo, context: mine}", "{method: sdpo, context: answer_only}"))
    monkeypatch.setattr(opening, "CLAIMS", file)
    mine = over(contexts={"mine": "{problem} {answer}"})
    opened(tmp_path, mine)
    (told,) = refused(tmp_path, "{}")
    assert told.startswith(f"{file}: claim 'a': tests.0: context: no study here has 'mine'")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(over(contexts={"answer_only": "{problem}"}))
    recorded = tmp_path / "results" / "mine" / "config.yaml"
    recorded.parent.mkdir(parents=True)
    claims, _ = read_statements(file)
    assert len(list(unknown_names(claims, {}))) == 1
    recorded.write_text(mine)
    assert list(unknown_names(claims, {})) == []


def test_files_are_checked_where_they_lie(tmp_path):
    table, text, wrong = tmp_path / "a.parquet", tmp_path / "b.json", tmp_path / "c.jsonl"
    pd.DataFrame({"problem": ["p"] * 5, "answer": ["1"] * 5}).to_parquet(table)
    text.write_text('[{"problem": "p", "answer": "1"}]')
    wrong.write_text('{"problem": "p", "answer": "1"}\n{"problem": ')
    for file, size, sentence in (
        (table, 6, f"problem_sets.mine.size: 6 problems are asked for, {table} has 5 rows"),
        (text, 2, f"problem_sets.mine.size: 2 problems are asked for, {text} has 1 rows"),
        (wrong, None, f"problem_sets.mine.file: {wrong}: line 2 is not valid JSON"),
    ):
        told = refused(tmp_path, problem_set(source="file", file=str(file), size=size))
        assert any(sentence in line for line in told), told
    few = over(problem_sets={"narrow": {"source": "file", "file": str(table), "size": None}})
    assert opened(tmp_path, few).study.config.problem_sets["narrow"].size is None
    asked = over(onpolicy={"runs": default()["onpolicy"]["runs"] + [
        {"model": "microcosm", "method": "grpo", "learning_rate": 3e-4, "problem_set": "narrow", "problems": 6}
    ]})  # fmt: skip
    told = refused(tmp_path, few + asked)
    assert any("draw 0 of 6 problems needs at least 6 problems" in line for line in told), told


def test_a_response_fits_into_its_model(tmp_path):
    folder = save_heads(tmp_path / "short", max_position_embeddings=400, rope_parameters={"rope_type": "default"})
    end = f"'mine' ({folder}) takes 400 of prompt and response (max_position_embeddings)"
    entry = {"source": "folder", "folder": str(folder)}
    trained = [*default()["onpolicy"]["runs"], {"model": "mine", "method": "grpo", "learning_rate": 3e-4}]
    used = {"selection": {"models": ["microcosm", "mine"]}, "onpolicy": {"runs": trained}}
    fits = {name: {"max_tokens": 399} for name in ("collect", "train", "evaluate")}
    assert refused(tmp_path, over(models={"mine": entry}, **used)) == [
        f"config: sampling.{name}.max_tokens: 400 tokens of a response alone; {end}" for name in fits
    ]
    opened(tmp_path, over(models={"mine": entry}, sampling=fits, **used))
    longer = {"mine": entry | {"evaluate": {"max_tokens": 500}}}
    told = refused(tmp_path, over(models=longer, sampling=fits, **used))
    assert told == [f"config: models.mine.evaluate.max_tokens: 500 tokens of a response alone; {end}"]
    opened(tmp_path, over(models=longer, sampling=fits, selection=used["selection"]))  # it is not evaluated


def test_a_response_fits_into_a_model_of_the_hub_that_is_in_its_cache(tmp_path, monkeypatch):
    cache, commit = tmp_path / "hub", "0" * 40
    monkeypatch.setattr("huggingface_hub.file_download.constants.HF_HUB_CACHE", str(cache))
    entry = {"source": "hub", "repo": "who/short", "revision": commit}
    selected = {"models": ["microcosm", "mine"]}
    told = over(models={"mine": entry}, selection=selected)
    opened(tmp_path, told)  # nothing is known of it yet
    folder = save_heads(cache / "models--who--short" / "snapshots" / commit, max_position_embeddings=400)
    assert refused(tmp_path, told) == [
        f"config: sampling.collect.max_tokens: 400 tokens of a response alone; 'mine' ({folder}) takes 400 of prompt "
        "and response (max_position_embeddings)"
    ]
    wrong = refused(tmp_path, over(models={"mine": entry | {"revision": "main"}}, selection=selected))
    assert [line.partition(" is not")[0] for line in wrong] == ["config: models.mine: who/short: revision 'main'"]


GOOD = {"problem": "p", "answer": "1"}
ROWS = {
    "other columns": ([{"text": "p", "answer": "1"}], {}, "no problem column: none of problem, question, prompt"),
    "no answers": ([{"problem": "p", "result": "1"}], {}, "no answer column: none of answer, "),
    "a column that is not there": ([GOOD], {"answer_column": "anser"}, "no column 'anser' (did you mean 'answer'?)"),
    "an empty answer": ([GOOD, GOOD | {"answer": ""}], {}, "line 2, column 'answer': the answer is empty; `without_an"),
    "an empty problem": ([GOOD, GOOD | {"problem": " "}], {}, "line 2, column 'problem': the problem is empty"),
    "nothing but empty answers": ([GOOD | {"answer": ""}], {"without_answer": "drop"}, "holds 0 distinct problems"),
    "one problem twice": ([GOOD, GOOD], {"size": 2}, "holds 1 distinct problems, 2 wanted"),
}


@pytest.mark.parametrize("case", ROWS)
@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_file_of_other_rows_is_refused_at_the_start(case, kind, tmp_path):
    rows, settings, sentence = ROWS[case]
    file = written_rows(tmp_path / f"a.{kind}", rows)
    told = refused(tmp_path, problem_set(source="file", file=str(file), **settings))
    sentence = sentence.replace("line 2", "row 1") if kind == "parquet" else sentence
    assert told[0].startswith(f"config: problem_sets.mine.file: {file}: {sentence}") and len(told) == 1, told


def test_rows_that_are_not_kept_or_come_late_are_not_read_at_the_start(tmp_path):
    bad = [GOOD, GOOD | {"answer": ""}]
    kept = written_rows(tmp_path / "a.jsonl", bad)
    opened(tmp_path, problem_set(source="file", file=str(kept), size=1))
    opened(tmp_path, problem_set(source="file", file=str(kept), without_answer="drop"))
    late = written_rows(tmp_path / "b.parquet", [GOOD] * FIRST_ROWS + bad)
    opened(tmp_path, problem_set(source="file", file=str(late)))


def test_two_names_for_one_benchmark_are_refused(tmp_path):
    file = written_rows(tmp_path / "a.jsonl", [GOOD, GOOD | {"problem": "q"}])
    (tmp_path / "b.jsonl").symlink_to(file)
    sets = {name: {"source": "file", "file": str(tmp_path / f"{name}.jsonl")} for name in ("a", "b")}
    usual = opened(tmp_path, over(problem_sets=sets)).study.config
    along = usual.onpolicy.benchmarks
    tested = {
        "evaluation": {"benchmarks": [*usual.evaluation.benchmarks, "a", "b"]},
        "onpolicy": {"benchmarks": along | {"train": [*along["train"], "b", "a"]}},
    }
    assert refused(tmp_path, over(problem_sets=sets, **tested)) == [
        "config: evaluation.benchmarks: 'a' and 'b' are the same problems; name them once",
        "config: onpolicy.benchmarks.train: 'b' and 'a' are the same problems; name them once",
    ]
    first = {"b": sets["b"] | {"size": 1}}
    opened(tmp_path, over(problem_sets=sets | first, **tested))


def test_a_part_with_other_problems_than_it_names_is_refused_at_the_start(tmp_path):
    file = written_rows(tmp_path / "a.jsonl", [GOOD, GOOD | {"problem": "q"}])
    part = {"source": "file", "file": str(file), "size": 1}
    told = refused(tmp_path, over(problem_sets={"part": part}, onpolicy={"subsets": {"train": ["part"]}}))
    sentence = "a.jsonl: holds 2 distinct problems, and is named as a part of 1 (size)"
    assert f"config: problem_sets.part.file: {sentence}" in told


def test_a_training_set_is_known_by_whatever_path_leads_to_it(tmp_path):
    file = written_rows(tmp_path / "a.jsonl", [GOOD])
    link = tmp_path / "b.jsonl"
    link.symlink_to(file)
    for path in (link, tmp_path / ".." / tmp_path.name / "a.jsonl", Path(os.path.relpath(file, ROOT))):
        sets = {name: {"source": "file", "file": str(where)} for name, where in (("one", file), ("other", path))}
        along = opened(tmp_path, over(problem_sets=sets)).study.config.onpolicy.benchmarks
        told = refused(tmp_path, over(problem_sets=sets, onpolicy={"benchmarks": along | {"one": ["other"]}}))
        assert told == [
            "config: onpolicy.benchmarks.one: 'other' is the set trained on; a benchmark holds other problems"
        ]


def written_rows(file: Path, rows: list[dict]) -> Path:
    table = pd.DataFrame(rows)
    table.to_parquet(file) if file.suffix == ".parquet" else table.to_json(file, orient="records", lines=True)
    return file


def test_services_that_are_not_installed_are_refused_where_jobs_use_these_packages(tmp_path, monkeypatch):
    monkeypatch.setattr("selfdistill.training.settings.find_spec", lambda name: None)
    mirrored = over(onpolicy={"mirrors": ["wandb"]})
    assert refused(tmp_path, mirrored) == [
        "config: onpolicy.mirrors: 'wandb' is not installed here (pip install wandb)"
    ]
    start = Start(ROOT, [ROOT / "config.yaml", tmp_path / "mine.yaml"], own_environments=True)
    assert open_study({}, start).study.config.onpolicy.mirrors == ["wandb"]


def test_what_is_named_for_nothing_and_what_is_not_there_yet_is_told_in_warnings(tmp_path):
    assert opened(tmp_path).warnings == []
    named = over(
        models={"spare": {"source": "microcosm"}}, problem_sets={"spare": {"source": "microcosm", "split": "hard"}}
    )
    assert opened(tmp_path, named).warnings == [
        "config: models.spare is used nowhere",
        "config: problem_sets.spare is used nowhere",
    ]
    told = opened(tmp_path, problem_set(source="file", file="examples/data_set/problem.jsonl")).warnings
    assert told == [
        "config: problem_sets.mine.file: examples/data_set/problem.jsonl: no such file "
        "(did you mean 'examples/data_set/problems.jsonl'?)"
    ]
    for key in ("instruction", "system"):
        worded = opened(tmp_path, over(models={"microcosm_off": {key: "Think!"}})).warnings
        assert worded == [
            f"config: models.microcosm_off.{key}: the microcosm has no words for 'Think!'; leave it empty"
        ]
    short = opened(tmp_path, over(sft={"max_tokens": 399})).warnings
    assert short == [
        "config: sft.max_tokens: of prompt and response together, 399 tokens are trained on; a response alone may have "
        "400 (sampling.collect.max_tokens), and loses its end"
    ]
    assert opened(tmp_path, over(sft={"max_tokens": 400})).warnings == []
    slow = opened(tmp_path, over(onpolicy={"warmup_steps": 31})).warnings
    assert slow == ["config: onpolicy.warmup_steps: 31, where a run has 30 steps and never reaches its learning rate"]
    sure = opened(tmp_path, over(statistics={"confidence": 0.05})).warnings
    assert sure == [
        "config: statistics.confidence: 0.05 is the share of intervals that cover the value, not that of those that "
        "miss it; 0.95 is usual"
    ]
    greedy = {"temperature": 0.0, "top_p": 1.0, "top_k": 0, "max_tokens": 400}
    samples = default()["evaluation"]["samples"]
    for place, overlay in {
        "sampling.evaluate": over(sampling={"evaluate": greedy}),
        "models.microcosm_off.evaluate": over(models={"microcosm_off": {"evaluate": greedy}}),
    }.items():
        assert opened(tmp_path, overlay).warnings == [
            f"config: {place}.temperature: 0 draws one response {samples} times (evaluation.samples)"
        ]
    warm = opened(tmp_path, over(sft={"warmup_steps": 51})).warnings
    assert warm == ["config: sft.warmup_steps: 51, where fine-tuning has 50 steps and never reaches its learning rate"]
    nobody = over(
        sft={"models": [], "edited": ["kept"]},
        evaluation={"words": {"no_wait": {"bad": ["wait"]}}},
        claims={"roles": {"sft": None}},
    )
    assert opened(tmp_path, nobody).warnings[-2:] == [
        f"config: {place}: used nowhere, as sft.models names no model" for place in ("sft.edited", "evaluation.words")
    ]
    home = opened(tmp_path, problem_set(source="file", file="~/problems.jsonl")).warnings[0]
    assert home.endswith("~/problems.jsonl: no such file; ~ and $HOME are not replaced here")


def test_a_file_that_is_gone_is_refused_where_its_problems_would_be_lost(tmp_path, monkeypatch):
    made = tmp_path / "mine.parquet"
    made.touch()
    monkeypatch.setattr(Study, "problems", lambda self, name: str(made))
    told = refused(tmp_path, problem_set(source="file", file="data/gone.jsonl"))
    assert told == ["config: problem_sets.mine.file: data/gone.jsonl: no such file"]


def test_a_start_lacks_what_its_own_jobs_need(tmp_path, monkeypatch):
    monkeypatch.setattr("selfdistill.generation.requests.find_spec", lambda name: None)
    study = opened(tmp_path, problem_set(source="file", file="data/gone.jsonl") + "engine: vllm").study
    load, other, sample = [("load_problems", {"problem_set": name}) for name in ("mine", "train")] + [
        ("evaluate_model", {"model": "microcosm"})
    ]
    missing = ["config: problem_sets.mine.file: data/gone.jsonl: no such file"]
    engine = ["config: engine: the engine vllm needs vLLM, which is not installed here; envs/train.yaml has it"]
    assert faults_at_start(study, [load], here=True, keep_going=False) == missing
    assert faults_at_start(study, [other], here=True, keep_going=False) == []
    assert faults_at_start(study, [load, sample], here=True, keep_going=True) == engine
    assert faults_at_start(study, [load, sample], here=False, keep_going=False) == missing


def test_a_model_along_training_that_is_gone_is_told_before_the_others_are_evaluated(tmp_path, monkeypatch):
    study = opened(tmp_path, over(onpolicy={"checkpoint_steps": [15, 30]})).study
    monkeypatch.chdir(tmp_path)
    model, run = next(iter(study.trained))
    evaluate, train = ((rule, {"model": model, "run": run}) for rule in ("evaluate_checkpoints", "train_onpolicy"))
    folder = Path(study.checkpoints(model, run))
    for step in (15, 30):
        (folder / f"step-{step}").mkdir(parents=True)
        (folder / f"step-{step}" / "manifest.json").touch()
    assert faults_at_start(study, [evaluate], here=True, keep_going=False) == []
    (folder / "step-15" / "manifest.json").unlink()
    (told,) = faults_at_start(study, [evaluate], here=True, keep_going=False)
    assert told.startswith(f"{folder}/step-15: missing") and f"delete {folder}" in told
    assert faults_at_start(study, [evaluate, train], here=True, keep_going=False) == []


def test_published_checkpoints_have_weights_of_their_own(tmp_path):
    entry = {"source": "folder", "folder": str(save_heads(tmp_path / "weights"))}
    row = {"learning_rate": 1e-6, "checkpoint": "mine"}
    rows = [{"model": "microcosm", "method": method} | row for method in ("grpo", "sdpo")]
    assert refused(tmp_path, over(models={"mine": entry}, onpolicy={"released": rows})) == [
        "config: onpolicy.released: microcosm, sdpo-train-lr1e-06-k100-seed0-released: 'mine' has the weights that "
        "'grpo-train-lr1e-06-seed0-released' has; two runs end in different ones"
    ]
    own = over(
        models={"mine": entry}, selection={"models": ["mine"]}, onpolicy={"released": [rows[0] | {"model": "mine"}]}
    )
    assert any("'mine' has the weights of the base model 'mine'" in told for told in refused(tmp_path, own))


@pytest.mark.parametrize("use", ["a base model", "a published checkpoint"])
def test_a_model_that_is_not_whole_is_told_at_a_start(use, tmp_path):
    folder = save_heads(tmp_path / "weights")
    entry = {"source": "folder", "folder": str(folder)}
    released = {"model": "microcosm", "method": "grpo", "learning_rate": 1e-6, "checkpoint": "mine"}
    overlay = over(models={"mine": entry}, onpolicy={"released": [released]})
    overlay = model(**entry) if use == "a base model" else overlay
    opened(tmp_path, overlay)
    (folder / "tokenizer.json").unlink()
    assert refused(tmp_path, overlay) == [
        f"config: models.mine.folder: {folder}: no tokenizer (expected tokenizer.json, or a vocabulary such as "
        "tokenizer.model)"
    ]


def test_another_folder_is_told_to_be_the_cause(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=f"^{tmp_path}: not the folder of the checkout, .* start Snakemake in {ROOT}"):
        open_study(default(), Start(ROOT))


@pytest.mark.parametrize("name", ["config/smoke.yaml", "config/paper.yaml", "config/thorough.yaml"])
def test_what_a_study_records_is_a_configuration_again(name, tmp_path):
    study = opened(tmp_path, (ROOT / name).read_bytes()).study
    again = opened(tmp_path, yaml.safe_dump(as_json(study.config), sort_keys=False)).study
    assert again.runs == study.runs and again.config.problem_sets.items() >= study.config.problem_sets.items()


@pytest.mark.parametrize(
    ("name", "below", "profile"),
    [
        ("beyond_interim", "beyond", ""),
        ("weekend", "one_gpu", " or --profile profiles/one_gpu --configfile config/weekend.yaml"),
        ("one_gpu_qwen3", "one_gpu", " or --profile profiles/one_gpu --configfile config/one_gpu_qwen3.yaml"),
        ("evening", "one_gpu", " or --profile profiles/one_gpu --configfile config/evening.yaml"),
    ],
)
def test_a_file_that_is_laid_over_another_one_is_refused_without_it(name, below, profile, monkeypatch):
    monkeypatch.chdir(ROOT)
    default, lower, upper = (ROOT / path for path in ("config.yaml", f"config/{below}.yaml", f"config/{name}.yaml"))
    for files in ([default, upper], [default, upper, lower]):
        with pytest.raises(UserError) as told:
            open_study({}, Start(ROOT, files))
        assert str(told.value) == (
            f"config/{name}.yaml: is laid over config/{below}.yaml, which is not among the files before it: start with "
            f"--configfile config/{below}.yaml config/{name}.yaml{profile}"
        )
    study = open_study({}, Start(ROOT, [default, lower, upper])).study
    assert study.config.laid_over == ""  # what the study records stands alone


def test_a_file_that_is_laid_over_none_that_there_is_is_told(tmp_path):
    assert refused(tmp_path, "laid_over: config/thorogh.yaml") == [
        f"{tmp_path / 'mine.yaml'}: laid_over: no file 'config/thorogh.yaml' in {ROOT}"
    ]


@pytest.mark.parametrize("name", ["smoke", "thorough", "carrier", "beyond", "beyond_carrier", "one_gpu", "paper"])
def test_a_shipped_study_is_stamped_by_what_it_trains(name, tmp_path):
    study = opened(tmp_path, (ROOT / f"config/{name}.yaml").read_bytes()).study
    assert ("tiny models trained from scratch" in stamp_text(study.config.study)) == bool(study.pretrained)


@pytest.mark.parametrize("name", ["thorough", "paper"])
def test_a_study_is_opened_without_torch(name):
    code = (
        "import sys; from pathlib import Path; from selfdistill.opening import Start, open_study; here = Path.cwd(); "
        f"open_study({{}}, Start(here, [here / 'config.yaml', here / 'config/{name}.yaml'])); "
        "print('torch' in sys.modules)"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT / "workflow")}
    output = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, env=environment, text=True)
    assert output == "False\n"


def test_a_job_that_is_a_snakemake_of_its_own_takes_the_study_as_checked():
    given = {"study": "reference"}
    study = open_study({}, Start(ROOT, [ROOT / "config.yaml"], given, checked=True)).study
    assert study.runs and study.config.study == "reference"


# --- every key that there is ------------------------------------------------------------------------------------------


def everything() -> dict:
    """The default study with an entry of each source."""
    values = copy.deepcopy(default())
    values["models"] |= {
        "published": {"source": "hub", "repo": "a/b", "revision": COMMIT, "evaluate": {"temperature": 1.0}},
        "saved": {"source": "folder", "folder": "weights"},
    }
    values["problem_sets"] |= {
        "written": {"source": "file", "file": "mine.jsonl"},
        "published": {"source": "hub", "repo": "a/b", "revision": COMMIT},
    }
    return values


def places(kind: type, values: dict, place: tuple = ()) -> Iterator[tuple[tuple, typing.Any]]:
    """Every key of every table in ``values`` with its declared type, but those of another source."""
    for name, declared in keys(kind).items():
        if place[:1] in (("models",), ("problem_sets",)) and name not in without_other_sources(
            place[0], values | {name: 0}
        ):
            continue
        yield (*place, name), declared.annotation
        inner, below = choices(declared.annotation)[0], values.get(name)
        if typing.get_origin(inner) in (dict, list) and below:
            inner = choices(typing.get_args(inner)[-1])[0]
            entries = list(below.items() if isinstance(below, dict) else enumerate(below))
        else:
            entries = [(None, below)]
        for entry, value in entries if is_settings(inner) else []:
            if value is not None or (entry is None and type(None) not in typing.get_args(declared.annotation)):
                yield from places(inner, value or {}, (*place, name) if entry is None else (*place, name, entry))


PLACES = dict(places(Config, everything()))
LEAVES = {
    place: kind
    for place, kind in PLACES.items()
    if not any(other[: len(place)] == place for other in PLACES.keys() - {place})
}


def of_another_kind(place: tuple, kind: typing.Any) -> list[object]:
    """Values that a key of this type takes nowhere."""
    plain = {typing.get_origin(choice) or choice for choice in choices(kind)}
    if place[:2] == ("onpolicy", "runs"):
        plain -= {list}
    if {int, float} & plain:
        return [
            "many",
            True,
            10**30,
            -(10**30),
            float("nan"),
            float("inf"),
            "",
            {"x": 1},
            "1:30",
            "0x1F",
            1e-300j.imag - 1,
        ]
    if bool in plain:
        return ["maybe", 2.5, 7, {"x": 1}, [True], "", -1]
    if list in plain or dict in plain:
        return ["x", 3, True, "", 2.5, 10**30]
    return [3, True, 2.5, {"x": 1}, "\0", "\ud83d", -1]


def put(values: dict, place: tuple, value: object) -> None:
    *sections, name = place
    for section in sections:
        values = values[section] if isinstance(section, int) else values.setdefault(section, {})
    values[name] = value


def sentences_of(values: dict) -> list[str]:
    with pytest.raises(UserError) as told:
        open_study(values, Start(ROOT))
    lines = str(told.value).splitlines()
    assert not [line for line in lines for word in FOREIGN if word in line]
    return lines


def shown(place: tuple) -> str:
    return ".".join(map(str, place))


@pytest.mark.parametrize("turn", range(11))
def test_no_key_takes_a_value_of_another_kind_and_all_are_told_at_once(turn):
    values = everything()
    wrong = {}
    for place, kind in LEAVES.items():
        if place[-1] not in ("source",):
            offered = of_another_kind(place, kind)
            wrong[place] = offered[turn % len(offered)]
            put(values, place, wrong[place])
    told = "\n".join(sentences_of(values))
    silent = [place for place in wrong if not re.search(rf"[ ']{re.escape(shown(place))}[.:']", told)]
    assert not silent and len(wrong) > 200


@pytest.mark.parametrize("value", ["x", 3, True, [1], None], ids=str)
def test_a_section_is_a_table(value):
    sections = [place for place in PLACES if place not in LEAVES and place != ("onpolicy", "runs")]
    for place in sections:
        values = everything()
        put(values, place, value)
        if value is not None or place[-1] not in (
            "evaluate",
            "deep",
            "evaluation_deep",
            "narrow",
        ):  # those that may be null
            assert any(shown(place) in line for line in sentences_of(values)), place


@pytest.mark.parametrize(
    "misspell", [lambda name: name[:-1], str.upper, lambda name: f"{name}x", lambda name: name.replace("_", "-") + "s"]
)
def test_every_misspelt_key_is_told_the_nearest(misspell):
    values = everything()
    for place in PLACES:
        put(values, (*place[:-1], misspell(place[-1])), 1)
    lines = sentences_of(values)
    for place in PLACES:
        key = shown((*place[:-1], misspell(place[-1])))
        assert [line for line in lines if f"unknown key '{key}' (did you mean" in line], key
