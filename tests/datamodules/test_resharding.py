"""A run that goes on with another number of ranks: nothing is lost and nothing repeated."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from lightning.pytorch.trainer.states import TrainerFn

from biote.batch import MaskedBatch
from biote.corpora.shards import Corpus
from biote.corpora.windows import WindowIndex, open_windows
from biote.datamodules.cursor import Cursor
from biote.datamodules.mixture import Mixture
from biote.datamodules.pretraining import PretrainingDataModule
from biote.datamodules.sampler import SLOTS
from biote.molecules import MOLECULES
from biote.tokenization import CharacterTokenizer

MakeCorpus = Callable[..., Path]
MakeModule = Callable[..., PretrainingDataModule]
PROTEIN = "ARNDCQEGHILKMFPSTWYV"
WEIGHTS = (0.7, 0.3)
PAD = CharacterTokenizer().pad_id
Window = tuple[tuple[int, ...], tuple[int, ...]]


def windows(batch: MaskedBatch) -> list[Window]:
    """Token ids of every window and the places that are masked, padding left out."""
    ids = batch.ids.clone()
    ids[batch.masked] = batch.targets
    hidden = (batch.ids != ids).int()
    ends = batch.cu_seqlens.tolist()
    found = [
        (tuple(ids[a:b].tolist()), tuple(hidden[a:b].tolist())) for a, b in itertools.pairwise(ends)
    ]
    return [window for window in found if PAD not in window[0]]


@pytest.mark.parametrize("pad_to_budget", [False, True])
@pytest.mark.parametrize("num_workers", [0, 2])
def test_one_two_three_and_again_one_rank_use_every_window_once_a_pass(
    make_corpus: MakeCorpus, make_module: MakeModule, pad_to_budget: bool, num_workers: int
) -> None:
    folders = [
        make_corpus("n", [100, 7, 61, 33, 12] * 12),
        make_corpus("p", [9, 25, 14, 40, 18, 5] * 10, letters=PROTEIN, seed=1),
    ]
    used: Counter[Window] = Counter()
    cursor = Cursor.start(2)
    state: dict[str, Any] | None = None
    for phase, (world, accumulate) in enumerate([(1, 1), (2, 1), (3, 2), (1, 2)]):
        before, ends = state, set()
        for rank in range(world):
            data = make_module(
                folders,
                rank=rank,
                world=world,
                accumulate=accumulate,
                weights=WEIGHTS,
                tokens=(phase + 1) * 6_000,
                num_workers=num_workers,
                pad_to_budget=pad_to_budget,
            )
            if before is not None:
                data.load_state_dict(before)
            for batch in data.train_dataloader():
                used.update(windows(batch))
            ends.add(batch.cursor)
        (end,) = ends
        cursor = Cursor.from_flat(end, corpora=2)
        state = data.state_dict() | {"cursor": end}
    waiting = np.array(cursor.pending, np.int64).reshape(-1, 2)
    assert bool(len(waiting)) == pad_to_budget
    # The shares are exact in the order of the mixture.
    assert sum(cursor.corpora) == cursor.windows
    assert abs(cursor.corpora[0] - WEIGHTS[0] * cursor.windows) < 2
    # Windows and masks are those of the passes, each once but those that wait.
    corpora = [Corpus(folder) for folder in folders]
    indices = [open_windows(corpus, context=32, split="train") for corpus in corpora]
    assert all(drawn > len(index) for drawn, index in zip(cursor.corpora, indices, strict=True))
    places = np.array([(i, n) for i, drawn in enumerate(cursor.corpora) for n in range(drawn)])
    left = {tuple(window) for window in waiting.tolist()}
    places = np.array([place for place in places.tolist() if tuple(place) not in left])
    run = Mixture(corpora, indices, weights=WEIGHTS, seed=0).at(places[:, 0], places[:, 1])
    masks = np.split(run.masked(0.15).astype(int), np.cumsum(run.lengths)[:-1])
    tokenizer = corpora[0].tokenizer
    expected: Counter[Window] = Counter()
    for i, mask in enumerate(masks):
        corpus, unit = corpora[run.corpora[i]], int(run.units[i])
        molecule = MOLECULES[int(corpus.molecule_codes(run.units[i : i + 1])[0])]
        bare = corpus.tokens(unit, int(run.starts[i]), int(run.stops[i])).tolist()
        end = [tokenizer.eos_id(molecule.modality)] if run.closes[i] else []
        expected[(tokenizer.tag_id(molecule), *bare, *end), tuple(mask.tolist())] += 1
    assert used == expected


def anonymous_kb() -> int:
    """Memory of this process that no file stands behind, in kB."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0])


