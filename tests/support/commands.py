"""The commands that pages tell a reader to type."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("docs", "config", "examples", "findings")
BESIDE = (path for folder in FOLDERS for path in (ROOT / folder).rglob("*.md"))
# Not the change log: what it names may have gone since.
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "results" / "README.md", *BESIDE])
BLOCK = re.compile(r"^```(?:bash)?\n(.*?)^```|^((?: {4}\S.*\n(?:\s*\n)?)+)", re.MULTILINE | re.DOTALL)
OTHER = re.compile(r"^```\w+\n.*?^```", re.MULTILINE | re.DOTALL)  # Python, YAML, SQL, pictures
IN_A_SENTENCE = re.compile(r"`((?:selfdistill|snakemake|make|python) [^`]+)`")
REMARK = re.compile(r"\s+# .*|\s{2,}#.*")
SET = re.compile(r"\w+=.*")  # what a shell sets before a command
PROGRAMS = {
    "apptainer", "conda", "export", "git", "inspect", "make", "pip", "pytest", "python", "selfdistill", "snakemake",
    "source", "tensorboard",
}  # fmt: skip


@dataclass(frozen=True)
class Command:
    """A command and the page that tells it."""

    page: str
    text: str

    @property
    def words(self) -> list[str]:
        words = shlex.split(self.text)
        return words[next((place for place, word in enumerate(words) if not SET.fullmatch(word)), len(words)) :]

    @property
    def program(self) -> str:
        return Path(self.words[0]).name if self.words else ""


def typed() -> list[Command]:
    """The commands that stand in blocks of their own, to be copied; each once."""
    found = {}
    for page in PAGES:
        text = OTHER.sub("", page.read_text(encoding="utf-8")).replace("\\\n", " ")
        lines = [line for fenced, indented in BLOCK.findall(text) for line in (fenced or indented).splitlines()]
        for part in (part for line in lines for part in REMARK.sub("", line.strip()).split(" && ")):
            command = Command(str(page.relative_to(ROOT)), " ".join(part.split()))
            if _is_command(command):
                found.setdefault(command.text, command)
    return list(found.values())


def named() -> list[Command]:
    """The commands that sentences and tables name, perhaps without all that they need; each once."""
    found = {}
    for page in PAGES:
        for text in IN_A_SENTENCE.findall(BLOCK.sub("", page.read_text(encoding="utf-8"))):
            found.setdefault(text, Command(str(page.relative_to(ROOT)), " ".join(text.split())))
    return list(found.values())


def _is_command(command: Command) -> bool:
    try:
        return command.program in PROGRAMS
    except ValueError:  # an open quote: no line of a shell
        return False
