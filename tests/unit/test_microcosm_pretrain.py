"""Pre-training: the same bytes with one process or two, and after a kill."""

import io
import itertools
import os
import signal
from dataclasses import replace
from functools import partial

import forks
import pytest
import torch
from damages import cut, empty, flip
from selfdistill import tables
from selfdistill.files import sha256_file
from selfdistill.microcosm import pretrain as pretraining
from selfdistill.microcosm.batches import IGNORED, POOL_STEPS, document_batch, equal_parts
from selfdistill.microcosm.documents import Mix
from selfdistill.microcosm.gradients import workers_for
from selfdistill.microcosm.presets import PRESETS
from selfdistill.microcosm.pretrain import pretrain
from selfdistill.microcosm.tokenizer import build_tokenizer
from transformers import AutoTokenizer, Qwen3ForCausalLM

TINY = PRESETS["tiny"]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    return folder / "model", pretrain(folder / "model", folder / "work", seed=0, settings=TINY, workers=1)


def weights(folder) -> str:
    return sha256_file(folder / "model.safetensors")


def test_two_processes_give_the_bytes_of_one(uninterrupted, tmp_path):
    folder, metrics = uninterrupted
    other = pretrain(tmp_path / "model", tmp_path / "work", seed=0, settings=TINY, workers=2)
    assert weights(tmp_path / "model") == weights(folder)
    assert other.equals(metrics)


def test_the_seed_matters(uninterrupted, tmp_path):
    pretrain(tmp_path / "model", tmp_path / "work", seed=1, settings=TINY, workers=1)
    assert weights(tmp_path / "model") != weights(uninterrupted[0])


KILLED = """
import os, signal, sys
from dataclasses import replace
from functools import partial
from selfdistill.microcosm import pretrain as p
from selfdistill.microcosm.presets import PRESETS

advance = p._Training._advance

def advance_or_die(self, workers):
    if (self.phase, self.step) == ("documents", 3):
        os.kill(os.getpid(), signal.SIGKILL)
    advance(self, workers)

if __name__ == "__main__":
    p._Training._advance = advance_or_die
    settings = replace(PRESETS["tiny"], checkpoint_seconds=0.0)
    p.pretrain(sys.argv[1], sys.argv[2], seed=0, settings=settings, workers=int(sys.argv[3]))
"""


@pytest.mark.parametrize(("before", "after"), [(1, 1), (2, 1), (1, 2)])
def test_a_killed_run_continues_to_the_same_bytes(uninterrupted, tmp_path, before, after):
    """Also where the number of processes changes: what the second one remembers is saved, and shared again."""
    folder, metrics = uninterrupted
    settings = replace(TINY, checkpoint_seconds=0.0)
    model, work = tmp_path / "model", tmp_path / "work"
    (tmp_path / "killed.py").write_text(KILLED)
    program = [str(tmp_path / "killed.py"), str(model), str(work), str(before)]
    killed = forks.start(program, cwd=tmp_path, env=os.environ, packages=forks.TRAINING)
    output, _ = killed.communicate()
    assert killed.returncode == -signal.SIGKILL, output
    assert not (model / "model.safetensors").exists()
    saved = io.BytesIO((work / "checkpoint.pt").read_bytes()[pretraining.DIGEST_BYTES :])
    assert torch.load(saved, weights_only=True)["progress"][:2] == ("documents", 3)
    resumed = pretrain(model, work, seed=0, settings=settings, workers=after)
    assert weights(model) == weights(folder)
    assert resumed.equals(metrics)
    assert not (work / "checkpoint.pt").exists()


def test_a_checkpoint_of_another_seed_or_version_of_a_package_is_not_continued(upgrade, tmp_path):
    training = pretraining._Training(tmp_path / "checkpoint.pt", 1, TINY)
    training.step = 2
    training._save()
    assert pretraining._Training(tmp_path / "checkpoint.pt", 1, TINY).step == 2
    assert pretraining._Training(tmp_path / "checkpoint.pt", 0, TINY).step == 0
    upgrade("torch")
    assert pretraining._Training(tmp_path / "checkpoint.pt", 1, TINY).step == 0


