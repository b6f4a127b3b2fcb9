"""A copy of the project in which the smoke study is run once, for all workflow tests."""

import shutil
from pathlib import Path

import pytest
from browser.conftest import browser, page  # noqa: F401 (fixtures)
from project import Project, smoke_study

# Sections 3 and 4, and of the on-policy runs one of each method: what a second study has to make for comparison.
PART = [
    *(f"results/smoke/tables/{table}.csv" for table in ("table_1", "table_a1", "table_2")),
    *(f"results/smoke/figures/{figure}.png" for figure in ("table_1", "selection", "table_2", "fig_2")),
    *(
        f"results/smoke/evaluations/{run}-seed0/along_training.parquet"
        for run in ("microcosm_off/grpo-train-n2-draw0-lr0.0003", "microcosm/sdpo-ema0.05-train-lr0.0003-k100")
    ),
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What does not begin with the finished study comes first: it runs beside it, and the kills take as long."""
    items.sort(key=lambda item: "finished" in item.fixturenames)


@pytest.fixture(scope="session")
def finished(of_all_workers: Path) -> Project:
    """The smoke study, run to its end, once for all workers; tests must not change it."""
    return smoke_study(of_all_workers / "finished")


@pytest.fixture
def project(finished, tmp_path) -> Project:
    """A copy of the finished study, Snakemake's records included, to change at will."""
    folder = tmp_path / "project"
    shutil.copytree(finished.folder, folder, symlinks=True)
    return Project(folder)
