"""From what a study is shipped with, its tables and ledger are made again, and nothing is sampled."""

import re
import shutil

from selfdistill.records import measures

AGAIN = (
    "claims/ledger.parquet", "claims/effects.parquet", "curves.parquet", "tables/table_1.parquet", "tables/table_2.csv",
)  # fmt: skip


def test_tables_and_ledger_are_made_again_from_measures(project):
    results = project.folder / "results/smoke"
    before = {name: (results / name).read_bytes() for name in AGAIN}
    shipped = project.folder / "shipped"
    assert project.pending("responses_microcosm") == {}
    measures.pack(results, shipped)
    for folder in ("results/smoke", "work", "logs", ".snakemake"):
        shutil.rmtree(project.folder / folder)
    measures.unpack(shipped, results)
    listed = project.run("snakemake", "--list-rules")[1]
    rules = re.findall(r"^((?:make|draw|render|export|record|list)_\w+)", listed, re.MULTILINE)
    allowed = ["--allowed-rules", "analysis", *rules]
    pending = project.pending("analysis", *allowed)
    assert pending["make_ledger"] == 1
    assert not any(re.match("sample|train|evaluate|pretrain|select", rule) for rule in pending)
    project.snakemake(*(f"results/smoke/{name}" for name in AGAIN), *allowed)
    assert {name: (results / name).read_bytes() for name in AGAIN} == before
