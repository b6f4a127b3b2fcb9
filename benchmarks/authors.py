"""The authors' scripts beside this package, on the same work: `python benchmarks/authors.py --authors CHECKOUT`.

CHECKOUT is your clone of their repository (`REPOSITORY` at `COMMIT`); none of it is part of this package. Their scripts
run unchanged, as their README says: `eval_dapo_dataset.py` (collect), `eval_with_hint.py` (both rounds),
`make_sft_dataset.py` and `eval.py`. Ours are the stages that the rules of Sections 3 and 4 call, with the same numbers.
Both sides sample with this package's CPU engine from the same model, with the same seeds, on one thread. Steps
alternate between the sides, every command in a process of its own. Their scripts get replacements for:

- `vllm`: `vllm_stand_in.py`, which calls our engine
- DAPO-Math-17k and AIME24: problems of the microcosm, as Parquet with the columns that they read
- the model: a folder of the microcosm, whose template and tokenizer transformers read as any other's
- `latex2sympy2` and `word2number`, where their interpreter (``--python``) lacks them: the one is that of math-verify,
  the other knows no word (the microcosm's answers are numbers; a symbolic comparison hardly ever happens)

Seconds are wall clock, processor seconds those of all processes; memory is the largest sum of resident sizes over a
step's process tree, looked at 20 times a second. Ratios are ours over theirs: below 1, ours takes less.
"""

import argparse
import itertools
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import psutil
from vllm_stand_in import LOG, STREAMS

ROOT = Path(__file__).resolve().parent.parent
REPOSITORY, COMMIT = "https://github.com/beanie00/self-distillation-analysis", "5c51051"
SECTION_3, EVAL = "analyzing_reasoning_behavior", "eval"
SCRIPTS = [
    *(f"{SECTION_3}/{name}.py" for name in ("eval_dapo_dataset", "eval_with_hint", "make_sft_dataset")),
    f"{EVAL}/eval.py",
]
STAND_INS = {
    "latex2sympy2": "from latex2sympy2_extended import latex2sympy as latex2sympy\n",
    "word2number": "class w2n:\n    def word_to_num(text):\n        raise ValueError(text)\n",
}
POOL, ROLLOUTS, SAMPLES, TOKENS, BATCH = 8000, 8, 16, 400, 128  # config.yaml's
LOOKS = 0.05  # seconds between two looks at the memory
OURS, THEIRS = "ours", "theirs"


def edits(file: str, *lines: str) -> list[str]:
    return [f"{file}: {line}" for line in lines]


# Every line that a user writes or edits, and every command, to do this work with a model and problems of their own.
# Cloning, installing and the file of problems are left out on both sides, and so is what is right as it stands.
TOKEN_FLAGS = ("--temperature", "--max_tokens (new)", "--top_p (new)", "--top_k (new)")
ACTIONS = {
    "collect": {
        OURS: [
            *edits(
                "own.yaml", "study", "models: the folder", "problem_sets:", "  train: the file", "selection: the model"
            ),
            *edits("own.yaml", "sampling:", "  collect"),
            "snakemake, with the files that are wanted, --cores and --configfile own.yaml: one command for all steps",
        ],
        THEIRS: [
            *edits("eval_dapo_dataset.sh", "--model_name_or_path", "--data_path", *TOKEN_FLAGS),
            f"cd {SECTION_3}",
            "bash eval_dapo_dataset.sh",
        ],
    },
    "hint rounds": {
        OURS: [],
        THEIRS: [
            *edits("eval_with_hint.sh", "--model_name_or_path", "--collected_path", *TOKEN_FLAGS),
            "bash eval_with_hint.sh",
        ],
    },
    "SFT sets": {OURS: edits("own.yaml", "sft: the model"), THEIRS: ["bash make_sft_dataset.sh"]},
    "evaluation": {
        OURS: edits("own.yaml", "  test: the file", "evaluation: the benchmark", "  evaluate"),
        THEIRS: [
            *edits("eval_examples.sh", "the models", "temperature", "top_p", "--data_path", "--max_tokens"),
            *edits("eval_examples.sh", "--n_sampling", "--k"),
            f"cd ../{EVAL}",
            "bash eval_examples.sh",
        ],
    },
}


