"""Fine-tuning on ProNAB: packed batches against one sample at a time with accumulated gradients.

Run: python benchmarks/finetune.py [--threads N] [--repeats N]. The rows are those of $BIOTE_DATA,
or synthetic ones in the same format where it is not set; the byte-pair encoding of 1,024 pieces is
trained on the sequences of the same folder. Both ways are `trainer.fit` of the same RegressionTask
with four layers on the same rows in the same steps of 64, proteins trimmed to about 480 residues:
once as one packed batch, once in 64 passes of one row (`accumulate_grad_batches: 64`). Their first
gradients are compared. The last line is one JSON object:

packed_tokens_per_s, single_tokens_per_s: tokens of a second of the training loop with BPE and width
    16, medians of the repeats, which take turns; the first step is not counted.
packed_vs_single: median over the repeats of the ratio of the two.
packed_vs_single_width_32: the same with width 32, where the work of a row hides more of the cost of
    a pass.
packed_vs_single_character: the same with characters and width 16, where a row is longer and
    attention inside it, the same work in both, a larger part.
gradient_difference: largest difference of the two first gradients over the largest gradient, worst
    of the three.
tokens_per_row, tokens_per_row_character, threads: what was measured.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from biote.batch import PackedBatch
from biote.cli import main as biote
from biote.datamodules.pronab import PronabDataModule
from biote.modules.config import EncoderConfig
from biote.modules.heads.delta_g import DeltaGHead
from biote.synthetic.dataset import write_all
from biote.tasks.regression import RegressionTask

STEP_ROWS = 64
STEPS = 4
PIECES = 1_024
CONTEXT = {"BPE": 256, "character": 512}
"""Tokens that proteins are trimmed to: about 480 residues in both."""


class Clock(Callback):
    """Tokens, seconds and the first gradient of a run."""

    def __init__(self) -> None:
        self.tokens = 0
        self.gradient = torch.empty(0)
        self._began = 0.0
        self.tokens_per_s = 0.0

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the readout: from zero the encoder has no gradient in the first step."""
        assert isinstance(pl_module, RegressionTask)
        assert pl_module.head is not None
        generator = torch.Generator().manual_seed(0)
        for parameter in pl_module.head.parameters():
            nn.init.normal_(parameter, std=0.01, generator=generator)

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Any
    ) -> None:
        """Keep the first gradient."""
        if trainer.global_step == 0:
            parts = [p.grad.reshape(-1) for p in pl_module.parameters() if p.grad is not None]
            self.gradient = torch.cat(parts).clone()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Tensor,  # type: ignore[override]
        batch: PackedBatch,
        batch_idx: int,
    ) -> None:
        """Count from the end of the first step."""
        if trainer.global_step == 0:
            return
        if self._began == 0.0:
            self._began = time.perf_counter()
            return
        self.tokens += batch.n_tokens
        self.tokens_per_s = self.tokens / (time.perf_counter() - self._began)


def train(root: Path, folder: Path, tokenizer: str, *, width: int, packed: bool) -> Clock:
    """Fine-tune for a few steps."""
    data = PronabDataModule(
        root,
        tokenizer,
        batch_size=STEP_ROWS,
        fold=0,
        fold_file=folder / "folds.parquet",
        validation="none",
        context=CONTEXT["character" if tokenizer == "character" else "BPE"],
    )
    encoder = EncoderConfig(width=width, layers=4, heads=1, context=512)
    model = RegressionTask(encoder, head=_head, n_outputs=1, vocab_size=data.vocab_size)
    clock = Clock()
    trainer = Trainer(
        accelerator="cpu",
        max_steps=STEPS + 1,
        accumulate_grad_batches=1 if packed else STEP_ROWS,
        gradient_clip_val=1.0,
        callbacks=[clock],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    trainer.fit(model, datamodule=data)
    return clock


def _head(width: int, n_outputs: int) -> DeltaGHead:
    return DeltaGHead(width, n_outputs)


def compare(
    root: Path, folder: Path, tokenizer: str, *, width: int, repeats: int
) -> list[tuple[Clock, Clock]]:
    """Runs of both ways in turns; the first pair warms up and is not kept."""
    pairs = []
    for _ in range(repeats + 1):
        packed = train(root, folder, tokenizer, width=width, packed=True)
        single = train(root, folder, tokenizer, width=width, packed=False)
        if packed.tokens != single.tokens:
            raise RuntimeError(f"{packed.tokens} tokens packed, {single.tokens} one at a time")
        pairs.append((packed, single))
    return pairs[1:]


def ratio(pairs: list[tuple[Clock, Clock]]) -> float:
    """Median ratio of speeds."""
    return statistics.median(one.tokens_per_s / other.tokens_per_s for one, other in pairs)


def difference(pairs: list[tuple[Clock, Clock]]) -> float:
    """Largest relative difference of first gradients."""
    return max(
        float((one.gradient - other.gradient).abs().max() / other.gradient.abs().max())
        for one, other in pairs
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        root = Path(os.environ.get("BIOTE_DATA", folder / "synthetic"))
        if not root.is_dir():
            write_all(root, seed=0, size="small")
        pieces = folder / "tokenizer"
        sources = [str(root / "genbank"), str(root / "fasta")]
        status = biote(
            ["tokenizer", "train", *sources, "--output", str(pieces), "--pieces", str(PIECES)]
        )
        if status:
            raise SystemExit(status)
        repeats = arguments.repeats
        bpe = compare(root, folder, str(pieces), width=16, repeats=repeats)
        wider = compare(root, folder, str(pieces), width=32, repeats=repeats)
        character = compare(root, folder, "character", width=16, repeats=repeats)
    rows = STEPS * STEP_ROWS
    figures = {
        "packed_tokens_per_s": round(statistics.median(one.tokens_per_s for one, _ in bpe)),
        "single_tokens_per_s": round(statistics.median(one.tokens_per_s for _, one in bpe)),
        "packed_vs_single": round(ratio(bpe), 3),
        "packed_vs_single_width_32": round(ratio(wider), 3),
        "packed_vs_single_character": round(ratio(character), 3),
        "gradient_difference": max(difference(pairs) for pairs in (bpe, wider, character)),
        "tokens_per_row": round(bpe[0][0].tokens / rows, 1),
        "tokens_per_row_character": round(character[0][0].tokens / rows, 1),
        "threads": arguments.threads,
    }
    if figures["gradient_difference"] > 1e-3:
        raise RuntimeError(f"the gradients differ: {figures['gradient_difference']}")
    print(f"{rows} rows in steps of {STEP_ROWS}")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
