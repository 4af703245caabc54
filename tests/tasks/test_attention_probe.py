from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from lightning import Trainer
from sklearn import metrics as sk
from torch import Tensor

from biote.batch import PackedBatch
from biote.datamodules.contacts import ContactsDataModule
from biote.errors import ConfigError
from biote.modules.config import EncoderConfig
from biote.modules.encoder import Encoder
from biote.modules.head_optimizer import HeadOptimizer
from biote.modules.heads import AttentionProbeHead, ResidueHead
from biote.residue_batch import ResidueBatch
from biote.tasks import AttentionProbeTask, ResidueBinaryTask
from biote.tasks.results import ResultsWriter

MakeTrainer = Callable[..., Trainer]
Make = Callable[..., ContactsDataModule]
RESIDUES = list("ARNDCQEGHILKMFPSTWYV")


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Complexes whose contacts follow from the letters of the protein, or from nothing."""

    def make(*, shuffled: bool = False, proteins: int = 24, **options: Any) -> ContactsDataModule:
        rng = np.random.default_rng(0)
        rows = ["".join(rng.choice(RESIDUES, rng.integers(8, 24))) for _ in range(proteins)]
        distances = [[3 + 0.5 * RESIDUES.index(residue) for residue in row] for row in rows]
        if shuffled:
            distances = [rng.permutation(one).tolist() for one in distances]
        for one in distances:
            one[3] = float("nan")
        number = len(list(tmp_path.glob("*.parquet")))
        path = tmp_path / f"contacts{number}.parquet"
        pl.DataFrame(
            {
                "id": [f"x{i}" for i in range(proteins)],
                "protein": rows,
                "nucleic": [[{"sequence": "ACGT", "molecule": "DNA"}]] * proteins,
                "distance": distances,
            }
        ).write_parquet(path)
        arguments: dict[str, Any] = {
            "tokenizer": "character", "batch_size": 6, "fold": 0, "folds": 3, "context": 64,
            "fold_file": tmp_path / f"{number}.folds", "validation": "none",
        }  # fmt: skip
        return ContactsDataModule(path, **(arguments | options))

    return make


def probe(encoder: EncoderConfig, data: ContactsDataModule, **head: Any) -> AttentionProbeTask:
    options = {"channels": 8, "scaled": True} | head
    return AttentionProbeTask(
        encoder,
        head=lambda maps, outputs: AttentionProbeHead(maps, outputs, **options),
        optimizer=HeadOptimizer(lr=0.02),
        n_outputs=data.n_outputs,
        vocab_size=data.vocab_size,
    )


def first_batch(data: ContactsDataModule) -> ResidueBatch:
    batch = next(iter(data.train_dataloader()))
    assert isinstance(batch, ResidueBatch)
    return batch


def built(encoder: EncoderConfig, data: ContactsDataModule, **head: Any) -> AttentionProbeTask:
    task = probe(encoder, data, **head)
    task.configure_model()
    return task


def maps_by_hand(encoder: Encoder, group: PackedBatch) -> Tensor:
    """softmax(8 / D q k) of rotated queries and keys, from the projections of a plain pass."""
    config, projected = encoder.config, []
    hooks = [
        block.attention.qkv.register_forward_hook(  # type: ignore[union-attr]
            lambda module, inputs, output: projected.append(output)
        )
        for block in encoder.blocks
    ]
    with torch.no_grad():
        encoder(group)
    for hook in hooks:
        hook.remove()
    n, d = group.n_tokens, config.head_width
    angles = torch.arange(n)[:, None] * config.rope_theta ** (-torch.arange(0, d, 2) / d)
    turn = torch.polar(torch.ones_like(angles), angles)[:, None]  # (n, 1, d / 2)
    found = []
    for qkv in projected:
        q, k, _ = qkv.view(n, 3, config.heads, d // 2, 2).unbind(1)
        q, k = (torch.view_as_complex(x.contiguous()) * turn for x in (q, k))
        scores = torch.einsum("ihd,jhd->hij", q, k.conj()).real * 8 / config.width
        found.append(scores.softmax(-1))
    return torch.cat(found)


@pytest.mark.parametrize("tokenizer", ["character", "bpe"])
def test_the_head_is_given_the_maps_of_each_group_alone(
    tokenizer: str, tiny: EncoderConfig, make: Make, real_data: Path
) -> None:
    # REFERENCE 6, 7: nothing of another group.
    bpe = str(real_data / "tokenizers" / "mixed_bpe.model")
    data = make(tokenizer=bpe if tokenizer == "bpe" else tokenizer)
    task = built(tiny, data)
    batch = first_batch(data)
    assert task.head is not None
    assert task.encoder is not None
    given: list[Tensor] = []
    task.head.register_forward_pre_hook(lambda module, inputs: given.append(inputs[0].clone()))
    together = task.outputs(batch)
    groups = list(batch.groups())
    assert [group.n_tokens for group in groups] == list(batch.lengths)
    torch.testing.assert_close(torch.cat([group.ids for group in groups]), batch.ids)
    assert len(given) == len(groups) > 1
    parts = together.split(list(batch.lengths))
    for maps, group, part in zip(list(given), groups, parts, strict=True):
        assert maps.shape == (tiny.layers * tiny.heads, group.n_tokens, group.n_tokens)
        torch.testing.assert_close(maps, maps_by_hand(task.encoder, group), rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(task.logits(group), part)


def test_maps_of_one_group_are_alive_at_a_time(
    tiny: EncoderConfig, make: Make, make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: set[int] = set()
    most = made = 0
    original = Encoder.maps_of_group

    def watched(self: Encoder, group: PackedBatch) -> Tensor:
        nonlocal most, made
        maps = original(self, group)
        alive.add(id(maps))
        most, made = max(most, len(alive)), made + 1
        weakref.finalize(maps, alive.discard, id(maps))
        return maps

    monkeypatch.setattr(Encoder, "maps_of_group", watched)
    data = make()
    task = probe(tiny, data)
    trainer = make_trainer(max_steps=3, max_epochs=-1)
    trainer.fit(task, datamodule=data)
    trainer.test(task, datamodule=data, verbose=False)
    assert made == 16 + 8  # an epoch of 6, 6 and 4 groups is three steps; 8 are tested
    assert most == 1
    assert not alive


def test_a_steps_gradient_is_that_of_the_whole_batch(tiny: EncoderConfig, make: Make) -> None:
    data = make()
    task = built(tiny, data)
    batch = first_batch(data)
    assert task.head is not None
    task.step_scale = lambda: 1.0  # type: ignore[method-assign]
    task.log = lambda *values, **options: None  # type: ignore[method-assign]
    loss = task.training_step(batch, 0)
    loss.backward()
    found = {name: p.grad.clone() for name, p in task.head.named_parameters() if p.grad is not None}
    task.zero_grad()
    logits = torch.cat([task.logits(group) for group in batch.groups()])
    wanted = torch.nn.functional.binary_cross_entropy_with_logits(
        logits[batch.labelled_tokens], batch.targets
    )
    wanted.backward()
    torch.testing.assert_close(loss.detach(), wanted.detach())
    for name, parameter in task.head.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-4, atol=1e-7)


def test_the_encoder_is_frozen(tiny: EncoderConfig, make: Make, make_trainer: MakeTrainer) -> None:
    data = make()
    task = built(tiny, data)
    before = {name: value.clone() for name, value in task.state_dict().items()}
    trainer = make_trainer(max_steps=4, max_epochs=-1)
    trainer.fit(task, datamodule=data)
    assert task.encoder is not None
    assert not any(p.requires_grad or p.grad is not None for p in task.encoder.parameters())
    task.train()
    assert not any(module.training for module in task.encoder.modules())
    trained = {id(p) for group in trainer.optimizers[0].param_groups for p in group["params"]}
    assert task.head is not None
    assert trained == {id(p) for p in task.head.parameters()}
    for name, value in task.state_dict().items():
        if name.startswith("encoder."):
            assert torch.equal(value, before[name]), name
        elif name.startswith("head."):
            assert not torch.equal(value, before[name]), name


def planted(encoder: Encoder, group: PackedBatch) -> Tensor:
    """Maps in which one head looks from residues of the first eleven letters at the tag."""
    n = group.n_tokens
    maps = torch.full((encoder.config.layers * encoder.config.heads, n, n), 1 / n)
    looks = torch.tensor([bool(token in LETTERS) for token in group.ids.tolist()])
    maps[1, looks] = 0.5 / n
    maps[1, looks, 0] += 0.5
    return maps


LETTERS: set[int] = set()


@pytest.fixture
def letters(make: Make) -> Iterator[None]:
    data = make()
    for letter in RESIDUES[:11]:  # 3 + 0.5 * 10 = 8 angstrom
        row = data.tokenizer.encode(letter, data.rows("train")[0].parts[0][1], record="letter")
        LETTERS.update(int(i) for i in row.ids)
    yield
    LETTERS.clear()


@pytest.mark.usefixtures("letters")
def test_a_pattern_in_maps_is_learnt_and_shuffled_labels_are_not(
    tiny: EncoderConfig,
    make: Make,
    make_trainer: MakeTrainer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # REFERENCE 6, 13.
    monkeypatch.setattr(Encoder, "maps_of_group", planted)
    found = {}
    for shuffled in (False, True):
        data = make(shuffled=shuffled, proteins=36, thresholds=[8.0])
        task = probe(tiny, data)
        trainer = make_trainer(max_steps=40, max_epochs=-1)
        trainer.fit(task, datamodule=data)
        trainer.test(task, datamodule=data, verbose=False)
        found[shuffled] = {score.metric: score.value for score in task.scores}
    assert found[False]["auroc"] > 0.95
    assert found[False]["f1"] > 0.9
    assert 0.35 < found[True]["auroc"] < 0.65


@pytest.mark.parametrize("tokenizer", ["character", "bpe"])
def test_every_residue_is_scored_with_its_token(
    tokenizer: str, tiny: EncoderConfig, make: Make, make_trainer: MakeTrainer,
    real_data: Path, tmp_path: Path,
) -> None:  # fmt: skip
    # REFERENCE 6, 5.
    bpe = str(real_data / "tokenizers" / "mixed_bpe.model")
    data = make(tokenizer=bpe if tokenizer == "bpe" else tokenizer)
    task = probe(tiny, data)
    trainer = make_trainer(ResultsWriter(), max_steps=3, max_epochs=-1)
    trainer.fit(task, datamodule=data)
    trainer.test(task, datamodule=data, verbose=False)
    written = pl.read_parquet(tmp_path / "predictions.parquet").filter(pl.col("output") == 0)
    rows = data.residue_rows("test")
    assert list(zip(written["row_id"], written["position"], strict=True)) == [
        (row.id, i) for row in rows for i in range(len(row.labels))
    ]
    for row in rows:
        own = written.filter(pl.col("row_id") == row.id)["prediction"].to_numpy()
        tokens = data.tokens_of(row)
        for token in np.unique(tokens):  # residues of one token have one prediction
            assert np.ptp(own[tokens == token]) == 0
    known = written.filter(pl.col("target").is_not_nan())
    score = {score.metric: score.value for score in task.scores}
    wanted = sk.roc_auc_score(known["target"].to_numpy().astype(int), known["prediction"])
    assert score["auroc_8A"] == pytest.approx(wanted, abs=1e-6)
    assert len(written) > len(known)  # one residue of each protein is not resolved


def test_heads_of_the_other_kind_are_refused(tiny: EncoderConfig, make: Make) -> None:
    data = make()
    states: Any = ResidueHead
    maps: Any = AttentionProbeHead
    with pytest.raises(ConfigError, match=r"reads states.*heads that fit: AttentionProbeHead"):
        AttentionProbeTask(tiny, head=states, n_outputs=3, vocab_size=data.vocab_size)
    with pytest.raises(ConfigError, match=r"AttentionProbeHead.*heads that fit: ResidueHead"):
        ResidueBinaryTask(tiny, head=maps, n_outputs=3, vocab_size=data.vocab_size)
