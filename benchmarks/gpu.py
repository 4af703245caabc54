"""The training step on one GPU in bf16: the four sizes, as many tokens at a time as pay.

Run: python benchmarks/gpu.py [--sizes small medium large xl]. The step is that of
`benchmarks.train_step` with compiled blocks, context 1,024 and 4,096 token ids, on batches that the
data loader made. For every size, with and without activation checkpointing, the tokens of a
micro-batch are doubled until they do not fit or bring nothing more; the fastest is profiled and
then fed by the loader. Weights, gradients and optimiser states are float32. Without a CUDA device
it says so and exits with 2.

The last line is one JSON object: device, torch, and for every size

micro_batch_tokens, activation_checkpointing: the fastest combination.
tokens_per_s: tokens of a second, padding left out, on batches that are on the device already.
model_tflops_per_s: model operations of a second, see biote.tasks.flops; nothing computed twice.
mfu: those over the peak of the device; null where it is not known.
peak_memory_gb: most memory of the device that tensors took, in 10^9 bytes.
loader_tokens_per_s: tokens of a second that the loader gives where nothing else runs.
fed_tokens_per_s: tokens of a second of training on batches that come from the loader meanwhile.

A size that does not fit is null.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from benchmarks.batch_search import Trial, search
from benchmarks.loader import LETTERS, write_fasta
from benchmarks.train_step import BioteStep
from biote.batch import MaskedBatch
from biote.corpora.prepare import prepare
from biote.datamodules.pretraining import CorpusSource, PretrainingDataModule
from biote.modules.config import Compute, EncoderConfig
from biote.tasks.flops import batch_flops, device_name, peak_flops
from biote.tokenization import CharacterTokenizer

CONTEXT = 1_024
VOCABULARY = 4_096
SIZES = {
    name: EncoderConfig(width=128 * layers, layers=layers, heads=layers, context=CONTEXT)
    for name, layers in (("small", 8), ("medium", 16), ("large", 20), ("xl", 24))
}
LETTERS_OF_A_CORPUS = 20_000_000
MEAN_LENGTH = 3_000
WARM_UP = 3
BATCHES = 2
ROUNDS = 3
LOADED_BATCHES = 50
FED_BATCHES = 20
PROFILED_STEPS = 2


class Loader:
    """Batches of two corpora of random sequences, padded to the same number of tokens.

    The character tokenizer's ids are a part of the vocabulary that is measured: what loading and
    training cost does not depend on which ids occur.

    Args:
        folder: Empty folder for the corpora.
        context: Most tokens of a group.
        letters: Letters of each corpus.
        workers: Processes that build batches.
    """

    def __init__(self, folder: Path, *, context: int, letters: int, workers: int) -> None:
        self._context, self._workers = context, workers
        self._sources = []
        for name, alphabet in LETTERS.items():
            fasta = folder / f"{name}.fasta"
            write_fasta(
                fasta, alphabet, records=letters // MEAN_LENGTH, mean_length=MEAN_LENGTH, seed=0
            )
            prepare([fasta], folder / name, tokenizer=CharacterTokenizer())
            self._sources.append(CorpusSource(folder=folder / name))

    def batches(self, tokens: int, *, workers: int | None = None) -> Iterator[MaskedBatch]:
        """Micro-batches of so many tokens, without an end in sight.

        Args:
            tokens: Tokens of a batch, padding included.
            workers: Processes that build them; null takes all.
        """
        data = PretrainingDataModule(
            self._sources,
            self._context,
            tokens=2**50,
            tokens_per_step=tokens,
            pad_to_budget=True,
            num_workers=self._workers if workers is None else workers,
        )
        return iter(data.train_dataloader())

    def tokens_per_s(self, tokens: int, *, batches: int) -> float:
        """Tokens of a second, padding left out, after the first batch."""
        loaded = self.batches(tokens)
        next(loaded)
        began = time.perf_counter()
        count = sum(batch.n_tokens - batch.padding_tokens for batch in islice(loaded, batches))
        return count / (time.perf_counter() - began)


def attempt(step: BioteStep, loader: Loader, tokens: int, checkpointing: bool) -> Trial:
    """Train on micro-batches of so many tokens and time it, if they fit."""
    device = step.device
    configure(step, checkpointing=checkpointing)
    clear_memory(device)
    batches = [batch.to(device) for batch in islice(loader.batches(tokens, workers=0), BATCHES)]
    try:
        elapsed: float | None = seconds_per_round(step, batches)
    except torch.OutOfMemoryError:
        elapsed = None
    if elapsed is None:  # not in the handler, whose traceback holds the tensors of the step
        step.optimizer.zero_grad()
        step.optimizer.state.clear()  # half of the states of a parameter may be missing
        del batches
        clear_memory(device)
        return Trial(tokens=tokens, checkpointing=checkpointing)
    assert torch.isfinite(step.loss)
    config, vocab_size = step.task.encoder_config, step.task.vocab_size
    counted = sum(batch.n_tokens - batch.padding_tokens for batch in batches)
    flops = sum(batch_flops(config, batch, vocab_size=vocab_size) for batch in batches)
    return Trial(
        tokens=tokens,
        checkpointing=checkpointing,
        tokens_per_s=counted / elapsed,
        model_flops_per_s=flops / elapsed,
        peak_bytes=torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None,
    )


def configure(step: BioteStep, *, checkpointing: bool) -> None:
    """Compile the blocks where the device is a GPU, and checkpoint them if asked to."""
    assert step.task.encoder is not None
    step.task.encoder.configure(Compute(activation_checkpointing=checkpointing), step.device)


def seconds_per_round(step: Callable[[MaskedBatch], None], batches: list[MaskedBatch]) -> float:
    """Time of a step with each of the batches together, median of the rounds."""
    device = batches[0].ids.device
    for i in range(WARM_UP):  # the first compiles
        step(batches[i % len(batches)])
    rounds = []
    for _ in range(ROUNDS):
        synchronise(device)
        began = time.perf_counter()
        for batch in batches:
            step(batch)
        synchronise(device)
        rounds.append(time.perf_counter() - began)
    return statistics.median(rounds)


def fed_tokens_per_s(step: BioteStep, batches: Iterator[MaskedBatch], *, count: int) -> float:
    """Tokens of a second, padding left out, of training on batches as they come."""
    tokens, began = 0, 0.0
    for i, batch in enumerate(islice(batches, WARM_UP + count)):
        if i == WARM_UP:
            synchronise(step.device)
            tokens, began = 0, time.perf_counter()
        step(batch.to(step.device, non_blocking=True))
        tokens += batch.n_tokens - batch.padding_tokens
    synchronise(step.device)
    return tokens / (time.perf_counter() - began)


def profile_table(step: Callable[[MaskedBatch], None], batch: MaskedBatch) -> str:
    """The operations that steps spend the device's time in."""
    device = batch.ids.device
    activities = [torch.profiler.ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as profiler:
        for _ in range(PROFILED_STEPS):
            step(batch)
        synchronise(device)
    by = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
    averages: Any = profiler.key_averages()
    return str(averages.table(sort_by=by, row_limit=30, max_name_column_width=70))


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def clear_memory(device: torch.device) -> None:
    """Give back memory that nothing holds, and count the peak anew."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def measure(
    name: str,
    config: EncoderConfig,
    loader: Loader,
    *,
    device: torch.device,
    vocab_size: int,
    first: int,
    most: int,
) -> dict[str, Any] | None:
    """Find the fastest combination of one size, profile it and feed it.

    Args:
        name: Name of the size.
        config: Its sizes.
        loader: Makes the batches.
        device: Where it runs.
        vocab_size: Number of token ids.
        first: Fewest tokens of a micro-batch.
        most: Most tokens of a micro-batch.

    Returns:
        Its figures, null if nothing fits.
    """
    torch.compiler.reset()  # what was compiled for another size is not for this one
    clear_memory(device)
    try:
        step = BioteStep(config, vocab_size, precision="bf16", device=device)
    except torch.OutOfMemoryError:
        print(f"{name}: the weights do not fit", flush=True)
        return None
    best, trials = search(partial(attempt, step, loader), first=first, most=most)
    for trial in trials:
        print(f"{name}: {trial}", flush=True)
    if best is None:
        return None
    configure(step, checkpointing=best.checkpointing)
    batch = next(loader.batches(best.tokens, workers=0)).to(device)
    step(batch)
    print(profile_table(step, batch), flush=True)
    peak = peak_flops(device_name(device), "bf16")
    return {
        "micro_batch_tokens": best.tokens,
        "activation_checkpointing": best.checkpointing,
        "tokens_per_s": best.tokens_per_s,
        "model_tflops_per_s": best.model_flops_per_s / 1e12,
        "mfu": best.model_flops_per_s / peak if peak is not None else None,
        "peak_memory_gb": best.peak_bytes / 1e9 if best.peak_bytes is not None else None,
        "loader_tokens_per_s": loader.tokens_per_s(best.tokens, batches=LOADED_BATCHES),
        "fed_tokens_per_s": fed_tokens_per_s(step, loader.batches(best.tokens), count=FED_BATCHES),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the sizes; returns the exit status."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    parser = argparse.ArgumentParser(description="Time the training step on one GPU.")
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--first", type=int, default=8_192, help="fewest tokens of a micro-batch")
    parser.add_argument("--most", type=int, default=262_144, help="most tokens of a micro-batch")
    parser.add_argument("--workers", type=int, default=8, help="processes of the data loader")
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        print("benchmarks/gpu.py needs a CUDA device: torch sees none", file=sys.stderr)
        return 2
    device = torch.device("cuda", torch.cuda.current_device())
    result: dict[str, Any] = {"device": device_name(device), "torch": torch.__version__}
    with tempfile.TemporaryDirectory() as name:
        loader = Loader(
            Path(name), context=CONTEXT, letters=LETTERS_OF_A_CORPUS, workers=options.workers
        )
        for size in options.sizes:
            result[size] = measure(
                size,
                SIZES[size],
                loader,
                device=device,
                vocab_size=VOCABULARY,
                first=options.first,
                most=options.most,
            )
            print(json.dumps({size: result[size]}), flush=True)
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
