"""The environments: pins that agree with each other and resolve, the image they make, and models without network."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub.errors import GatedRepoError
from selfdistill import models, stages
from selfdistill.errors import UserError
from tiny import save_tiny_model

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
    give_up = pytest.fail if os.environ.get("CI") else pytest.skip
    if resolve.find_uv() is None:
        give_up("uv is not installed")
    try:
        return {environment.path.stem: resolve.resolve(environment) for environment in (BASE, TRAIN, VLLM)}
    except resolve.Unreachable as error:
        give_up(f"the package index does not answer: {str(error).partition(chr(10))[0]}")


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


# --- models without network -------------------------------------------------------------------------------------------
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def lock(tmp_path) -> Path:
    path = tmp_path / "revisions.json"
    path.write_text(json.dumps({"who/what": {"kind": "model", "revision": COMMIT}, "who/else": {"revision": COMMIT}}))
    return path


def test_models_are_fetched_at_their_locked_commits(lock, monkeypatch, capsys):
    asked = []

    def snapshot_download(repo: str, **options: object) -> str:
        asked.append((repo, options))
        return f"/cache/{repo}"

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    stages.prefetch(repos=["who/what", "who/else"], lock=lock)
    assert capsys.readouterr().out.splitlines() == [
        f"{repo}@0123456789ab: /cache/{repo}" for repo in ("who/what", "who/else")
    ]
    assert [repo for repo, _ in asked] == ["who/what", "who/else"]
    for _, options in asked:
        assert options["revision"] == COMMIT
        files = ["model-00001-of-2.safetensors", "tokenizer.json", "chat_template.jinja", "pytorch_model.bin", "x.py"]
        files += ["original/model.safetensors", "onnx/config.json"]
        patterns = {key: options[key] for key in ("allow_patterns", "ignore_patterns")}
        assert list(huggingface_hub.utils.filter_repo_objects(files, **patterns)) == files[:3]


def test_a_model_without_a_locked_commit_is_not_fetched(lock, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: pytest.fail("fetched"))
    with pytest.raises(UserError, match=r"no revision of 'who/new'.*`selfdistill resolve-revisions --repos who/new "):
        stages.prefetch(repos=["who/what", "who/new"], lock=lock)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (GatedRepoError.__new__(GatedRepoError), "who/what is gated: accept its terms on the hub, and set HF_TOKEN"),
        (OSError("disk full\nand more"), "^who/what@0123456789ab cannot be fetched: OSError: disk full$"),
    ],
)
def test_what_cannot_be_fetched_is_told_in_one_sentence(error, message, monkeypatch):
    def snapshot_download(*_: object, **__: object) -> str:
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    with pytest.raises(UserError, match=message):
        models.fetch("who/what", COMMIT)


def test_a_fetched_model_is_loaded_without_network(tmp_path):
    save_tiny_model(tmp_path / "models--who--what" / "snapshots" / COMMIT)
    models.save_hub_manifest(tmp_path / "manifest.json", "who/what", COMMIT)
    program = "import sys; from selfdistill import models; m = sys.argv[1]; models.load_model(m).config; "
    program += "print(models.load_tokenizer(m).eos_token)"
    settings = os.environ | {
        "HF_HUB_CACHE": str(tmp_path),
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    result = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "manifest.json")], env=settings, capture_output=True, text=True
    )
    assert result.stdout.split() == ["<|im_end|>"], result.stderr
