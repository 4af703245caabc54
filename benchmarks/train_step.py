"""The training step on the CPU: biote, a plain implementation, and the bare matrix products.

Run: python benchmarks/train_step.py. A step is what MaskedLMTask does with a batch: forward pass,
loss, backward pass, gradient clipping, AdamW. `benchmarks.plain` does the same to the same tokens,
from the same weights and to the same loss and gradient (checked), without biote's savings. Bare are
the matrix products alone that biote's step needs, forward and backward, into memory that is there.
They take turns; a ratio is the median over the turns. Documents have 200 to 400 tokens.

--width 64 --layers 1 --context 128 --tokens 128 --pieces 512 --repeats 1 makes it a trial run;
--profile prints where biote's step spends its time. On a machine that others use, --threads 1
--clock cpu times the work and not the waiting. The last line is one JSON object; float32
figures have the names below, those of bfloat16 (autocast) end in _bf16:

char_vs_plain: time of the plain step over biote's; 49 characters, context 2,048.
bpe64k_vs_plain: the same with 65,536 pieces, context 1,024.
char_vs_plain_fused, bpe64k_vs_plain_fused: the same where the plain step gives its dense mask to
    torch's fused attention, instead of adding it to the scores.
step_vs_matmul, bpe64k_step_vs_matmul: time of biote's step over that of its products; 49
    characters, and 65,536 pieces.
NAME_tokens_per_s, NAME_tokens_per_s_plain, NAME_tokens_per_s_plain_fused,
    NAME_tokens_per_s_matmul: tokens of a second in each, NAME being char or bpe64k; medians.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from lightning import Trainer
from torch import nn

from benchmarks.plain import CLIP_NORM, BareProducts, PlainStep, autocast
from biote.batch import MaskedBatch, group_layout
from biote.modules.config import Compute, EncoderConfig
from biote.molecules import MOLECULES
from biote.tasks.masked_lm import MaskedLMTask

MASK_RATE = 0.15
MASK_ID = 2
SPECIAL_IDS = 4
CHARACTERS = 49
CLOCKS: dict[str, Callable[[], float]] = {
    "wall": time.perf_counter,
    "cpu": time.process_time,
}
SUFFIXES = {"float32": "", "bf16": "_bf16"}
LOSS_TOLERANCE = 1e-4
GRADIENT_TOLERANCE = 1e-3


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is measured: an encoder, its vocabulary, and rows of tokens to a step."""

    config: EncoderConfig
    vocab_size: int
    rows: int
    document: tuple[int, int] = (200, 400)


class SilentTask(MaskedLMTask):
    """The task with nothing to log to."""

    def log(self, *args: Any, **kwargs: Any) -> None:
        """Lightning's part of the work, not the step's."""


class BioteStep:
    """biote's training step without Lightning's loop around it.

    Args:
        config: Sizes of the encoder.
        vocab_size: Number of token ids.
        precision: float32, or bf16 by autocast with float32 weights.
        device: Where it runs.
        compute: How the layers are computed.
    """

    def __init__(
        self,
        config: EncoderConfig,
        vocab_size: int,
        *,
        precision: str,
        device: torch.device,
        compute: Compute = Compute(),  # noqa: B008 - frozen
    ) -> None:
        self._precision, self.device = precision, device
        # Never run: the task asks it for the number of ranks and of accumulated micro-batches.
        self._trainer = Trainer(
            accelerator="cpu",
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
        )
        self.task = SilentTask(config, compute=compute, vocab_size=vocab_size)
        self.task.trainer = self._trainer
        with device:
            self.task.configure_model()
        self.task.to(device)
        assert self.task.encoder is not None
        assert self.task.readout is not None
        self.task.encoder.configure(compute, device)
        # Its initial weights are near 0: every model would have the same loss.
        nn.init.normal_(self.task.readout.weight)
        self.optimizer = self.task.configure_optimizers()
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak_lr"] * self.task.schedule.factor(0.0)
        self.loss = self.gradient_norm = torch.tensor(math.nan)

    def __call__(self, batch: MaskedBatch) -> None:
        """Train on a batch that is a whole step."""
        with autocast(self.device, self._precision):
            loss = self.task.training_step(batch, 0)
        self.optimizer.zero_grad()
        loss.backward()
        self.loss = loss.detach()
        self.gradient_norm = nn.utils.clip_grad_norm_(self.task.parameters(), CLIP_NORM)
        self.optimizer.step()


def make_batch(setting: Setting, *, seed: int) -> MaskedBatch:
    """Rows of random documents of random molecules; the last of a row is cut where the row ends."""
    generator = torch.Generator().manual_seed(seed)
    shortest, longest = setting.document
    lengths: list[int] = []
    for _ in range(setting.rows):
        room = setting.config.context
        while room:
            drawn = int(torch.randint(shortest, longest + 1, (), generator=generator))
            lengths.append(min(room, drawn))
            room -= lengths[-1]
    cu_seqlens, positions = group_layout(lengths)
    tokens = len(positions)
    ids = torch.randint(SPECIAL_IDS, setting.vocab_size, (tokens,), generator=generator)
    # The first token of a document is its type tag, which is never masked.
    chosen = (torch.rand(tokens, generator=generator) < MASK_RATE) & (positions > 0)
    masked = chosen.nonzero().squeeze(1)
    codes = torch.randint(len(MOLECULES), (len(lengths),), generator=generator)
    return MaskedBatch(
        ids=ids.masked_fill(chosen, MASK_ID),
        cu_seqlens=cu_seqlens,
        positions=positions,
        molecules=torch.repeat_interleave(codes, torch.tensor(lengths)).to(torch.uint8),
        lengths=tuple(lengths),
        masked=masked,
        targets=ids[masked],
        step_masked=len(masked),
        step_tokens=tokens,
        progress=0.0,
        step=0,
        last=False,
        cursor=(0, 0, 0),
    )


