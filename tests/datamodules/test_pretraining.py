from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from biote.batch import MaskedBatch
from biote.corpora.shards import Corpus
from biote.corpora.windows import open_windows
from biote.datamodules.cursor import Cursor
from biote.datamodules.mixture import Mixture
from biote.datamodules.pretraining import CorpusSource, PretrainingDataModule
from biote.datamodules.shares import Share
from biote.datamodules.stream import BatchBuilder, TrainingStream
from biote.errors import CheckpointError, ConfigError
from biote.molecules import Molecule
from biote.tokenization import CharacterTokenizer

MakeCorpus = Callable[..., Path]
CONTEXT = 32
PROTEIN = "ARNDCQEGHILKMFPSTWYV"


def mixture(folders: list[Path], weights: list[float], *, seed: int = 0) -> Mixture:
    corpora = [Corpus(folder) for folder in folders]
    indices = [open_windows(corpus, context=CONTEXT, split="train") for corpus in corpora]
    return Mixture(corpora, indices, weights=weights, seed=seed)


def batches(folders: list[Path], *, share: Share, cursor: Cursor, tokens: int) -> list[MaskedBatch]:
    corpora = [Corpus(folder) for folder in folders]
    builder = BatchBuilder(corpora, CharacterTokenizer(), 0.15)
    stream = TrainingStream(
        mixture(folders, [1.0] * len(folders)),
        builder,
        share,
        cursor=cursor,
        tokens_per_step=200,
        tokens=tokens,
    )
    return list(stream)


def unmasked(batch: MaskedBatch) -> list[tuple[int, ...]]:
    """Token ids of every group before masking."""
    ids = batch.ids.clone()
    ids[batch.masked] = batch.targets
    ends = batch.cu_seqlens.tolist()
    return [tuple(ids[a:b].tolist()) for a, b in itertools.pairwise(ends)]


def test_every_token_of_every_record_is_seen_once_a_pass(make_corpus: MakeCorpus) -> None:
    # REFERENCE 6, 12: a long record must not be reduced to its head.
    folder = make_corpus("a", [5, 500, 31, 30, 29, 61, 90])
    corpus = Corpus(folder)
    index = open_windows(corpus, context=CONTEXT, split="train")
    run = mixture([folder], [1.0]).windows(Cursor.start(1), len(index))
    seen: Counter[tuple[int, int]] = Counter()
    for unit, start, stop in zip(run.units, run.starts, run.stops, strict=True):
        seen.update((int(unit), place) for place in range(start, stop))
    held_out = corpus.info.validation.is_validation(corpus.digests(np.arange(corpus.n_units)))
    lengths = corpus.lengths(np.arange(corpus.n_units))
    expected = {
        (unit, place)
        for unit in range(corpus.n_units)
        if not held_out[unit]
        for place in range(lengths[unit])
    }
    assert set(seen) == expected
    assert set(seen.values()) == {1}
    assert run.closes.sum() == (~held_out).sum()


def test_steps_hold_whole_windows_within_the_budget(make_corpus: MakeCorpus) -> None:
    folders = [make_corpus("a", [100] * 20), make_corpus("p", [40] * 20, letters=PROTEIN)]
    steps = list(
        mixture(folders, [0.8, 0.2]).steps(Cursor.start(2), tokens_per_step=200, tokens=5_000)
    )
    assert all(step.windows.lengths.sum() <= 200 for step in steps)
    assert all(step.windows.lengths.sum() > 200 - CONTEXT for step in steps)
    assert steps[-1].before.tokens < 5_000 <= steps[-1].after.tokens
    drawn = steps[-1].after.corpora
    assert drawn[0] / sum(drawn) == pytest.approx(0.8, abs=0.02)


def test_a_later_start_gives_the_rest_of_the_same_run(make_corpus: MakeCorpus) -> None:
    folders = [make_corpus("a", [100] * 20), make_corpus("p", [40] * 20, letters=PROTEIN)]
    share = Share(rank=0, world=1, accumulate=1)
    whole = batches(folders, share=share, cursor=Cursor.start(2), tokens=30_000)
    assert whole[-1].cursor[3] > 2 * 60  # several passes
    for at in (0, 7, 50):
        cursor = Cursor.from_flat(whole[at].cursor, corpora=2)
        rest = batches(folders, share=share, cursor=cursor, tokens=30_000)
        assert len(rest) == len(whole) - at - 1
        for one, other in zip(rest, whole[at + 1 :], strict=True):
            assert torch.equal(one.ids, other.ids)
            assert torch.equal(one.masked, other.masked)
            assert one.cursor == other.cursor