@pytest.mark.parametrize("parts", [None, 4])
def test_an_order_of_a_billion_windows_costs_neither_memory_nor_time(
    make_corpus: MakeCorpus, tmp_path: Path, parts: int | None
) -> None:
    corpus = Corpus(make_corpus("n", [20] * 1_000))
    n, path = 10**9, tmp_path / "sparse.u64"
    rng = np.random.default_rng(0)
    with path.open("wb") as out:
        out.truncate(8 * n)  # 8 GB, all of it a hole but for the windows that are written
        for window in rng.integers(0, n, 2_000).tolist():
            out.seek(8 * window)
            out.write((int(rng.integers(0, 900)) << 24).to_bytes(8, "little"))
    if path.stat().st_blocks * 512 > 100e6:
        pytest.skip("the file system has no sparse files")
    before, began = anonymous_kb(), time.perf_counter()
    mixture = Mixture([corpus], [WindowIndex(corpus, path, context=32)], weights=[1.0], seed=0)
    assert len(WindowIndex(corpus, path, context=32)) == n
    used: set[int] = set()
    for drawn in (0, n // 3, n - 5, 7 * n + 12_345):
        cursor = Cursor(step=drawn, tokens=0, windows=drawn, corpora=(drawn,))
        steps = mixture.steps(cursor, tokens_per_step=4_096, tokens=200_000, parts=parts)
        for step in steps:
            assert step.after.tokens > step.before.tokens
            ordinals = step.windows.ordinals.tolist()
            assert len(used & set(ordinals)) == 0
            used.update(ordinals)
        assert step.after.windows - drawn > 5_000
    assert time.perf_counter() - began < 20
    assert anonymous_kb() - before < 50_000


@pytest.mark.parametrize("pad_to_budget", [False, True])
def test_shares_are_exact_over_any_ten_thousand_windows_of_the_order(
    make_corpus: MakeCorpus, pad_to_budget: bool
) -> None:
    corpora = [Corpus(make_corpus(name, [20] * 30, seed=i)) for i, name in enumerate("abc")]
    indices = [open_windows(corpus, context=32, split="train") for corpus in corpora]
    mixture = Mixture(corpora, indices, weights=[0.5, 0.3333, 0.1667], seed=0)
    run = mixture.windows(Cursor.start(3), 3 * SLOTS)
    for begin in (0, 1, 777, 9_999, 2 * SLOTS):
        counts = np.bincount(run.corpora[begin : begin + SLOTS], minlength=3)
        assert counts.tolist() == [5_000, 3_333, 1_667]
    ordinals = [run.ordinals[run.corpora == corpus] for corpus in range(3)]
    for drawn in ordinals:
        assert (drawn == np.arange(len(drawn))).all()
    parts = 2 if pad_to_budget else None
    steps = mixture.steps(Cursor.start(3), tokens_per_step=2_048, tokens=400_000, parts=parts)
    *_, last = steps
    assert last.after.corpora == tuple(
        np.bincount(run.corpora[: last.after.windows], minlength=3).tolist()
    )


@pytest.mark.parametrize("fitting", [False, True])
def test_sidecars_are_built_before_the_ranks_need_them(
    make_corpus: MakeCorpus, make_module: MakeModule, fitting: bool
) -> None:
    folder = make_corpus("n", [60] * 20)
    data = make_module([folder])
    trainer: Any = data.trainer
    trainer.state = SimpleNamespace(fn=TrainerFn.FITTING if fitting else TrainerFn.VALIDATING)
    data.prepare_data()
    built = sorted(path.name.split("-")[1] for path in (folder / "windows").iterdir())
    assert built == ["train", "validation"][not fitting :]
