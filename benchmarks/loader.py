"""Token shards to masked, packed batches: speed, memory, padding and loss, in one process.

Run: python benchmarks/loader.py. Makes a corpus of nucleic acids and one of proteins, sequences of
about 300 letters, and both ten times larger. The last line is one JSON object:

tokens_per_s: tokens of a second, masked and packed, in steps of 131,072, with one thread; median of
    the repeats.
rss_growth: relative growth of anonymous memory (RssAnon) from the corpora to those ten times
    larger, each read in a fresh process that builds its window sidecars, validates once and trains
    for the same number of steps; medians of the repeats.
padding_fraction: padding tokens among all of those steps.
dropped_tokens: tokens of the corpora that no window of a pass holds, in order or with look-ahead.
tokens_per_s_padded, padding_fraction_padded: the same with pad_to_budget.
tokens_per_s_padded_8k, padding_fraction_padded_8k: with pad_to_budget in steps of 8,192.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from biote.corpora.prepare import prepare
from biote.corpora.shards import Corpus
from biote.corpora.windows import WINDOW_FOLDER, WindowIndex, open_windows
from biote.datamodules.cursor import Cursor
from biote.datamodules.mixture import Mixture
from biote.datamodules.pretraining import CorpusSource, PretrainingDataModule
from biote.molecules import STANDARD_RESIDUES
from biote.tokenization import CharacterTokenizer

LETTERS = {"nucleic": "ACGT", "protein": STANDARD_RESIDUES}
RECORDS = 20_000
TIMES_LARGER = 10
CONTEXT = 2_048
TOKENS_PER_STEP = 131_072
STEPS = 60
REPEATS = 9


def write_fasta(path: Path, letters: str, *, records: int, mean_length: int, seed: int) -> None:
    """Write random sequences with exponentially distributed lengths."""
    rng = np.random.default_rng(seed)
    alphabet = np.frombuffer(letters.encode(), np.uint8)
    ends = np.cumsum(20 + rng.exponential(mean_length - 20, records).astype(int)).tolist()
    text = alphabet[rng.integers(0, len(letters), ends[-1], dtype=np.uint8)].tobytes()
    with path.open("wb") as stream:
        for i, (begin, end) in enumerate(zip([0, *ends], ends, strict=False)):
            stream.write(b">r%d\n%b\n" % (i, text[begin:end]))


def make_corpora(folder: Path, *, records: int) -> list[Path]:
    """Prepare a corpus of nucleic acids and one of proteins."""
    folder.mkdir()
    for name, letters in LETTERS.items():
        fasta = folder / f"{name}.fasta"
        write_fasta(fasta, letters, records=records, mean_length=300, seed=len(name))
        prepare([fasta], folder / name, tokenizer=CharacterTokenizer())
        fasta.unlink()
    return [folder / name for name in LETTERS]


def data_module(folders: list[Path], **options: Any) -> PretrainingDataModule:
    """Both corpora in equal shares."""
    arguments = {"tokens": STEPS * TOKENS_PER_STEP, "tokens_per_step": TOKENS_PER_STEP} | options
    return PretrainingDataModule([CorpusSource(folder=f) for f in folders], CONTEXT, **arguments)


def speed(folders: list[Path], **options: Any) -> tuple[float, float]:
    """Tokens of a second without padding, and the share of padding among all."""
    batches = iter(data_module(folders, **options).train_dataloader())
    next(batches)  # opens the shards
    tokens = padding = 0
    began = time.perf_counter()
    for batch in batches:
        tokens += batch.n_tokens
        padding += batch.padding_tokens
    seconds = time.perf_counter() - began
    return (tokens - padding) / seconds, padding / tokens


def median_speed(folders: list[Path], **options: Any) -> tuple[float, float]:
    """The median of the repeats; the padding is the same in all."""
    runs = [speed(folders, **options) for _ in range(REPEATS)]
    return statistics.median(run[0] for run in runs), runs[0][1]


def anonymous_memory(folders: list[Path]) -> int:
    """Anonymous memory in kB of a fresh process after sidecars, validation and training."""
    for folder in folders:
        shutil.rmtree(folder / WINDOW_FOLDER, ignore_errors=True)
    command = [sys.executable, __file__, *map(str, folders)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def read_through(folders: list[Path]) -> None:
    """Validate and train, then print the anonymous memory of this process in kB."""
    data = data_module(folders)
    for batches in (data.val_dataloader(), data.train_dataloader()):
        for _ in batches:
            pass
    status = Path("/proc/self/status").read_text()
    print(int(status.split("RssAnon:")[1].split()[0]))


def dropped_tokens(folder: Path, *, parts: int | None) -> int:
    """Tokens of a corpus that are in no window of the first pass and in none of validation."""
    corpus = Corpus(folder)
    train, held_out = (
        open_windows(corpus, context=CONTEXT, split=split) for split in ("train", "validation")
    )
    places = held_out.locate(np.arange(len(held_out)))
    windows = [np.stack([places.units, places.starts, places.stops])]
    for step in Mixture([corpus], [train], weights=[1.0], seed=0).steps(
        Cursor.start(1), tokens_per_step=TOKENS_PER_STEP, tokens=2**62, parts=parts
    ):
        run = step.windows
        first_pass = run.ordinals < len(train)
        windows.append(np.stack([run.units, run.starts, run.stops])[:, first_pass])
        if first_pass_is_over(step.after, train):
            break
    units, starts, stops = np.concatenate(windows, axis=1)
    order = np.lexsort([starts, units])
    units, starts, stops = units[order], starts[order], stops[order]
    # A token that two windows hold counts once.
    again = np.maximum(0, stops[:-1] - starts[1:])[units[1:] == units[:-1]].sum()
    held = int((stops - starts).sum() - again)
    return sum(shard.tokens for shard in corpus.info.shards) - held


def first_pass_is_over(cursor: Cursor, index: WindowIndex) -> bool:
    """Whether all windows of the pass were used, those that were passed over too."""
    waiting = np.array(cursor.pending, np.int64).reshape(-1, 2)[:, 1]
    return cursor.corpora[0] >= len(index) and not (waiting < len(index)).any()


def main() -> None:
    """Prepare the corpora and measure."""
    torch.set_num_threads(1)  # as in a worker of a DataLoader
    with tempfile.TemporaryDirectory() as name:
        small = make_corpora(Path(name) / "small", records=RECORDS)
        large = make_corpora(Path(name) / "large", records=TIMES_LARGER * RECORDS)
        memory: dict[str, list[int]] = {"small": [], "large": []}
        for _ in range(3):
            memory["small"].append(anonymous_memory(small))
            memory["large"].append(anonymous_memory(large))
        plain = median_speed(small)
        padded = median_speed(small, pad_to_budget=True)
        finer = median_speed(small, pad_to_budget=True, tokens_per_step=8_192)
        dropped = sum(
            dropped_tokens(folder, parts=parts) for folder in small for parts in (None, 8)
        )
    print({size: f"{statistics.median(kb) / 1e3:.1f} MB" for size, kb in memory.items()}, memory)
    result = {
        "tokens_per_s": plain[0],
        "rss_growth": statistics.median(memory["large"]) / statistics.median(memory["small"]) - 1,
        "padding_fraction": plain[1],
        "dropped_tokens": dropped,
        "tokens_per_s_padded": padded[0],
        "padding_fraction_padded": padded[1],
        "tokens_per_s_padded_8k": finer[0],
        "padding_fraction_padded_8k": finer[1],
    }
    print(json.dumps(result))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        read_through([Path(argument) for argument in sys.argv[1:]])
    else:
        main()