@pytest.mark.parametrize(("world", "accumulate"), [(2, 1), (1, 3), (3, 2)])
def test_ranks_and_micro_batches_share_the_same_global_steps(
    make_corpus: MakeCorpus, world: int, accumulate: int
) -> None:
    folder = make_corpus("a", [100, 3, 50] * 20)
    start = Cursor.start(1)
    alone = batches(
        [folder], share=Share(rank=0, world=1, accumulate=1), cursor=start, tokens=4_000
    )
    ranks = [
        batches(
            [folder],
            share=Share(rank=rank, world=world, accumulate=accumulate),
            cursor=start,
            tokens=4_000,
        )
        for rank in range(world)
    ]
    for step, whole in enumerate(alone):
        micro = range(step * accumulate, (step + 1) * accumulate)
        parts = [rank[i] for i in micro for rank in ranks]
        groups = [g for part in parts if not part.padding_tokens for g in unmasked(part)]
        assert Counter(groups) == Counter(unmasked(whole))
        # REFERENCE 6, 17: every part knows the masked tokens of the whole step.
        assert {part.step_masked for part in parts} == {whole.step_masked}
        assert sum(len(part.masked) for part in parts) == whole.step_masked == len(whole.masked)
        assert {part.cursor for part in parts} == {whole.cursor}


def test_special_tokens_are_never_masked_and_groups_hold_one_type(
    make_corpus: MakeCorpus,
) -> None:
    folders = [make_corpus("a", [100] * 20), make_corpus("p", [40] * 20, letters=PROTEIN)]
    share = Share(rank=0, world=1, accumulate=1)
    tokenizer = CharacterTokenizer()
    special = set(tokenizer.special_ids.tolist())
    masked = total = 0
    for batch in batches(folders, share=share, cursor=Cursor.start(2), tokens=20_000):
        assert not special & set(batch.targets.tolist())
        assert (batch.ids[batch.masked] == tokenizer.mask_id).all()
        assert (batch.positions[batch.first_tokens] == 0).all()
        ends = batch.cu_seqlens.tolist()
        for a, b in itertools.pairwise(ends):
            codes = set(batch.molecules[a:b].tolist())
            assert len(codes) == 1
            molecule = list(Molecule)[codes.pop()]
            assert batch.ids[a] == tokenizer.tag_id(molecule)
        masked += len(batch.masked)
        total += batch.n_tokens
    assert masked / total == pytest.approx(0.15, abs=0.02)


def module(folders: list[Path], **options: object) -> PretrainingDataModule:
    arguments: dict[str, object] = {
        "tokens": 5_000,
        "tokens_per_step": 200,
        "validation_tokens": 500,
    }
    return PretrainingDataModule(
        [CorpusSource(folder=folder) for folder in folders],
        CONTEXT,
        **(arguments | options),  # type: ignore[arg-type]
    )


def test_validation_windows_and_masks_are_fixed_and_not_in_training(
    make_corpus: MakeCorpus,
) -> None:
    # REFERENCE 6, 9: what validates must not be trained on.
    folders = [make_corpus("a", [60] * 60), make_corpus("p", [40] * 60, letters=PROTEIN)]
    data = module(folders)
    first, second = (list(data.val_dataloader()) for _ in range(2))
    assert first
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one.ids, other.ids)
        assert torch.equal(one.masked, other.masked)
    held_out = {group for batch in first for group in unmasked(batch)}
    trained = {group for batch in data.train_dataloader() for group in unmasked(batch)}
    assert not held_out & trained


def test_workers_give_the_same_batches_in_the_same_order(make_corpus: MakeCorpus) -> None:
    folder = make_corpus("a", [60] * 60)
    alone = list(module([folder]).train_dataloader())
    workers = list(module([folder], num_workers=2).train_dataloader())
    assert len(alone) == len(workers)
    for one, other in zip(alone, workers, strict=True):
        assert torch.equal(one.ids, other.ids)
        assert one.cursor == other.cursor


def test_corpora_of_different_tokenizers_are_refused(
    make_corpus: MakeCorpus, tmp_path: Path
) -> None:
    from biote.corpora.prepare import prepare

    folder = make_corpus("a", [60] * 10)
    other = tmp_path / "other"
    prepare([tmp_path / "a.fasta"], other, tokenizer=CharacterTokenizer("released"))
    with pytest.raises(ConfigError, match="another tokenizer"):
        module([folder, other]).corpora  # noqa: B018 - opening them is what fails


def test_a_checkpoint_of_other_corpora_is_refused(make_corpus: MakeCorpus) -> None:
    one, other = module([make_corpus("a", [60] * 10)]), module([make_corpus("b", [61] * 10)])
    state = {
        "cursor": None,
        "corpora": [corpus.fingerprint for corpus in one.corpora],
        "context": CONTEXT,
        "seed": 0,
        "mask_rate": 0.15,
    }
    one.load_state_dict(state)
    with pytest.raises(CheckpointError, match="other corpora"):
        other.load_state_dict(state)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tokens": 0}, r"data\.tokens: 0 tokens"),
        ({"tokens_per_step": 16}, "cannot hold a window of 32"),
        ({"mask_rate": 1.5}, r"data\.mask_rate"),
    ],
)
def test_impossible_settings_are_refused(
    make_corpus: MakeCorpus, options: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        module([make_corpus("a", [60])], **options)
