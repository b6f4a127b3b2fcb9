"""`generate`: shards that survive a kill, extend, are sampled again when damaged, and do not depend on the workers."""

import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from selfdistill import models, tables
from selfdistill.errors import UserError
from selfdistill.generation import Prompt, Sampling, generate, progress, sample_seed, shards, traces
from tiny import problems_of, prompt_of, save_tiny_model

PROBLEMS = problems_of([f"Find x with a = {n}" for n in range(12)])
SHORT = Sampling(temperature=1.0, max_tokens=12)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def prompts(manifest: Path) -> list[Prompt]:
    tokenizer = models.load_tokenizer(manifest)
    rows = zip(PROBLEMS["problem"], PROBLEMS["problem_id"], strict=True)
    return [prompt_of(tokenizer, text, problem_id) for text, problem_id in rows]


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four problems in a shard, so that twelve prompts make three."""
    monkeypatch.setattr(shards, "ROWS", 32)


@pytest.fixture
def sample(manifest: Path, prompts: list[Prompt], tmp_path: Path):
    def call(samples: int = 8, **options: object) -> pd.DataFrame:
        settings = {"prompts": prompts, "seed": 1, "stream": "test", "work_dir": tmp_path / "work"}
        settings |= {"manifest": manifest, "sampling": SHORT}
        return generate(samples=samples, **settings | options)

    return call


def shard_files(folder: Path) -> dict[Path, tuple[int, int]]:
    """Every file below ``folder`` with its inode and time of change: equal for files that nobody wrote again."""
    found = sorted(path for path in (folder / "work").rglob("*") if path.is_file())
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in found}


def table_bytes(generated: pd.DataFrame, path: Path) -> bytes:
    """The traces table of the sampled responses, as the stages write it."""
    labels = {"study": "s", "model": "m", "run": "base", "stage": "section3", "setting": "unguided"}
    tables.write(traces.annotate(generated, PROBLEMS, opened=False, **labels), path, tables.TRACES)
    return path.read_bytes()


class TestTable:
    def test_rows_in_order_of_prompts_then_samples(self, sample, prompts: list[Prompt]):
        table = sample(9)
        assert table["problem_id"].tolist() == [p.problem_id for p in prompts for _ in range(9)]
        assert table["sample"].tolist() == list(range(9)) * len(prompts)
        assert list(table.columns) == shards.COLUMNS.names

    def test_the_seed_of_every_row_is_that_of_its_prompt_and_number(self, sample, prompts: list[Prompt]):
        table = sample(2, prompts=prompts[:3], stream="a stream", seed=5)
        wanted = [sample_seed(5, "a stream", p.sha256, n) for p in prompts[:3] for n in range(2)]
        assert table["seed"].tolist() == wanted
        assert table["prompt_sha256"].tolist() == [p.sha256 for p in prompts[:3] for _ in range(2)]

    def test_tokens_are_counted_as_the_tokenizer_counts_the_response(self, sample, manifest: Path):
        table, tokenizer = sample(), models.load_tokenizer(manifest)
        special = set(tokenizer.all_special_tokens)
        words = [len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in table["response"]]
        assert (table["response_tokens"] >= words).all()  # special tokens count, and are not shown
        assert not any(token in text for text in table["response"] for token in special)
        assert set(table["finish_reason"]) == {"stop", "length"}
        assert (table.loc[table["finish_reason"] == "length", "response_tokens"] == SHORT.max_tokens).all()

    def test_context_samples_are_kept_and_may_be_absent(self, sample, prompts: list[Prompt]):
        some = [Prompt(p.problem_id, p.text, p.token_ids, n) for p, n in zip(prompts, [3, None, 0], strict=False)]
        table = sample(1, prompts=some)
        assert table["context_sample"].fillna(-1).tolist() == [3, -1, 0]

    def test_no_prompts_give_an_empty_table_that_can_be_annotated_and_written(self, sample, tmp_path: Path):
        table = sample(prompts=[])
        assert len(table) == 0
        table_bytes(table, tmp_path / "empty.parquet")
        assert len(tables.read(tmp_path / "empty.parquet", tables.TRACES)) == 0

    def test_no_samples_beyond_the_first_give_an_empty_table(self, sample):
        assert len(sample(8, first_sample=8)) == 0

    def test_other_streams_and_seeds_give_other_responses(self, sample):
        first, stream, seed = sample(), sample(stream="another"), sample(seed=2)
        assert (first["response"] != stream["response"]).mean() > 0.9
        assert (first["response"] != seed["response"]).mean() > 0.9

    def test_an_unknown_engine_is_named_with_the_nearest_spelling(self, sample):
        with pytest.raises(UserError, match=r"unknown engine 'transformer' \(did you mean 'transformers'\?\)"):
            sample(engine="transformer")


class TestComposition:
    @pytest.mark.parametrize(
        ("problems", "rows", "sizes"),
        [(12, 32, [4, 4, 4]), (9, 32, [3, 3, 3]), (10, 32, [4, 4, 2]), (5, 8, [1] * 5), (3, 4, [1] * 3), (1, 32, [1])],
    )
    def test_a_block_is_cut_into_few_shards_of_equal_size(
        self, prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch, problems: int, rows: int, sizes: list[int]
    ):
        monkeypatch.setattr(shards, "ROWS", rows)
        jobs = list(shards._jobs(prompts[:problems], 0, 16, Path()))
        for first in (0, 8):
            block = [job for job in jobs if job.first == first]
            assert [len(job.prompts) for job in block] == sizes
            assert [prompt for job in block for prompt in job.prompts] == prompts[:problems]


class TestReuse:
    def test_a_second_call_samples_nothing(self, sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        first, files = sample(), shard_files(tmp_path)
        monkeypatch.setattr(shards.EngineHolder, "get", lambda *args: pytest.fail("an engine was loaded"))
        pd.testing.assert_frame_equal(sample(), first)
        assert shard_files(tmp_path) == files and len(files) == 3

    def test_sixteen_samples_where_eight_exist_sample_eight_more(
        self, sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        eight, files = sample(8), shard_files(tmp_path)
        sampled = count_rows(monkeypatch)
        sixteen = sample(16)
        assert sum(sampled) == 8 * len(PROBLEMS)
        assert shard_files(tmp_path).items() >= files.items() and len(shard_files(tmp_path)) == 6
        pd.testing.assert_frame_equal(sixteen[sixteen["sample"] < 8].reset_index(drop=True), eight)

    def test_a_later_block_alone_equals_the_same_samples_of_the_whole(self, sample, tmp_path: Path):
        whole = sample(16)
        later = sample(16, first_sample=8, work_dir=tmp_path / "apart")
        pd.testing.assert_frame_equal(whole[whole["sample"] >= 8].reset_index(drop=True), later)

    def test_a_changed_prompt_list_reuses_the_shards_that_match(
        self, sample, prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch
    ):
        before = sample()
        changed = [*prompts[:9], Prompt(prompts[9].problem_id, "Find b", (5, 6, 7)), *prompts[10:]]
        sampled = count_rows(monkeypatch)
        after = sample(prompts=changed)
        assert sampled == [32]  # the third shard alone
        same = before["problem_id"] != prompts[9].problem_id
        pd.testing.assert_frame_equal(after[same], before[same])
        assert (after.loc[~same, "prompt_sha256"] != before.loc[~same, "prompt_sha256"]).all()

    @pytest.mark.parametrize("option", [{"seed": 2}, {"stream": "other"}, {"sampling": Sampling(0.9, max_tokens=12)}])
    def test_shards_of_another_request_are_not_taken(self, sample, option: dict, monkeypatch: pytest.MonkeyPatch):
        sample()
        sampled = count_rows(monkeypatch)
        sample(**option)
        assert sum(sampled) == 96

    def test_shards_of_another_model_are_not_taken(self, sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        one = sample()
        sampled = count_rows(monkeypatch)
        other = sample(manifest=save_tiny_model(tmp_path / "other", seed=9))
        assert sum(sampled) == 96 and (one["response"] != other["response"]).mean() > 0.9

    def test_shards_sampled_by_other_code_are_not_taken(self, sample, monkeypatch: pytest.MonkeyPatch):
        sample()
        sampled = count_rows(monkeypatch)
        monkeypatch.setattr(shards, "made_with", lambda *entries: "changed")
        sample()
        assert sum(sampled) == 96

    def test_shards_sampled_with_another_version_of_a_package_are_not_taken(
        self, sample, upgrade, monkeypatch: pytest.MonkeyPatch
    ):
        sample()
        sampled = count_rows(monkeypatch)
        upgrade("vllm")  # of another engine
        sample()
        assert not sampled
        upgrade("tokenizers")
        sample()
        assert sum(sampled) == 96

    def test_the_engine_is_part_of_the_code_of_a_shard(self):
        from selfdistill import code_digest

        start = [("selfdistill.generation.shards", "_sample_shard")]
        reached = {name for _, name in code_digest.reachable(start)}
        assert {
            "sample_seed",
            "TransformersEngine",
            "pick",
            "UNIFORMS_STEP",
            "load_model",
            "Qwen3Engine",
            "attend",
            "exp",
        } <= reached


def count_rows(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Fills with the number of rows of every engine call that follows."""
    from selfdistill.generation.qwen3_engine import Qwen3Engine

    sampled: list[int] = []
    original = Qwen3Engine.sample

    def counted(self: Qwen3Engine, rows: list, *how: object):
        sampled.append(len(rows))
        return original(self, rows, *how)

    monkeypatch.setattr(Qwen3Engine, "sample", counted)
    return sampled


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip_data(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 0x40
    path.write_bytes(bytes(content))


def drop_rows(path: Path) -> None:
    pq.write_table(pq.read_table(path).slice(0, 5), path)


def drop_column(path: Path) -> None:
    pq.write_table(pq.read_table(path).drop_columns(["seed"]), path)


class TestDamage:
    @pytest.mark.parametrize("damage", [truncate, empty, flip_data, drop_rows, drop_column, Path.unlink])
    def test_a_damaged_shard_alone_is_sampled_again(
        self, sample, tmp_path: Path, damage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ):
        first, files = sample(), shard_files(tmp_path)
        bytes_before = {path: path.read_bytes() for path in files}
        hurt = list(files)[1]
        damage(hurt)
        sampled = count_rows(monkeypatch)
        pd.testing.assert_frame_equal(sample(), first)
        assert sampled == [32]
        after = shard_files(tmp_path)
        assert [path for path in files if after[path] != files[path]] == [hurt]
        assert {path: path.read_bytes() for path in after} == bytes_before
        told = [] if damage is Path.unlink else [f"{hurt} is damaged: its responses are sampled again"]
        assert caplog.messages == told

    def test_no_byte_can_change_unnoticed(self, sample, tmp_path: Path, prompts: list[Prompt]):
        """Flip bytes all over a shard: it reads as missing, or as it was."""
        wanted = sample(4, prompts=prompts[:2])
        [path] = shard_files(tmp_path)
        job = shards.Job(tuple(prompts[:2]), 0, 4, path)
        content = path.read_bytes()
        for place in range(0, len(content), 7):
            path.write_bytes(content[:place] + bytes([content[place] ^ 0x15]) + content[place + 1 :])
            found = shards._read(job)
            assert found is None or found.astype(object).equals(shards._in_order([wanted], prompts).astype(object))

    def test_a_shard_lost_after_sampling_is_an_error_not_a_shorter_table(self, sample, monkeypatch: pytest.MonkeyPatch):
        original = shards._sample_shard

        def sampled_and_lost(request: shards.Request, max_model_len: int, job: shards.Job) -> tuple[int, int]:
            counts = original(request, max_model_len, job)
            job.path.unlink()
            return counts

        monkeypatch.setattr(shards, "_sample_shard", sampled_and_lost)
        with pytest.raises(UserError, match="vanished or damaged since it was sampled"):
            sample()


@pytest.fixture(scope="module", autouse=True)
def no_process_stays():
    yield
    shards._pool(2).shutdown()
    shards._pool.cache_clear()


class TestProcesses:
    def test_two_workers_give_the_bytes_of_one(self, sample, tmp_path: Path):
        one = table_bytes(sample(10), tmp_path / "one.parquet")
        two = table_bytes(sample(10, workers=2, work_dir=tmp_path / "work2"), tmp_path / "two.parquet")
        assert one == two

    def test_damaged_weights_are_told_in_a_sentence_from_a_worker_too(self, sample, tmp_path: Path):
        broken = save_tiny_model(tmp_path / "broken")
        flip_data(broken.parent / "model.safetensors")
        with pytest.raises(UserError, match=r"model\.safetensors: differs from what .* lists"):
            sample(manifest=broken, workers=2)

    def test_a_failing_shard_leaves_the_finished_ones(self, sample, prompts: list[Prompt], tmp_path: Path):
        impossible = [*prompts[:11], Prompt("f" * 16, "no such token", (10_000,))]
        with pytest.raises(IndexError):
            sample(prompts=impossible, workers=2)
        files = shard_files(tmp_path)
        assert len(files) == 2
        sample(prompts=prompts[:8])
        assert shard_files(tmp_path) == files

    def test_a_killed_worker_is_told_in_a_sentence_and_the_next_call_continues(
        self, sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        class Killing(progress.Bar):
            def finished(self, responses: int, tokens: int) -> None:
                for pid in list(shards._pool(2)._processes):
                    os.kill(pid, signal.SIGKILL)

        long = Sampling(1.0, max_tokens=100)
        with monkeypatch.context() as patch:
            patch.setattr(progress, "Bar", Killing)
            with pytest.raises(UserError, match="a sampling process was killed"):
                sample(64, workers=2, sampling=long)
        files = shard_files(tmp_path)
        assert files
        assert len(sample(8, sampling=long)) == 8 * len(PROBLEMS)
        assert shard_files(tmp_path).items() >= files.items()


KILLED = """
    import multiprocessing, os, pickle, signal, sys
    from selfdistill.generation import generate, progress, shards

    class Killing(progress.Bar):
        def finished(self, responses, tokens):
            print(*[child.pid for child in multiprocessing.active_children()], flush=True)
            os.kill(os.getpid(), signal.SIGKILL)

    if __name__ == "__main__":
        shards.ROWS, progress.Bar = 32, Killing
        with open(sys.argv[1], "rb") as file:
            generate(**pickle.load(file), workers=2)
"""


def is_running(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def test_after_a_kill_the_workers_end_and_the_next_run_finishes_with_the_same_bytes(
    sample, prompts: list[Prompt], manifest: Path, tmp_path: Path
):
    # So much that it is not over before a busy machine gets round to the kill.
    asked = {"prompts": prompts, "manifest": manifest, "samples": 320, "sampling": Sampling(1.0, max_tokens=60)}
    asked |= {"seed": 1, "stream": "test", "work_dir": tmp_path / "work"}
    (tmp_path / "asked").write_bytes(pickle.dumps(asked))
    (tmp_path / "killed.py").write_text(textwrap.dedent(KILLED))
    command = [sys.executable, str(tmp_path / "killed.py"), str(tmp_path / "asked")]
    killed = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert killed.returncode == -signal.SIGKILL
    workers = [int(pid) for pid in killed.stdout.split()]
    assert len(workers) == 2
    deadline = time.monotonic() + 600
    while any(map(is_running, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(is_running, workers))

    files = {path: state for path, state in shard_files(tmp_path).items() if path.suffix == ".parquet"}
    assert 1 <= len(files) < 320 * len(prompts) / 32
    resumed = table_bytes(generate(**asked), tmp_path / "resumed.parquet")
    assert shard_files(tmp_path).items() >= files.items()
    whole = generate(**asked | {"work_dir": tmp_path / "undisturbed"})
    assert table_bytes(whole, tmp_path / "whole.parquet") == resumed


def test_importing_generation_loads_neither_torch_nor_transformers():
    check = "import sys, selfdistill.generation; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check]).returncode == 0
