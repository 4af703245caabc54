from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import finetune, gpu, plain, train_step
from benchmarks.batch_search import Trial, search
from biote.modules.config import EncoderConfig
from biote.synthetic.dataset import write_all
from biote.tasks.flops import model_flops

ROOT = Path(__file__).parents[2]
CONFIG = EncoderConfig(width=32, layers=2, heads=2, context=64)
SETTING = train_step.Setting(config=CONFIG, vocab_size=61, rows=2, document=(10, 30))
CPU = torch.device("cpu")


def last_line(*command: str) -> dict[str, float]:
    shown = subprocess.run(
        [sys.executable, *command], check=True, capture_output=True, text=True, cwd=ROOT
    ).stdout
    figures: dict[str, float] = json.loads(shown.splitlines()[-1])
    return figures


def test_train_step_reports_every_figure_in_both_precisions() -> None:
    options = "--width 64 --layers 1 --context 128 --tokens 256 --pieces 512 --repeats 1"
    figures = last_line("benchmarks/train_step.py", *options.split())
    budgets = {"char_vs_plain", "bpe64k_vs_plain", "step_vs_matmul"}
    speeds = {
        f"{name}_tokens_per_s{whose}"
        for name in ("char", "bpe64k")
        for whose in ("", "_plain", "_plain_fused", "_matmul")
    }
    others = {"char_vs_plain_fused", "bpe64k_vs_plain_fused", "bpe64k_step_vs_matmul"}
    wanted = budgets | speeds | others
    assert set(figures) == wanted | {f"{name}_bf16" for name in wanted}
    assert all(math.isfinite(figure) and figure > 0 for figure in figures.values())


def test_both_steps_have_the_same_loss_and_gradient() -> None:
    train_step.check_same(SETTING, train_step.make_batch(SETTING, seed=0))


def open_mask(documents: Tensor) -> Tensor:
    rows, tokens = documents.shape
    return torch.zeros(rows, 1, tokens, tokens)


def no_turn(part: Tensor, turns: Tensor) -> Tensor:
    return part