def plain_step(ours: BioteStep, *, precision: str) -> PlainStep:
    """The plain step with the weights of biote's."""
    task = ours.task
    assert task.encoder is not None
    assert task.readout is not None
    return PlainStep(
        task.encoder_config,
        task.vocab_size,
        precision=precision,
        encoder=task.encoder.state_dict(),
        readout=task.readout.weight,
    )


def check_same(setting: Setting, batch: MaskedBatch) -> None:
    """Refuse to time steps that do not compute the same.

    Raises:
        AssertionError: If losses or norms of gradients differ in float32.
    """
    ours = BioteStep(
        setting.config, setting.vocab_size, precision="float32", device=torch.device("cpu")
    )
    for fused in (False, True):
        plain = plain_step(ours, precision="float32")
        ours(batch)
        plain(batch, fused=fused)
        for name, tolerance in (("loss", LOSS_TOLERANCE), ("gradient_norm", GRADIENT_TOLERANCE)):
            one, other = (float(getattr(step, name)) for step in (ours, plain))
            assert math.isclose(one, other, rel_tol=tolerance), f"{name}: {one} and {other}"


def seconds(action: Callable[[], None], clock: Callable[[], float]) -> float:
    """Time of a call."""
    began = clock()
    action()
    return clock() - began


def compare(
    setting: Setting, *, precision: str, repeats: int, clock: Callable[[], float], profile: bool
) -> dict[str, float]:
    """Medians over the turns: ratios, and tokens of a second."""
    torch.manual_seed(0)
    batch = make_batch(setting, seed=0)
    check_same(setting, batch)
    ours = BioteStep(
        setting.config, setting.vocab_size, precision=precision, device=torch.device("cpu")
    )
    plain = plain_step(ours, precision=precision)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    steps: dict[str, Callable[[MaskedBatch], None]] = {
        "ours": ours,
        "plain": plain,
        "fused": partial(plain, fused=True),
        "bare": BareProducts(setting.config, setting.vocab_size, batch, dtype=dtype),
    }
    for step in steps.values():
        step(batch)  # makes the optimiser's states
    turns = []
    for _ in range(repeats):
        turns.append({name: seconds(partial(step, batch), clock) for name, step in steps.items()})
        shown = ", ".join(f"{name} {time:.3f} s" for name, time in turns[-1].items())
        print(f"{precision}, {setting.vocab_size} ids: {shown}", flush=True)
    if profile:
        print_profile(partial(ours, batch))

    def ratio(over: str, under: str) -> float:
        return statistics.median(turn[over] / turn[under] for turn in turns)

    def tokens_per_s(name: str) -> float:
        return batch.n_tokens / statistics.median(turn[name] for turn in turns)

    return {
        "vs_plain": ratio("plain", "ours"),
        "vs_plain_fused": ratio("fused", "ours"),
        "step_vs_matmul": ratio("ours", "bare"),
        "tokens_per_s": tokens_per_s("ours"),
        "tokens_per_s_plain": tokens_per_s("plain"),
        "tokens_per_s_plain_fused": tokens_per_s("fused"),
        "tokens_per_s_matmul": tokens_per_s("bare"),
    }


def print_profile(action: Callable[[], None]) -> None:
    """Print the operations that a call spends its time in."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        action()
    table = profiler.key_averages().table(sort_by="self_cpu_time_total", row_limit=25)
    print(table, flush=True)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Time the training step on the CPU.")
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--context", type=int, help="of both vocabularies")
    parser.add_argument("--tokens", type=int, default=4_096, help="of a step")
    parser.add_argument("--pieces", type=int, default=65_536, help="size of the vocabulary of BPE")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--vocabularies", nargs="+", default=["char", "bpe64k"])
    parser.add_argument("--precisions", nargs="+", choices=list(SUFFIXES), default=list(SUFFIXES))
    parser.add_argument("--threads", type=int, help="as many as there are cores without it")
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall")
    parser.add_argument("--profile", action="store_true")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure everything and print it."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    options = parse(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    sizes = {"char": (CHARACTERS, 2_048), "bpe64k": (options.pieces, 1_024)}
    result = {}
    for precision in options.precisions:
        for name in options.vocabularies:
            vocab_size, context = sizes[name]
            config = EncoderConfig(
                width=options.width,
                layers=options.layers,
                heads=options.heads,
                context=options.context or context,
            )
            rows = max(1, options.tokens // config.context)
            setting = Setting(config=config, vocab_size=vocab_size, rows=rows)
            figures = compare(
                setting,
                precision=precision,
                repeats=options.repeats,
                clock=CLOCKS[options.clock],
                profile=options.profile,
            )
            for figure, value in figures.items():
                whose = "" if (name, figure) == ("char", "step_vs_matmul") else f"{name}_"
                result[whose + figure + SUFFIXES[precision]] = value
    print(json.dumps(result))


if __name__ == "__main__":
    main()