@dataclass
class Work:
    """One repeat of all steps on both sides, in a folder of its own."""

    folder: Path
    model: Path  # its manifest
    checkout: Path
    python: str
    problems: int  # to be found by collect, and in the benchmark
    steps: dict[str, dict[str, list[list[str]]]] = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir()
        write_problems(self.folder, self.problems)
        ours, theirs = self.own_commands(), self.their_commands()
        self.steps = {step: {OURS: ours[step], THEIRS: theirs[step]} for step in ACTIONS}

    @property
    def collected(self) -> str:
        """Where eval_dapo_dataset.py writes: named by the last three parts of the model's path."""
        name = "/".join(self.model.parent.parts[-3:])
        return f"outputs/{name}/math/train_think_n{ROLLOUTS}_correct1-4_collect{self.problems}.jsonl"

    def own_commands(self) -> dict[str, list[list[str]]]:
        """As in workflow/rules; the SFT sets as large as the same number of samples allows."""
        names = "--study own --model-name own --instruction="
        sampler = (
            f"{names} --seed 0 --model {self.model} --work-dir work --workers 1 --sampling.temperature 1 "
            f"--sampling.max-tokens {TOKENS}"
        )
        guide = f"sample-guidance --problems borderline.parquet --samples {ROLLOUTS} {sampler}"
        collect = (
            f"collect-correct --problems borderline.parquet --collection.per-problem {ROLLOUTS} "
            f"--collection.max-draws {ROLLOUTS} {sampler}"
        )
        stages = {
            "collect": [
                "select-borderline --problems train_problems.parquet "
                f"--selection.rollouts {ROLLOUTS} --selection.target {self.problems} --selection.batch {BATCH} "
                f"{sampler} "
                "--out-problems borderline.parquet --out-traces selection.parquet"
            ],
            "hint rounds": [
                f"{guide} --setting solution --guidance.provided-by selection --contexts selection.parquet "
                "--out solution.parquet",
                f"{guide} --setting regeneration --guidance.provided-by solution "
                "--guidance.choose first_correct_else_first --contexts solution.parquet --out regeneration.parquet",
            ],
            "SFT sets": [
                f"{collect} --setting unguided --contexts --out sft_unguided.parquet",
                f"{collect} --setting solution --guidance.provided-by selection --contexts selection.parquet "
                "--out sft_solution.parquet",
                "build-sft-sets --problems borderline.parquet --unguided sft_unguided.parquet "
                f"--guided sft_solution.parquet --sizes.responses {ROLLOUTS * self.problems} --sizes.at-least 1 "
                f"--per-problem {ROLLOUTS} {names} --out-unguided unguided.parquet --out-guided guided.parquet "
                "--out-unfiltered unfiltered.parquet --out-card card.md",
            ],
            "evaluation": [
                f"evaluate-model --problems test_problems.parquet --samples {SAMPLES} {sampler} --run base "
                "--benchmark test --out evaluation.parquet"
            ],
        }
        start = [sys.executable, "-m", "selfdistill"]
        return {step: [start + command.split() for command in commands] for step, commands in stages.items()}

    def their_commands(self) -> dict[str, list[list[str]]]:
        """As in their shell scripts, with what `ACTIONS` edits."""
        options = f"--model_name_or_path {self.model.parent} --temperature 1 --max_tokens {TOKENS} --top_p 1"
        rounds = f"--n_sampling {ROLLOUTS} --top_k -1 {options}"
        commands = {
            "collect": f"--data_path train.parquet --min_correct 1 --max_correct 4 --max_collect {self.problems} "
            f"--batch_size {BATCH} --enable_thinking {rounds}",
            "hint rounds": f"--collected_path {self.collected} --n_sample {self.problems} {rounds}",
            "SFT sets": "--input outputs_chained/chained_results_all.jsonl --output_dir sft_datasets",
            "evaluation": f"--data_path test.parquet --n_sampling {SAMPLES} --k {SAMPLES} --enable_thinking {options}",
        }
        scripts = zip(commands.items(), SCRIPTS, strict=True)
        return {step: [[self.python, str(self.checkout / script), *flags.split()]] for (step, flags), script in scripts}

    def environment(self, side: str, step: str) -> dict[str, str]:
        paths = [ROOT / "workflow"]
        own = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", "HF_HUB_OFFLINE": "1", "PYTHONHASHSEED": "0"}
        if side == THEIRS:
            paths = [self.folder.parent / "stand_ins", *paths, *beside_utils(self.checkout)]
            streams = {"collect": "selection", "hint rounds": "solution,regeneration", "evaluation": "evaluation"}
            own |= {STREAMS: streams.get(step, ""), LOG: str(self.folder / "sampled.jsonl")}
        return os.environ | own | {"PYTHONPATH": ":".join(map(str, paths)), "TOKENIZERS_PARALLELISM": "false"}

    def sampled(self, side: str) -> int:
        """Tokens sampled so far: ours from the finished shards, theirs from the stand-in's log."""
        if side == OURS:
            shards = self.folder.glob("work/**/*.parquet")
            return sum(int(pd.read_parquet(path, columns=["response_tokens"]).sum().iloc[0]) for path in shards)
        log = self.folder / "sampled.jsonl"
        return sum(json.loads(line)["tokens"] for line in log.read_text().splitlines()) if log.exists() else 0

    def measure(self, step: str, side: str) -> dict[str, object]:
        before, spent, started = self.sampled(side), processor_seconds(), time.perf_counter()
        environment, peak = self.environment(side, step), 0
        for command in self.steps[step][side]:
            peak = max(peak, run(command, self.folder, environment))
        seconds = time.perf_counter() - started
        spent = processor_seconds() - spent
        tokens = self.sampled(side) - before
        return {"step": step, "side": side, "seconds": seconds, "processor": spent, "megabytes": peak, "tokens": tokens}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--authors", type=Path, required=True)
    parser.add_argument("--python", default=sys.executable)
    base = Path("results/microcosm/models/microcosm/base/manifest.json")
    parser.add_argument("--model", type=Path, default=base)
    parser.add_argument("--problems", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    checkout = checked(arguments.authors.resolve())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        missing = make_stand_ins(folder / "stand_ins", arguments.python)
        print(
            f"load {os.getloadavg()[0]:.1f}; 1 thread; {arguments.problems} problems x {ROLLOUTS}, "
            f"benchmark of {arguments.problems} x {SAMPLES}; {arguments.repeats} repeats"
        )
        print(f"their commit: {commit(checkout)}; stand-ins: vllm{''.join(f', {module}' for module in missing)}")
        rows = []
        for repeat in range(arguments.repeats):
            work = Work(
                folder / f"repeat{repeat}", arguments.model.resolve(), checkout, arguments.python, arguments.problems
            )
            sides = (OURS, THEIRS) if repeat % 2 == 0 else (THEIRS, OURS)
            for step, side in itertools.product(ACTIONS, sides):
                rows.append(work.measure(step, side) | {"repeat": repeat})
                print(json.dumps(rows[-1]), file=sys.stderr, flush=True)  # what an interrupted run leaves
        found = outcome(work.folder, work.collected)
    show(pd.DataFrame(rows))
    print("\n".join(f"{what}: {number}" for what, number in found.items()))
    if arguments.json:
        actions = {step: {side: len(lines) for side, lines in sides.items()} for step, sides in ACTIONS.items()}
        report = {"measured": rows, "actions": actions, "outcome": found}
        arguments.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def checked(checkout: Path) -> Path:
    missing = [name for name in SCRIPTS if not (checkout / name).is_file()]
    missing += [] if beside_utils(checkout) else ["utils/grader.py"]
    if missing:
        sys.exit(f"{checkout} lacks {', '.join(missing)}: git clone {REPOSITORY} and git checkout {COMMIT} there")
    return checkout


def beside_utils(checkout: Path) -> list[Path]:
    """The folders from which the scripts' `utils` can be imported."""
    return sorted(path.parents[1] for path in checkout.rglob("utils/grader.py"))


def commit(checkout: Path) -> str:
    """The commit of a clone, with a word when it is another than `COMMIT`."""
    if not (checkout / ".git").exists():
        return "unknown, not a clone"
    command = ["git", "-C", checkout, "rev-parse", "--short=7", "HEAD"]
    found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    return found if found == COMMIT else f"{found}, not {COMMIT}"


def make_stand_ins(folder: Path, python: str) -> list[str]:
    """`vllm`, and those of `STAND_INS` that ``python`` cannot import; which these were."""
    (folder / "vllm").mkdir(parents=True)
    shutil.copy(Path(__file__).with_name("vllm_stand_in.py"), folder / "vllm" / "__init__.py")
    (folder / "vllm" / "envs.py").touch()
    test = "import importlib.util, sys; print(*(name for name in sys.argv[1:] if not importlib.util.find_spec(name)))"
    found = subprocess.run([python, "-c", test, *STAND_INS], check=True, stdout=subprocess.PIPE, text=True)
    missing = found.stdout.split()
    for module in missing:
        (folder / f"{module}.py").write_text(STAND_INS[module], encoding="utf-8")
    return missing


def write_problems(folder: Path, benchmark: int) -> None:
    """Training and benchmark problems in our schema, and with the columns that the authors' scripts read."""
    from selfdistill import tables
    from selfdistill.problems import ProblemSet, load_problem_set

    for name, split, size in (("train", "train", POOL), ("test", "in_domain", benchmark)):
        problems = load_problem_set(ProblemSet(source="microcosm", split=split, size=size))
        tables.write(problems, folder / f"{name}_problems.parquet", tables.PROBLEMS)
        theirs = {
            "data_source": "microcosm",
            "prompt": [[{"role": "user", "content": problem}] for problem in problems["problem"]],
            "reward_model": [{"ground_truth": answer, "style": "rule"} for answer in problems["answer"]],
            "extra_info": [{"index": position} for position in problems["position"]],
        }
        pd.DataFrame(theirs).to_parquet(folder / f"{name}.parquet")


def run(command: list[str], folder: Path, environment: dict[str, str]) -> float:
    """Runs a command to its end; the largest sum of resident memory of it and its children, in MB."""
    log, peak = folder / "output.txt", 0
    with log.open("ab") as output:
        process = psutil.Popen(command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT)
        while process.poll() is None:
            peak = max(peak, resident(process))
            time.sleep(LOOKS)
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}:\n{log.read_text(errors='replace')[-2000:]}")
    return peak / 1e6


