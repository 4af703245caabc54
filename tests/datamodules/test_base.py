from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from biote.batch import LabelledBatch
from biote.datamodules.base import LabelledDataModule
from biote.datamodules.rows import Row, Split, TargetKind, rows_fingerprint
from biote.errors import CheckpointError, ConfigError, DataError
from biote.molecules import Molecule


def row(name: str, target: float | tuple[float, ...], *, sequence: str = "MKV") -> Row:
    targets = target if isinstance(target, tuple) else (target,)
    return Row(id=name, parts=((sequence, Molecule.PROTEIN),), target=targets, group=name)


class Rows(LabelledDataModule):
    """Rows given in memory."""

    benchmark = "rows"
    unit = ""
    target_kind: TargetKind = "regression"

    def __init__(
        self,
        splits: Mapping[Split, list[Row]],
        *,
        batch_size: int = 4,
        context: int = 64,
        seed: int = 0,
    ) -> None:
        super().__init__(
            "character", context=context, batch_size=batch_size, seed=seed, num_workers=0
        )
        self._splits: dict[Split, list[Row]] = {"train": [], "validation": [], "test": []}
        self._splits |= splits

    def read_rows(self) -> Mapping[Split, list[Row]]:
        return self._splits

    @property
    def n_outputs(self) -> int:
        return len(self._splits["train"][0].target)


def on_rank(data: Rows, *, rank: int, world: int, accumulate: int = 1) -> list[LabelledBatch]:
    """The training batches of one of several ranks."""
    data.trainer = SimpleNamespace(
        global_step=0,
        limit_train_batches=1.0,  # type: ignore[assignment]
        global_rank=rank,
        world_size=world,
        accumulate_grad_batches=accumulate,
    )
    return list(data.train_dataloader())


def state(data: Rows) -> dict[str, object]:
    """What a checkpoint holds."""
    return data.state_dict()


def test_statistics_are_those_of_the_training_rows() -> None:
    data = Rows(
        {
            "train": [row("a", (1.0, 10.0)), row("b", (3.0, 30.0)), row("c", (8.0, 20.0))],
            "validation": [row("v", (1e6, -1e6))],
            "test": [row("t", (-1e6, 1e6))],
        }
    )
    mean, deviation = data.target_statistics
    np.testing.assert_allclose(mean, [4.0, 20.0])
    np.testing.assert_allclose(deviation, np.std([[1, 10], [3, 30], [8, 20]], axis=0))


def test_a_constant_target_is_refused() -> None:
    data = Rows({"train": [row("a", (1.0, 5.0)), row("b", (2.0, 5.0))]})
    with pytest.raises(DataError, match="same value in all training rows"):
        _ = data.target_statistics


@pytest.mark.parametrize(("world", "accumulate"), [(3, 1), (2, 2), (4, 2)])
def test_ranks_beyond_the_rows_get_padding_that_is_no_row(world: int, accumulate: int) -> None:
    data = Rows({"train": [row(str(i), float(i)) for i in range(2)]})
    ranks = [on_rank(data, rank=r, world=world, accumulate=accumulate) for r in range(world)]
    assert {len(batches) for batches in ranks} == {accumulate}
    batches = [batch for rank in ranks for batch in rank]
    assert sorted(name for batch in batches for name in batch.row_ids) == ["0", "1"]
    assert {batch.step_rows for batch in batches} == {2}
    idle = [batch for batch in batches if not batch.row_ids]
    assert len(idle) == world * accumulate - 2
    for batch in idle:
        assert batch.ids.tolist() == [data.tokenizer.pad_id]
        assert batch.targets.shape == (0, 1)
        assert batch.n_groups == 1


def test_a_batch_holds_its_rows_in_order() -> None:
    data = Rows(
        {"train": [row("t", 0.0), row("u", 1.0)],
         "test": [row("a", 1.5, sequence="MK"), row("b", 2.5, sequence="MKVLA")]}
    )  # fmt: skip
    (batch,) = list(data.test_dataloader())
    assert batch.row_ids == ("a", "b")
    assert batch.lengths == (4, 7)
    assert batch.targets.tolist() == [[1.5], [2.5]]
    assert batch.targets.dtype == torch.float32


