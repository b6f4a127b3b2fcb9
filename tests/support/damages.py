"""What can happen to the files of a finished study: ways of damage, and every kind of file that they can befall."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

# The results of a study, by the kinds that are written and read in different ways; the first match of each is damaged.
RESULTS = {
    "problems": "problems/*.parquet",
    "borderline": "problems/*/borderline.parquet",
    "traces": "traces/*/unguided.parquet",
    "rollouts": "traces/*/rollouts/*.parquet",
    "data set": "datasets/*/guided.parquet",
    "data card": "datasets/*/README.md",
    "training steps": "training/*/base.parquet",
    "seconds": "training/*/*.seconds.parquet",
    "runs": "training/runs.parquet",
    "evaluation": "evaluations/*/base/*.parquet",
    "evaluation along training": "evaluations/*/*/along_training.parquet",
    "curves": "curves.parquet",
    "table": "tables/table_1.parquet",
    "table in Markdown": "tables/table_1.md",
    "table in CSV": "tables/table_1.csv",
    "table in LaTeX": "tables/table_1.tex",
    "ledger": "claims/ledger.parquet",
    "effects": "claims/effects.parquet",
    "ledger for programs": "claims/claims.json",
    "ledger in Markdown": "claims/ledger.md",
    "ledger's page": "claims/ledger.html",
    "front page": "claims/front.html",
    "configuration": "config.yaml",
    "figure in PNG": "figures/fig_3.png",
    "figure in SVG": "figures/fig_3.svg",
    "figure in PDF": "figures/fig_3.pdf",
    "figure's rows": "figures/fig_3.csv",
    "figure's page": "figures/fig_2.html",
    "room": "reading_room/index.html",
    "room's data": "reading_room/data/*.js",
    "manifest": "models/*/base/manifest.json",
    "weights": "models/*/base/model.safetensors",
    "tokenizer": "models/*/base/tokenizer.json",
    "model's configuration": "models/*/base/config.json",
    "generation configuration": "models/*/base/generation_config.json",
    "chat template": "models/*/base/chat_template.jinja",
    "weights trained further": "models/*/sft-*/model.safetensors",
    "record": "tables/table_1.parquet.provenance.json",
    "record of a model": "models/*/base/manifest.json.provenance.json",
    "bundle": "provenance.jsonl",
}
# What unfinished and finished jobs leave in work/{study}/.
WORK = {
    "shard": "traces/*-????????????????/*.parquet",
    "checkpoint of pre-training": "pretraining/*/checkpoint.pt",
    **{
        f"checkpoint of {section}: {name}": f"training/*/{runs}/*/{folder}checkpoint-*/{name}"
        for section, runs, folder in (("fine-tuning", "sft-*", ""), ("on-policy training", "*", "checkpoints/"))
        for name in (
            "model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json", "digests.json"
        )
    },
    "rollouts of a step": "training/*/*/*/rollouts/step-*.parquet",
    "model along training": "training/*/*/*/models/step-*/model.safetensors",
    "manifest along training": "training/*/*/*/models/step-*/manifest.json",
}  # fmt: skip
# Files that nobody wrote.
ADDED = {
    "weights": "models/*/base/model-00002-of-00002.safetensors",
    "table": "tables/table_9.parquet",
    "figure": "figures/fig_9.png",
}


@dataclass(frozen=True)
class Damage:
    """One change of one file; ``apply`` makes it. `undone` takes it back."""

    name: str
    kind: str
    path: Path
    way: Callable[[Path], None]

    def apply(self) -> None:
        self.way(self.path)


def damages(root: Path) -> list[Damage]:
    """Every way of damage to a file of each kind that ``root`` holds, and files added to it.

    ``root``: a study's folder in results/ or in work/.
    """
    found = []
    for kind, pattern in (RESULTS | WORK).items():
        path = min(root.glob(pattern), default=None)
        if path is not None:
            found += [Damage(f"{name}: {path.relative_to(root)}", kind, path, way) for name, way in WAYS.items()]
    for kind, pattern in ADDED.items():
        for folder in sorted(root.glob(str(Path(pattern).parent)))[:1]:
            path = folder / Path(pattern).name
            found.append(Damage(f"added: {path.relative_to(root)}", kind, path, add))
    return found


@contextmanager
def undone(damage: Damage) -> Iterator[None]:
    """The damage, until this ends; content and times are then as before."""
    path = damage.path
    content, times = (path.read_bytes(), path.stat()) if path.is_file() else (None, None)
    damage.apply()
    try:
        yield
    finally:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def flip(path: Path, bit: int | None = None) -> None:
    """One bit, the middle one if none is given, with the file's time as it was."""
    times, content = path.stat(), bytearray(path.read_bytes())
    bit = len(content) * 4 if bit is None else bit
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def edit(path: Path) -> None:
    """As a hand would: another table without its last row, another digit in a text, another byte elsewhere."""
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        pq.write_table(table.slice(0, len(table) - 1), path)
        return
    content = path.read_bytes()
    digits = [found.start() for found in re.finditer(rb"\d", content)]
    place = digits[len(digits) // 2] if digits else len(content) // 2
    path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def add(path: Path) -> None:
    path.write_bytes(b"nobody's")


WAYS: dict[str, Callable[[Path], None]] = {
    "bit": flip,
    "cut": cut,
    "emptied": empty,
    "edited": edit,
    "deleted": Path.unlink,
    "folder": replace_by_folder,
}
