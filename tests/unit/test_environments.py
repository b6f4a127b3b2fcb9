"""The environments: exact pins that agree with each other and resolve, and the image that is made from them."""

import re
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
ENVS = REPOSITORY / "envs"
sys.path.insert(0, str(ENVS))

import resolve  # noqa: E402 (a script of its own, not part of the package)

BASE, TRAIN, VLLM = (resolve.read(ENVS / f"{name}.yaml") for name in ("base", "train", "vllm"))
# Where GPU environments have to differ from the rest.
ALLOWED = {"numpy": ("2.3.5", "vLLM 0.30 needs numpy < 2.4; the SLURM plugin of the lock file needs 2.4.5 or newer")}


def locked() -> dict[str, str]:
    """Version by package of the lock file and torch.txt."""
    text = (ENVS / "requirements.lock").read_text() + (ENVS / "torch.txt").read_text()
    return {match["name"]: match["version"] for match in re.finditer(rf"^{resolve.PIN.pattern}", text, re.MULTILINE)}


# --- the files --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("environment", [BASE, TRAIN, VLLM], ids=lambda environment: environment.path.stem)
def test_every_requirement_is_an_exact_pin(environment):
    assert len(environment.pins) == len(environment.requirements) > 5
    assert environment.python == BASE.python


@pytest.mark.parametrize("environment", [BASE, TRAIN, VLLM], ids=lambda environment: environment.path.stem)
def test_pins_are_those_of_the_lock_file(environment):
    lock = locked()
    for name, version in environment.pins.items():
        if name in ALLOWED and environment is not BASE:
            assert version == ALLOWED[name][0]
        else:
            assert lock.get(name, version) == version, name
    assert set(BASE.pins) <= set(lock)


def test_one_environment_contains_the_next():
    assert VLLM.pins.items() <= TRAIN.pins.items()
    assert set(TRAIN.pins) - set(BASE.pins) == {"vllm"}
    assert set(BASE.pins) <= set(TRAIN.pins)


def test_the_lock_files_own_pins_are_in_the_base_environment():
    direct = (ENVS / "requirements.in").read_text().partition("# tests and checks")[0]
    pinned = {match["name"] for match in re.finditer(rf"^{resolve.PIN.pattern}", direct, re.MULTILINE)}
    assert pinned - {"snakemake-executor-plugin-slurm"} <= set(BASE.pins)  # jobs are not submitted from within jobs


def test_a_loose_requirement_is_refused(tmp_path):
    path = tmp_path / "loose.yaml"
    path.write_text("dependencies:\n  - python=3.11\n  - pip:\n      - numpy==2.3.5\n      - pandas>=2\n")
    with pytest.raises(ValueError, match="not pinned by '==': pandas>=2"):
        _ = resolve.read(path).pins


# --- what is installed ------------------------------------------------------------------------------------------------
def test_this_environment_has_the_base_environments_versions(capsys):
    assert resolve.main(["--installed", str(BASE.path)]) == 0, capsys.readouterr().out


def test_other_versions_are_listed(tmp_path, capsys):
    path = tmp_path / "other.yaml"
    path.write_text("dependencies:\n  - python=3.11\n  - pip:\n      - numpy==1.0\n      - no-such-package-here==2.0\n")
    assert resolve.main(["--installed", str(path)]) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"numpy: {BASE.pins['numpy']}, expected 1.0", "no-such-package-here: missing, expected 2.0",
    ]  # fmt: skip


# --- resolution (metadata only; needs the package index) --------------------------------------------------------------
@pytest.fixture(scope="module")
def resolved() -> dict[str, dict[str, str]]:
    if resolve.shutil.which("uv") is None:
        pytest.skip("uv is not installed")
    try:
        return {environment.path.stem: resolve.resolve(environment) for environment in (BASE, TRAIN, VLLM)}
    except resolve.Unreachable as error:
        pytest.skip(f"the package index does not answer: {str(error).partition(chr(10))[0]}")


def test_the_pins_of_every_environment_resolve(resolved):
    for environment in (BASE, TRAIN, VLLM):
        assert environment.pins.items() <= resolved[environment.path.stem].items()


def test_pins_that_contradict_each_other_are_reported(resolved, tmp_path, capsys):
    path = tmp_path / "contradiction.yaml"
    path.write_text("dependencies:\n  - python=3.11\n  - pip:\n      - vllm==0.30.0\n      - numpy==2.4.6\n")
    assert resolve.main([str(path)]) == 1
    assert "numpy" in capsys.readouterr().err


# --- the image --------------------------------------------------------------------------------------------------------
# Sections of a definition file, by the manual of apptainer.
SECTIONS = {"files", "post", "environment", "runscript", "test", "labels", "help", "arguments", "setup", "startscript"}


def definition() -> tuple[list[dict[str, str]], dict[str, list[str]]]:
    """The headers of the stages, and the lines of each section."""
    headers: list[dict[str, str]] = []
    sections: dict[str, list[str]] = {}
    section = None
    for line in (ENVS / "selfdistill.def").read_text(encoding="utf-8").splitlines():
        if line.startswith("%"):
            section = line.removeprefix("%")
            assert section not in sections, f"%{section} stands twice"
            sections[section] = []
        elif section is not None:
            sections[section].append(line.strip())
        elif line and not line.startswith("#"):
            key, value = line.split(": ")
            if key == "Bootstrap":
                headers.append({})
            headers[-1][key] = value
    return headers, sections


def test_the_definition_has_its_stages_and_sections():
    headers, sections = definition()
    assert [header["Stage"] for header in headers] == ["conda", "final"]
    assert all(header.keys() == {"Bootstrap", "From", "Stage"} for header in headers)
    assert all(re.fullmatch(r"[\w./-]+:[\w.-]*\d[\w.-]*", header["From"]) for header in headers)
    assert {name.partition(" ")[0] for name in sections} <= SECTIONS
    assert {"files", "files from conda", "post", "environment", "runscript", "test"} <= sections.keys()
    assert all(any(lines) for lines in sections.values())


def test_the_image_takes_its_packages_from_the_training_environment_alone():
    _, sections = definition()
    assert "micromamba create -y -p /opt/env -f /opt/selfdistill/envs/train.yaml" in sections["post"]
    assert not re.search(r"==\d", "\n".join(line for lines in sections.values() for line in lines))
    checked = "python /opt/selfdistill/envs/resolve.py --installed /opt/selfdistill/envs/train.yaml"
    assert checked in sections["test"]


def test_what_the_image_copies_exists():
    _, sections = definition()
    copies = [line.split() for line in sections["files"] if line]
    assert all((REPOSITORY / source).exists() and target == f"/opt/selfdistill/{source}" for source, target in copies)
    assert {"workflow", "config.yaml", "Snakefile", "envs", "pyproject.toml"} <= {source for source, _ in copies}


def test_the_images_cuda_is_that_of_its_packages(resolved):
    headers, _ = definition()
    major = re.search(r"nvidia/cuda:(\d+)", headers[1]["From"])
    assert major and resolved["train"]["nvidia-cuda-runtime"].startswith(f"{major[1]}.")