@pytest.mark.parametrize("damage", [cut, empty, *(partial(flip, bit=bit) for bit in (0, 300, 100_003, 200_003))])
def test_a_damaged_checkpoint_is_told_and_not_continued(tmp_path, damage, caplog):
    checkpoint = tmp_path / "checkpoint.pt"
    training = pretraining._Training(checkpoint, 0, TINY)
    training.step = 2
    training._save()
    assert pretraining._Training(checkpoint, 0, TINY).step == 2 and not caplog.messages
    damage(checkpoint)
    assert pretraining._Training(checkpoint, 0, TINY).step == 0
    assert caplog.messages == [f"{checkpoint} is damaged: pre-training begins afresh"]


def test_the_gradient_is_that_of_the_mean_loss_over_both_parts():
    """Against one backward pass over the labels of both parts with the model's own loss."""
    mix, tokens = TINY.mix, 300
    model = pretraining._build_model(TINY, seed=0)
    parts = [document_batch(0, 5, part, mix, tokens) for part in (0, 1)]
    loss = sum(
        torch.nn.functional.cross_entropy(model(input_ids=ids[None]).logits[0], labels, reduction="sum")
        for part in parts
        for ids, labels in zip(part.ids.split(part.lengths), part.labels.split(part.lengths), strict=True)
    ) / sum((part.labels != IGNORED).sum() for part in parts)
    loss.backward()
    expected = [parameter.grad.clone() for parameter in model.parameters()]
    norm = torch.cat([gradient.flatten() for gradient in expected]).norm()
    with workers_for(model, [], lambda phase, step, part: parts[part], workers=1) as alone:
        sums = alone.gradient("documents", 5, clip=1e9)
        free = alone.mean.clone()
        alone.gradient("documents", 5, clip=norm.item() / 4)
        torch.testing.assert_close(alone.mean, free / 4, rtol=1e-4, atol=1e-7)
        alone.gradient("documents", 5, clip=1e9)
        alone.step(1.0)
    assert sums.loss / sums.labels == pytest.approx(loss.item(), rel=1e-5)
    for parameter, wanted in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("lengths", [[10] * 320, [10] * 300 + [900] * 4, [10] * 28 + [900] * 4, [900] * 4 + [1] * 60])
def test_no_part_of_a_pool_is_empty_however_long_a_row_is(lengths):
    cuts = [0, *equal_parts(lengths), len(lengths)]
    parts = [lengths[start:end] for start, end in itertools.pairwise(cuts)]
    assert len(parts) == POOL_STEPS
    assert min(len(part) for part in parts) > 0
    assert sum(len(part) for part in parts) == len(lengths)


def test_labels_are_the_response_and_its_end():
    batch = document_batch(0, 7, 0, Mix(), 500)
    tokenizer = build_tokenizer()
    assert len(batch.lengths) > 1
    for ids, labels in zip(batch.ids.split(batch.lengths), batch.labels.split(batch.lengths), strict=True):
        kept = labels != IGNORED
        start = int(kept.nonzero()[0])
        response = tokenizer.decode(labels[kept])
        assert torch.equal(ids[start + 1 :][kept[start + 1 :]], labels[kept][:-1])
        assert response.endswith("} <|im_end|>")
        assert "<|im_start|>" not in response
        assert tokenizer.decode(ids[: start + 1]).endswith(("assistant", "assistant <think> </think>"))


def test_saved_model_and_metrics_are_readable(uninterrupted, tmp_path):
    folder, metrics = uninterrupted
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = Qwen3ForCausalLM.from_pretrained(folder)
    assert model.config.vocab_size == len(tokenizer)
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    assert not [file.name for file in folder.iterdir() if file.name.startswith(".")]
    tables.write(metrics.assign(model="m"), tmp_path / "steps.parquet", tables.TRAINING_STEPS)
    counts = metrics.groupby("metric").size().to_dict()
    assert counts == {"facts_loss": 3, "checks_loss": 3, "documents_loss": 6, "tokens": 12, "learning_rate": 12}
    assert list(metrics[metrics.metric == "tokens"].step) == list(range(1, 13))
