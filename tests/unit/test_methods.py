"""Methods are found by name, and one more is one file and one line."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import forks
import pytest
import torch
from safetensors.torch import load_file
from selfdistill import tables
from selfdistill.code_digest import PACKAGE_ROOT, code_digest, reachable
from selfdistill.errors import UserError
from selfdistill.training import methods
from selfdistill.training.method import Method
from tiny import save_tiny_model

EXAMPLE = PACKAGE_ROOT.parent / "examples" / "method"
DRIVER = Path(__file__).with_name("processes_driver.py")


@pytest.mark.parametrize("name", methods.METHODS)
def test_a_method_is_a_module_whose_docstring_names_its_paper(name: str):
    method = methods.load(name)
    assert issubclass(method, Method) and method.loss is not Method.loss
    assert "arXiv:" in sys.modules[method.__module__].__doc__


def test_an_unknown_method_is_named_with_the_nearest_spelling():
    with pytest.raises(UserError, match=r"^unknown method 'spdo' \(did you mean 'sdpo'\?\); known: grpo, sdpo, sdpo_"):
        methods.load("spdo")


def test_only_methods_that_say_so_are_kept_to_the_microcosm():
    """One more method made from SDPO trains any model."""
    assert set(methods.OF_MICROCOSM) < set(methods.SELF_TAUGHT)
    for name in methods.METHODS:
        assert (name in methods.OF_MICROCOSM) == hasattr(methods.load(name), "spared"), name


def test_the_names_of_the_methods_are_known_without_torch():
    code = "import sys; from selfdistill.training import methods, settings; print('torch' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(PACKAGE_ROOT)}
    assert subprocess.check_output([sys.executable, "-c", code], env=environment, text=True) == "False\n"


def test_the_trainer_reaches_no_method_and_each_method_no_other():
    """So that a change to one method reruns the runs of that one."""
    common = {module for module, _ in reachable([("selfdistill.training.onpolicy", "train_onpolicy")])}
    own = {
        name: {module for module, _ in reachable([tuple(entry.split(":"))])} for name, entry in methods.METHODS.items()
    }
    assert "selfdistill.training.trainer" in common
    assert not common & {
        "selfdistill.training.grpo",
        "selfdistill.training.sdpo",
        "selfdistill.training.demonstrations",
    }
    assert "selfdistill.training.sdpo" not in own["grpo"] and "selfdistill.training.grpo" not in own["sdpo"]
    assert code_digest(methods.METHODS["grpo"]) != code_digest(methods.METHODS["sdpo"])


# --- the example ----------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package to which the example was added as its README says."""
    root = tmp_path_factory.mktemp("workflow")
    ignored = shutil.ignore_patterns("*.tmp.*")  # what numba has compiled is copied, what it is writing is not
    shutil.copytree(PACKAGE_ROOT / "selfdistill", root / "selfdistill", ignore=ignored)
    training = root / "selfdistill" / "training"
    shutil.copy(EXAMPLE / "reward_weighted.py", training)
    registry = (training / "methods.py").read_text()
    [line] = [line for line in (EXAMPLE / "README.md").read_text().splitlines() if line.startswith("    ")]
    assert registry.count("METHODS = {\n") == 1
    (training / "methods.py").write_text(registry.replace("METHODS = {\n", f"METHODS = {{\n{line}\n"))
    return root


@pytest.fixture(scope="module")
def finished(package: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two steps of the example: manifest of the initial model, and the folder of what the run has left."""
    out = tmp_path_factory.mktemp("run")
    manifest = save_tiny_model(out / "model")
    changes = {"steps": 2, "checkpoint_steps": [2], "weight_decay": 0.0, "micro_batch_size": 4}
    command = [str(DRIVER), str(manifest), json.dumps([("reward_weighted", str(out), changes)])]
    environment = os.environ | {"PYTHONPATH": str(package)}
    done = forks.start(command, cwd=out, env=environment, packages=forks.TRAINING)
    told, _ = done.communicate()
    assert done.returncode == 0, told
    return manifest, out


def test_the_example_trains_and_reports_its_own_metric(finished: tuple[Path, Path]):
    manifest, out = finished
    steps = tables.read(out / "steps.parquet", tables.TRAINING_STEPS).pivot(
        index="step", columns="metric", values="value"
    )
    rollouts = tables.read(out / "rollouts.parquet", tables.TRACES)
    assert steps.index.tolist() == [1, 2] and set(rollouts["step"]) == {1, 2}
    assert 0 < rollouts["correct"].mean() < 1 and (steps["grad_norm"] > 0).all()
    assert "divergence" not in steps and (steps["log_likelihood"] < 0).all()
    initial = load_file(manifest.parent / "model.safetensors")
    trained = load_file(out / "out" / "step-2" / "model.safetensors")
    assert not any(torch.equal(trained[name], initial[name]) for name in trained)


def test_the_example_makes_no_other_run_be_trained_again(package: Path):
    """One more name is known, and the code of the stage and of the other methods is as it was."""
    code = (
        "from selfdistill.code_digest import code_digest as digest; from selfdistill.training.methods import METHODS;"
        "print(len(METHODS), digest('selfdistill.stages:train_onpolicy'), digest(METHODS['grpo']))"
    )
    roots = (PACKAGE_ROOT, package)
    outputs = [
        subprocess.check_output(
            [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(root)}, text=True
        ).split()
        for root in roots
    ]
    assert [int(found[0]) for found in outputs] == [len(methods.METHODS), len(methods.METHODS) + 1]
    assert outputs[0][1:] == outputs[1][1:]
