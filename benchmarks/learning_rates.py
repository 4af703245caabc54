"""Loss against learning rate at several widths: whether muP carries the best one over.

Run: python benchmarks/learning_rates.py [--corpora FOLDER ...]. Trains a small masked language
model for every parametrisation, width and learning rate, all on the same batches from the same
seed, one-cycle schedule included, and measures the loss of the validation split afterwards. A cell
is added to OUTPUT/learning_rates.jsonl when it is done, so the same command goes on with a sweep
that was interrupted, and two that ask for different cells may run at once. Without corpora it makes
a synthetic one. The picture has a panel a parametrisation and shows every cell of these corpora,
layers, tokens and seeds that is in the table, of the widths and rates of earlier commands too.

--widths 32,64 --rates 0.01 --tokens 20000 --layers 1 makes it a trial run. The last line is one
JSON object: the best learning rate of every parametrisation and width, and its loss.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl
import torch

from biote.batch import MaskedBatch
from biote.commands.mup.check import synthetic_corpus
from biote.datamodules.pretraining import CorpusSource, PretrainingDataModule
from biote.modules.schedule import OneCycle
from biote.report.mup import transfer_figure
from biote.tasks.parametrisation import LanguageModel, Parametrisation, sizes

CONTEXT = 256
TOKENS_PER_STEP = 1_024
VALIDATION_TOKENS = 20_000  # of every corpus
SCHEDULE = OneCycle(warmup=0.1)
LAST_STEPS = 10


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What is trained; cells of one sweep differ in nothing else."""

    parametrisation: Parametrisation
    width: int
    lr: float
    seed: int
    layers: int
    tokens: int
    corpora: str
    context: int = CONTEXT
    tokens_per_step: int = TOKENS_PER_STEP


def data_module(folders: Sequence[Path], *, tokens: int) -> PretrainingDataModule:
    """The corpora in equal shares of windows."""
    return PretrainingDataModule(
        [CorpusSource(folder=folder) for folder in folders],
        CONTEXT,
        tokens=tokens,
        tokens_per_step=TOKENS_PER_STEP,
        validation_tokens=VALIDATION_TOKENS,
    )


def train(cell: Cell, data: PretrainingDataModule) -> dict[str, float]:
    """Train one cell; losses are NaN where it diverged."""
    config = sizes(cell.width, layers=cell.layers, context=CONTEXT)
    model = LanguageModel(
        config,
        data.vocab_size,
        parametrisation=cell.parametrisation,
        lr=cell.lr,
        seed=cell.seed,
    )
    began = time.perf_counter()
    losses: list[float] = []
    for batch in data.train_dataloader():
        losses.append(model.step(batch, factor=SCHEDULE.factor(batch.progress)))
        if not math.isfinite(losses[-1]):
            break
    diverged = not math.isfinite(losses[-1])
    return {
        "loss": math.nan if diverged else validate(model, data.val_dataloader()),
        "train_loss": math.nan if diverged else sum(losses[-LAST_STEPS:]) / LAST_STEPS,
        "steps": float(len(losses)),
        "seconds": time.perf_counter() - began,
    }


@torch.no_grad()
def validate(model: LanguageModel, batches: Iterable[MaskedBatch]) -> float:
    """Mean cross-entropy over the masked tokens of the validation split, nats."""
    total = masked = 0.0
    for batch in batches:
        total += float(model.loss(batch)) * len(batch.targets)
        masked += len(batch.targets)
    return total / masked


def read(table: Path) -> list[dict[str, object]]:
    """Cells that are done, with their losses."""
    if not table.is_file():
        return []
    return [json.loads(line) for line in table.read_text(encoding="utf-8").splitlines()]


def main() -> None:
    """Run the cells that are not in the table yet, smallest widths first, and draw all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--corpora", type=Path, nargs="+", help="corpus folders; default synthetic")
    parser.add_argument("--output", type=Path, default=Path("runs/learning_rates"))
    parser.add_argument("--picture", type=Path, default=Path("docs/mup_transfer.png"))
    parser.add_argument("--parametrisations", default="mup,standard")
    parser.add_argument("--widths", default="32,64,128,256")
    parser.add_argument("--rates", default="0.0005,0.001,0.002,0.004,0.008,0.016,0.032")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=250_000)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    folders = options.corpora or [synthetic_corpus(options.output / "synthetic", size="small")]
    data = data_module(folders, tokens=options.tokens)
    table = options.output / "learning_rates.jsonl"
    table.parent.mkdir(parents=True, exist_ok=True)
    cells = [
        Cell(
            parametrisation=parametrisation,
            width=int(width),
            lr=float(lr),
            seed=seed,
            layers=options.layers,
            tokens=options.tokens,
            corpora=data.data_fingerprint,
        )
        for seed in range(options.seeds)
        for parametrisation in options.parametrisations.split(",")
        for width in options.widths.split(",")
        for lr in options.rates.split(",")
    ]
    for cell in cells:
        if any(asdict(cell).items() <= row.items() for row in read(table)):
            continue
        result = train(cell, data)
        with table.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(asdict(cell) | result) + "\n")
        print(
            f"{cell.parametrisation:<8} width {cell.width:>4}  lr {cell.lr:<7g} seed {cell.seed}  "
            f"loss {result['loss']:.4f}  ({result['seconds']:.0f} s)",
            flush=True,
        )
    same = ("seed", "layers", "tokens", "corpora", "context", "tokens_per_step")
    wanted = pl.DataFrame([asdict(cell) for cell in cells]).select(same).unique()
    report(pl.DataFrame(read(table)).join(wanted, on=same, how="semi"), options.picture)


def report(frame: pl.DataFrame, picture: Path) -> None:
    """Draw the picture and print the losses and the best learning rates."""
    mean = (
        frame.group_by("parametrisation", "width", "lr")
        .agg(pl.col("loss").mean())  # NaN, diverged, stays NaN
        .sort("parametrisation", "width", "lr")
    )
    subtitle = (
        f"Masked language models of {frame['layers'][0]} layers after {frame['tokens'][0]:,} "
        f"tokens, seeds: {frame['seed'].n_unique()}; star: lowest loss of a width"
    )
    transfer_figure(picture, mean, subtitle=subtitle)
    best: dict[str, dict[str, dict[str, float]]] = {}
    for (name,), part in mean.group_by("parametrisation", maintain_order=True):
        wide = part.sort("lr").pivot("lr", index="width", values="loss").sort("width")
        print(f"\n{name}: validation loss (nats) by width and learning rate")
        print(" width " + "".join(f"{lr:>9}" for lr in wide.columns[1:]))
        for row in wide.rows():
            losses = "".join(
                f"{'-' if loss is None else format(loss, '.4f'):>9}" for loss in row[1:]
            )
            print(f"{row[0]:>6} {losses}")
        finite = part.filter(pl.col("loss").is_finite()).sort("loss")
        lowest = finite.unique("width", keep="first", maintain_order=True).sort("width")
        best[str(name)] = {
            str(row["width"]): {"lr": row["lr"], "loss": round(row["loss"], 4)}
            for row in lowest.iter_rows(named=True)
        }
    print(json.dumps({"best": best}))


if __name__ == "__main__":
    main()
