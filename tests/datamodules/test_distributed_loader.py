"""Two processes over gloo, under DDP and under FSDP, and one before and after them."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from biote.corpora.prepare import prepare
from biote.tokenization import CharacterTokenizer

SCRIPT = Path(__file__).with_name("distributed_loader.py")
Batch = dict[str, Any]


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory, run_two: Callable[..., Any]) -> Path:
    """What one process, then two, then one again, and one without a break were given."""
    folder = tmp_path_factory.mktemp("runs")
    corpora = []
    for name, letters in (("n", "ACGT"), ("p", "ARNDCQEGHILKMFPSTWYV")):
        fasta = folder / f"{name}.fasta"
        records = ((letters * 30)[i : i + 5 + i * 7 % 60] for i in range(70))
        fasta.write_text("".join(f">{i}\n{sequence}\n" for i, sequence in enumerate(records)))
        prepare([fasta], folder / name, tokenizer=CharacterTokenizer(), validation_fraction=0.1)
        corpora.append(folder / name)
    script = runpy.run_path(str(SCRIPT))
    run: Callable[..., None] = script["run"]
    steps: int = script["STEPS"]
    run(folder, corpora, name="one", steps=steps)
    run_two(
        [SCRIPT, folder, *corpora],
        meanwhile=lambda: run(folder, corpora, name="whole", steps=3 * steps),
    )
    run(folder, corpora, name="last", steps=3 * steps, checkpoint=folder / "ddp.ckpt")
    return folder


def given(folder: Path, name: str, *, ranks: int = 1) -> list[Batch]:
    """The batches of a run in their order, those of all ranks."""
    by_rank = [
        torch.load(folder / f"{name}-{rank}.pt", weights_only=False) for rank in range(ranks)
    ]
    return [batch for batches in zip(*by_rank, strict=True) for batch in batches]


def assert_equal(batches: list[Batch], others: list[Batch]) -> None:
    assert len(batches) == len(others) > 0
    for one, other in zip(batches, others, strict=True):
        for name in ("ids", "masked", "targets"):
            assert torch.equal(one[name], other[name])
        for name in ("lengths", "step", "cursor", "padding_tokens"):
            assert one[name] == other[name]


@pytest.mark.parametrize("between", ["ddp", "fsdp"])
def test_two_processes_go_on_where_one_stood(output: Path, between: str) -> None:
    # Micro-batches are as many: two of one process, or one of each of two.
    whole = given(output, "whole")
    first, second = given(output, "one"), given(output, between, ranks=2)
    assert_equal(first + second, whole[: len(first) + len(second)])
    assert {len(batch["ids"]) for batch in whole} == {192}
    assert [batch["step"] for batch in second] == [4, 4, 5, 5, 6, 6, 7, 7]


def test_one_process_goes_on_where_two_stood(output: Path) -> None:
    whole, last = given(output, "whole"), given(output, "last")
    assert_equal(last, whole[-len(last) :])
    assert len(last) == 8


def test_a_sharded_checkpoint_holds_the_place_in_the_data(output: Path) -> None:
    assert (output / "fsdp.ckpt").is_dir()
    whole, again = given(output, "whole"), given(output, "fsdp-again", ranks=2)
    assert_equal(again, whole[-len(again) :])
    assert len(again) == 8