@pytest.mark.parametrize(
    ("name", "broken"), [("document_mask", open_mask), ("rotate", no_turn)], ids=["mask", "rotary"]
)
def test_a_plain_step_that_computes_something_else_is_not_timed(
    name: str, broken: Callable[..., Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plain, name, broken)
    with pytest.raises(AssertionError, match=r"loss|gradient_norm"):
        train_step.check_same(SETTING, train_step.make_batch(SETTING, seed=0))


def test_a_batch_fills_its_rows_with_documents_and_masks_no_type_tag() -> None:
    batch = train_step.make_batch(SETTING, seed=1)
    assert batch.n_tokens == SETTING.rows * CONFIG.context == sum(batch.lengths)
    assert CONFIG.context in batch.cu_seqlens.tolist()
    assert (batch.positions[batch.masked] > 0).all()
    assert (batch.ids[batch.masked] == train_step.MASK_ID).all()
    assert 0.05 < len(batch.masked) / batch.n_tokens < 0.3


def test_the_bare_products_are_the_operations_of_the_model() -> None:
    batch = train_step.make_batch(SETTING, seed=2)
    bare = plain.BareProducts(CONFIG, SETTING.vocab_size, batch, dtype=torch.float32)
    with FlopCounterMode(display=False) as counter:
        bare(batch)
    needed = model_flops(CONFIG, batch.lengths, len(batch.masked), SETTING.vocab_size)
    assert counter.get_total_flops() == needed


def fits_up_to(limit: int, *, speed: Callable[[int], float]) -> Callable[[int, bool], Trial]:
    def attempt(tokens: int, checkpointing: bool) -> Trial:
        room = 2 * limit if checkpointing else limit
        found = speed(tokens) * (0.75 if checkpointing else 1) if tokens <= room else None
        return Trial(tokens=tokens, checkpointing=checkpointing, tokens_per_s=found)

    return attempt


def test_search_doubles_until_it_does_not_fit_then_tries_three_quarters() -> None:
    best, trials = search(fits_up_to(3_000, speed=float), first=1_000, most=100_000)
    assert [(t.tokens, t.checkpointing) for t in trials] == [
        *((tokens, False) for tokens in (1_000, 2_000, 4_000, 3_000)),
        *((tokens, True) for tokens in (1_000, 2_000, 4_000, 8_000, 6_000)),
    ]
    assert best is not None
    assert (best.tokens, best.checkpointing) == (6_000, True)


def test_search_ends_where_more_tokens_bring_nothing() -> None:
    attempt = fits_up_to(10**9, speed=lambda tokens: float(min(tokens, 2_000)))
    best, trials = search(attempt, first=1_000, most=100_000)
    assert [t.tokens for t in trials] == [1_000, 2_000, 4_000] * 2
    assert best is not None
    assert (best.tokens, best.checkpointing) == (2_000, False)


def test_search_finds_nothing_where_nothing_fits() -> None:
    best, trials = search(fits_up_to(100, speed=float), first=1_000, most=8_000)
    assert best is None
    assert [(t.tokens, t.tokens_per_s) for t in trials] == [(1_000, None), (1_000, None)]
    assert str(trials[0]) == "1,000 tokens without activation checkpointing do not fit"


@pytest.fixture(scope="module")
def loader(tmp_path_factory: pytest.TempPathFactory) -> gpu.Loader:
    folder = tmp_path_factory.mktemp("corpora")
    return gpu.Loader(folder, context=CONFIG.context, letters=60_000, workers=1)


def test_gpu_without_a_gpu_says_so_in_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main([]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    assert "CUDA" in shown.err


@pytest.mark.parametrize(
    ("name", "millions"), [("small", 88.1), ("medium", 675), ("large", 1_310), ("xl", 2_270)]
)
def test_the_sizes_are_those_of_the_paper(name: str, millions: float) -> None:
    config = gpu.SIZES[name]
    weights = 10 * config.layers * config.width**2 + gpu.VOCABULARY * config.width
    assert config.head_width == 128
    assert weights / 1e6 == pytest.approx(millions, rel=0.01)


def test_gpu_measures_profiles_and_feeds_a_size(
    loader: gpu.Loader, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "FED_BATCHES", 2)
    monkeypatch.setattr(gpu, "LOADED_BATCHES", 2)
    figures = gpu.measure("tiny", CONFIG, loader, device=CPU, vocab_size=61, first=256, most=512)
    assert figures is not None
    assert figures["mfu"] is None  # a processor has no peak in the table
    assert figures["peak_memory_gb"] is None
    assert figures["micro_batch_tokens"] in (256, 512)
    for name in ("tokens_per_s", "model_tflops_per_s", "loader_tokens_per_s", "fed_tokens_per_s"):
        assert figures[name] > 0
    # A token of this size needs so many operations, give or take the length of its group.
    per_token = 1e12 * figures["model_tflops_per_s"] / figures["tokens_per_s"]
    matrices = 6 * 10 * CONFIG.width**2 * CONFIG.layers
    assert (
        matrices
        < per_token
        < matrices + 12 * CONFIG.width * CONFIG.layers * CONFIG.context + (6 * 61 * CONFIG.width)
    )
    shown = capsys.readouterr().out
    assert "tiny: 256 tokens without activation checkpointing: " in shown
    assert "tiny: 256 tokens with activation checkpointing: " in shown
    assert "aten::mm" in shown


def test_what_does_not_fit_leaves_nothing_behind(
    loader: gpu.Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = train_step.BioteStep(CONFIG, 61, precision="bf16", device=CPU)

    def too_large(*_: object) -> None:
        weight = next(step.task.parameters())
        step.optimizer.state[weight] = {"step": torch.tensor(0.0)}  # and no moments
        raise torch.OutOfMemoryError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(step.task, "training_step", too_large)
        assert gpu.attempt(step, loader, 256, False).tokens_per_s is None
    assert not step.optimizer.state
    assert gpu.attempt(step, loader, 256, False).speed > 0


def test_fine_tuning_packed_and_one_at_a_time_is_the_same_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_all(tmp_path, seed=0, size="tiny")
    for name, value in (("STEP_ROWS", 8), ("STEPS", 1)):
        monkeypatch.setattr(finetune, name, value)
    pairs = finetune.compare(tmp_path, tmp_path, "character", width=16, repeats=1)
    assert pairs[0][0].tokens > 0
    assert finetune.ratio(pairs) > 0
    assert finetune.difference(pairs) < 1e-4