def resident(process: psutil.Process) -> int:
    """Resident bytes of a process and all below it; those that end meanwhile count nothing."""
    total = 0
    try:
        for part in [process, *process.children(recursive=True)]:
            total += part.memory_info().rss
    except psutil.NoSuchProcess:
        pass
    return total


def processor_seconds() -> float:
    """Of all processes that this one has waited for, and theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def outcome(folder: Path, collected: str) -> dict[str, str]:
    """What both sides came to: the same problems and responses, and how many examples for fine-tuning."""
    ours = {
        name: pd.read_parquet(folder / f"{name}.parquet") for name in ("borderline", "evaluation", "unguided", "guided")
    }
    chosen = [json.loads(line)["original_index"] for line in (folder / collected).read_text().splitlines()]
    path = next((folder / "avg_outputs").rglob("*.jsonl"))
    theirs = [json.loads(line) for line in path.read_text().splitlines()]
    texts = [text for problem in theirs for text in problem["generated_responses"]]
    verdicts = [verdict for problem in theirs for verdict in problem["answers_correctness"]]
    evaluated = ours["evaluation"]
    order = pd.read_parquet(folder / "test_problems.parquet")["problem_id"].tolist()
    evaluated = evaluated.assign(place=evaluated["problem_id"].map(order.index)).sort_values(["place", "sample"])
    same = evaluated["response"].to_numpy() == texts
    differ = same & (evaluated["correct"].to_numpy() != verdicts)
    sets = [json.loads((folder / "sft_datasets" / f"{name}_correct.json").read_text()) for name in ("prev", "new")]
    return {
        "problems selected by both": f"{len(set(chosen) & set(ours['borderline']['position']))} of {len(chosen)}",
        "equal responses in the evaluation": f"{same.sum()} of {len(texts)}",
        "verdicts on these that differ": f"{differ.sum()}",
        "examples, unguided + guided": f"ours {len(ours['unguided'])} + {len(ours['guided'])}, "
        f"theirs {' + '.join(str(len(examples)) for examples in sets)}",
    }


def show(rows: pd.DataFrame) -> None:
    """Medians over the repeats; of the ratios their least and most too."""
    summed = {"seconds": "sum", "processor": "sum", "megabytes": "max", "tokens": "sum"}
    total = rows.groupby(["repeat", "side"], as_index=False).agg(summed).assign(step="all")
    actions = {step: [len(sides[side]) for side in (OURS, THEIRS)] for step, sides in ACTIONS.items()}
    actions["all"] = [sum(numbers) for numbers in zip(*actions.values(), strict=True)]
    head, sides = "".join(f"{name:<35}" for name in ("wall clock, s", "processor, s")), f"{'ours':>7}{'theirs':>8}"
    print(f"{'':<14}{head}{'peak, MB':<15}{'tokens':<18}{'user actions'}")
    print(f"{'step':<12}" + f"{sides}{'ratio':>7} {'least, most':<12}" * 2 + f"{sides}{'ours':>9}{'theirs':>9}{sides}")
    for step, part in pd.concat([rows, total]).groupby("step", sort=False):
        own, other = (part[part["side"] == side].set_index("repeat") for side in (OURS, THEIRS))
        line = f"{step:<12}"
        for name in ("seconds", "processor"):
            ratios = own[name] / other[name]
            line += f"{own[name].median():>7.1f}{other[name].median():>8.1f}{ratios.median():>7.2f}"
            line += f" {f'{ratios.min():.2f}, {ratios.max():.2f}':<12}"
        line += f"{own['megabytes'].median():>7.0f}{other['megabytes'].median():>8.0f}"
        line += f"{own['tokens'].median():>9.0f}{other['tokens'].median():>9.0f}"
        print(line + "{:>7}{:>8}".format(*actions[step]))


if __name__ == "__main__":
    main()
