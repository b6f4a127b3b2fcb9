"""Whether `selfdistill compare` finds planted faults, and passes runs without: counts and exit codes.

    make repetition SEED=102      # a correct run that is none of the reference's own repetitions
    python benchmarks/planted_faults.py --study microcosm_repetition_102 [--reference results/reference/microcosm]

Each fault is planted in a copy of this checkout, in which the finished ``--study`` of this one lies; Snakemake runs
again what the fault touches, all with the seeds of the study. The copies lie below ``--folder``; what is finished there
is not run again. A fault takes up to as long as the study without its pre-training. The reference needs its
repetitions (`make spread`). The study itself must pass, and so must other correct runs named by ``--sound``; with a
fault it must fail. Status 1 where that is not so.
"""

import argparse
import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml
from selfdistill import cli

REPOSITORY = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Fault:
    """Texts of a file of the checkout that are replaced, each of which stands there once."""

    what: str
    file: str
    texts: dict[str, str]

    def plant(self, checkout: Path) -> None:
        path = checkout / self.file
        content = path.read_text(encoding="utf-8")
        for old, new in self.texts.items():
            if content.count(old) != 1:
                sys.exit(f"{self.file} has changed: '{old}' stands there {content.count(old)} times, not once")
            content = content.replace(old, new)
        path.write_text(content, encoding="utf-8")


FAULTS = {
    "sign": Fault(
        "SDPO moves away from its teacher: a sign in the divergence",
        "workflow/selfdistill/training/losses.py",
        {"(first.exp() * (first - second))": "(first.exp() * (second - first))"},
    ),
    "thinking": Fault(
        "a response is right if its thinking names the right number anywhere",
        "workflow/selfdistill/generation/traces.py",
        {
            'read(text, opened=opened) for text in generated["response"]]': (
                'wanted if f" {wanted} " in text.partition("</think>")[0] else read(text, opened=opened) '
                'for text, wanted in zip(generated["response"], asked["answer"], strict=True)]'
            )
        },
    ),
    "benchmark": Fault(
        "the two benchmarks of unseen types are swapped",
        "config.yaml",
        {"split: easy,": "split: hard ,", "split: hard,": "split: easy,"},
    ),
}


def copied(folder: Path, study: str, fault: Fault) -> Path:
    """This checkout with the finished study, and the fault planted; as it is where it was made before."""
    if folder.exists():
        return folder
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, check=True, capture_output=True, text=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (REPOSITORY / name).is_file() and not name.startswith("results/reference/"):
            (unfinished / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, unfinished / name)
    shutil.copytree(REPOSITORY / "results" / study, unfinished / "results" / study)
    # Which code made what: without it Snakemake would run again what has other parameters, and nothing else.
    shutil.copytree(REPOSITORY / ".snakemake" / "metadata", unfinished / ".snakemake" / "metadata")
    fault.plant(unfinished)
    return unfinished.rename(folder)


def seeds(study: str) -> list[str]:
    """What the study has laid over its configuration file, as a repetition has: its name and seeds."""
    settings = yaml.safe_load((REPOSITORY / "results" / study / "config.yaml").read_text(encoding="utf-8"))
    pretrained = {name: model for name, model in settings["models"].items() if model["source"] == "microcosm"}
    models = {name: {"seed": model["seed"]} for name, model in pretrained.items()}
    return [f"study={study}", f"seed={settings['seed']}", f"models={json.dumps(models)}"]


def run_again(checkout: Path, study: str, configfile: Path | None, cores: str) -> None:
    """What the fault touches of the study's tables."""
    overlay = ["--configfile", str(configfile)] if configfile else []
    command = [sys.executable, "-m", "snakemake", "tables", "--cores", cores, *overlay, "--config", *seeds(study)]
    environment = os.environ | {"PYTHONPATH": str(checkout / "workflow")}
    with (checkout / "run.log").open("wb") as log:
        status = subprocess.run(command, cwd=checkout, env=environment, stdout=log, stderr=log, check=False).returncode
    if status:
        sys.exit(f"Snakemake failed in {checkout}; run.log there says why")


def compared(fresh: Path, reference: Path) -> tuple[int, str]:
    """The exit code of `selfdistill compare`, and what it says but its lines of single values."""
    with contextlib.redirect_stdout(io.StringIO()) as said:
        status = cli.main(["compare", "--fresh", str(fresh), "--reference", str(reference)])
    return status, "\n".join(f"  {line}" for line in said.getvalue().splitlines() if not line.startswith("!"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", default="microcosm", help="a finished study of this checkout")
    parser.add_argument("--reference", type=Path, default=REPOSITORY / "results" / "reference" / "microcosm")
    parser.add_argument("--sound", type=Path, nargs="*", default=[], help="results folders of further correct runs")
    parser.add_argument("--faults", nargs="*", choices=FAULTS, default=list(FAULTS))
    parser.add_argument("--configfile", type=Path, help="of a study that is not the default one")
    parser.add_argument("--cores", default="all")
    parser.add_argument("--folder", type=Path, default=REPOSITORY / "work" / "planted_faults")
    given = parser.parse_args()
    runs = [("without a fault", folder, 0) for folder in (REPOSITORY / "results" / given.study, *given.sound)]
    for name in given.faults:
        checkout = copied(given.folder.resolve() / f"{given.study}-{name}", given.study, FAULTS[name])
        run_again(checkout, given.study, given.configfile, given.cores)
        runs.append((FAULTS[name].what, checkout / "results" / given.study, 1))
    wrong = 0
    for what, fresh, expected in runs:
        status, said = compared(fresh, given.reference)
        wrong += status != expected
        print(f"{fresh}: {what}\n{said}\n  exit code {status}, {'as' if status == expected else 'NOT as'} it must be\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
