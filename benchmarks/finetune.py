"""Fine-tuning on ProNAB: packed batches against one sample at a time with accumulated gradients.

Run: python benchmarks/finetune.py. The rows are those of $BIOTE_DATA, or synthetic ones in the same
format where it is not set. Both ways take the same rows in the same steps of 64 with the same
encoder of width 32, the same loss and optimiser, and come to the same gradients, which is checked.
The last line is one JSON object:

packed_tokens_per_s, single_tokens_per_s: tokens of a second, forward, backward and optimiser step;
    medians of the repeats, which take turns.
packed_vs_single: median over the repeats of the ratio of the two.
gradient_difference: largest difference of the two gradients over the largest gradient.
rows, tokens_per_row: what was measured on.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import torch
from torch import nn

from biote.batch import LabelledBatch
from biote.datamodules.base import LabelledDataModule
from biote.datamodules.pronab import PronabDataModule
from biote.modules.config import EncoderConfig
from biote.modules.encoder import Encoder
from biote.modules.heads.delta_g import DeltaGHead
from biote.modules.mup import FineTuningOptimizer
from biote.synthetic.dataset import write_all

STEP_ROWS = 64
MICRO_BATCH_ROWS = 64
STEPS = 1
REPEATS = 5
ENCODER = EncoderConfig(width=32, layers=4, heads=2, context=1024)


class Model(nn.Module):
    """Encoder and head as RegressionTask has them."""

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.encoder = Encoder(ENCODER, vocab_size, seed=0)
        self.head = DeltaGHead(ENCODER.width, 1)
        nn.init.normal_(self.head.readout.weight, std=0.01)  # at zero the encoder has no gradient

    def loss(self, batch: LabelledBatch) -> torch.Tensor:
        """Summed squared error of a batch, divided by the rows of a step."""
        predictions = self.head(self.encoder(batch), batch)
        errors = (predictions - (batch.targets + 10.0) / 2.0).square()
        total: torch.Tensor = errors.sum() / STEP_ROWS
        return total


def data_module(root: Path, folder: Path, *, batch_size: int) -> PronabDataModule:
    """Rows of ProNAB in the order of one seed, whatever the size of a batch."""
    return PronabDataModule(
        root,
        "character",
        batch_size=batch_size,
        fold=0,
        fold_file=folder / "folds.parquet",
        validation="none",
        context=ENCODER.context,
    )


def batches(data: LabelledDataModule, rows: int) -> list[LabelledBatch]:
    """Batches of the first rows of the first epoch."""
    found: list[LabelledBatch] = []
    loader = iter(data.train_dataloader())
    while sum(len(batch.row_ids) for batch in found) < rows:
        found.append(next(loader))
    return found


def gradient(model: Model, parts: list[LabelledBatch]) -> torch.Tensor:
    """The gradient of a step's rows, accumulated over parts."""
    model.zero_grad()
    for part in parts:
        model.loss(part).backward()
    return torch.cat([p.grad.reshape(-1) for p in model.parameters() if p.grad is not None])


def speed(model: Model, parts: list[LabelledBatch], *, per_step: int) -> float:
    """Tokens of a second in training."""
    settings = FineTuningOptimizer()
    groups = settings.groups(model, ENCODER.width)
    optimizer = torch.optim.AdamW(groups, betas=settings.betas, eps=settings.eps)
    began = time.perf_counter()
    for start in range(0, len(parts), per_step):
        optimizer.zero_grad()
        for part in parts[start : start + per_step]:
            model.loss(part).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return sum(part.n_tokens for part in parts) / (time.perf_counter() - began)


def main() -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        root = Path(os.environ.get("BIOTE_DATA", folder / "synthetic"))
        if not root.is_dir():
            write_all(root, seed=0, size="small")
        rows = STEPS * STEP_ROWS
        packed = batches(data_module(root, folder, batch_size=MICRO_BATCH_ROWS), rows)
        single = batches(data_module(root, folder, batch_size=1), rows)
    assert [r for b in packed for r in b.row_ids] == [r for b in single for r in b.row_ids]
    model = Model(vocab_size=49)
    parts = STEP_ROWS // MICRO_BATCH_ROWS
    one, other = gradient(model, packed[:parts]), gradient(model, single[:STEP_ROWS])
    difference = float((one - other).abs().max() / other.abs().max())
    assert difference < 1e-3, difference
    speed(model, packed[:parts], per_step=parts)  # warms up
    runs = [
        (
            speed(model, packed, per_step=parts),
            speed(model, single, per_step=STEP_ROWS),
        )
        for _ in range(REPEATS)
    ]
    tokens = sum(batch.n_tokens for batch in single)
    print(f"{rows} rows of {tokens / rows:.0f} tokens, width {ENCODER.width}, one thread")
    figures = {
        "packed_tokens_per_s": round(statistics.median(run[0] for run in runs)),
        "single_tokens_per_s": round(statistics.median(run[1] for run in runs)),
        "packed_vs_single": round(statistics.median(a / b for a, b in runs), 3),
        "gradient_difference": difference,
        "rows": rows,
        "tokens_per_row": round(tokens / rows, 1),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