def test_a_group_in_two_splits_is_refused() -> None:
    # REFERENCE 6, 2 (exact copies).
    data = Rows({"train": [row("a", 0.0), row("b", 1.0)], "test": [row("a", 2.0)]})
    with pytest.raises(DataError, match=r"group a of row a stands in train and in test; give"):
        data.rows("train")


def test_a_cluster_in_two_splits_is_refused() -> None:
    # REFERENCE 6, 2 (near copies).
    first, second = (replace(row(name, 0.0), cluster="c") for name in "ab")
    with pytest.raises(DataError, match=r"cluster c of row b stands in train and in validation"):
        Rows({"train": [first], "validation": [second]}).rows("train")


def test_training_without_rows_is_refused() -> None:
    with pytest.raises(DataError, match="rows: no training row"):
        Rows({"test": [row("a", 0.0)]}).setup("fit")


@pytest.mark.parametrize(
    ("stage", "split"), [("test", "test"), ("validate", "validation"), ("predict", "test")]
)
def test_an_empty_split_that_is_asked_for_is_refused(stage: str, split: str) -> None:
    data = Rows({"train": [row("a", 0.0), row("b", 1.0)]})
    data.setup("fit")
    with pytest.raises(DataError, match=f"no {split} row"):
        data.setup(stage)


def test_another_split_is_refused_on_resume() -> None:
    rows = [row(str(i), float(i)) for i in range(4)]
    stored = state(Rows({"train": rows[:3], "test": rows[3:]}))
    Rows({"train": rows[:3], "test": rows[3:]}).load_state_dict(stored)
    changed = [rows[0], rows[1], row("2", 2.5)]
    others: list[Mapping[Split, list[Row]]] = [
        {"train": rows[:2], "test": rows[2:]},
        {"train": rows[:3], "validation": rows[3:]},
        {"train": changed, "test": rows[3:]},
    ]
    for other in others:
        with pytest.raises(CheckpointError, match="trained on another split"):
            Rows(other).load_state_dict(stored)


@pytest.mark.parametrize("change", [{"batch_size": 3}, {"seed": 1}])
def test_a_resume_in_another_order_is_refused(change: dict[str, int]) -> None:
    # REFERENCE 6, 10: the number of steps would stand for other rows.
    rows: dict[Split, list[Row]] = {"train": [row(str(i), float(i)) for i in range(10)]}
    stored = state(Rows(rows, batch_size=2))
    Rows(rows, batch_size=2).load_state_dict(stored)
    with pytest.raises(CheckpointError, match=rf"data\.{next(iter(change))}: the checkpoint"):
        Rows(rows, **({"batch_size": 2} | change)).load_state_dict(stored)


def test_the_fingerprint_covers_ids_sequences_and_targets() -> None:
    rows = [row("a", 1.0), row("b", 2.0)]
    assert rows_fingerprint(rows) == rows_fingerprint(rows[::-1])
    for other in (row("c", 2.0), row("b", 2.5), row("b", 2.0, sequence="MKL")):
        assert rows_fingerprint([rows[0], other]) != rows_fingerprint(rows)


def test_trimmed_rows_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    # REFERENCE 6, 3: trimming is counted and reported.
    data = Rows(
        {"train": [row("a", 0.0), row("long", 1.0, sequence="MKVLA" * 4), row("b", 2.0)]},
        context=10,
    )
    with caplog.at_level(logging.INFO, logger="biote"):
        data.rows("train")
    assert "1 of 3 train rows have their protein trimmed to fit 10 tokens" in caplog.text
    assert "for example long" in caplog.text


def test_settings_that_cannot_work_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.batch_size: 0 rows; give 1 or more"):
        Rows({}, batch_size=0)
    with pytest.raises(ConfigError, match=r"data\.tokenizer: no tokenizer"):
        LabelledDataModule.__init__(
            object.__new__(Rows), None, context=8, batch_size=1, seed=0, num_workers=0
        )
