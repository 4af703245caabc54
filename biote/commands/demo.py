"""The whole of biote on a small scale: every step is a command that a user could type."""

from __future__ import annotations

import json
import logging
import os
import shlex
import shutil
import time
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console

from biote.commands.dispatch import run_command
from biote.errors import BioteError, ConfigError

logger = logging.getLogger(__name__)

_DATA_VARIABLE = "BIOTE_DATA"


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument("--output", type=Path, default=Path("runs/demo"), help="Where to write.")
    parser.add_argument(
        "--data",
        type=Path | None,
        default=None,
        help="Folder with genbank/, fasta/ and pronab/; without it that of the environment "
        "variable BIOTE_DATA, and without that synthetic data are made.",
    )
    parser.add_argument(
        "--tokens", type=int, default=3_000_000, help="Token budget of the pre-training."
    )
    parser.add_argument("--epochs", type=int, default=2, help="Epochs of the fine-tuning.")


def run(arguments: Namespace) -> None:
    """Prepare, pre-train, fine-tune, test and draw.

    Raises:
        ConfigError: If the data folder lacks what the demo needs.
    """
    began = time.monotonic()
    output = Path(arguments.output)
    console = Console()
    data, origin = _data(arguments.data, output, console)
    console.print(f"Data: {origin}")
    _prepare(data, output, console)
    corpora = [
        {"folder": str(output / "corpora" / name), "weight": 0.5} for name in ("nucleic", "protein")
    ]
    pretrain = output / "pretrain"
    _step(
        console,
        "Pre-train",
        "fit", "--config", "demo/pretrain.yaml",
        "--trainer.default_root_dir", str(pretrain),
        "--data.corpora", json.dumps(corpora),
        "--data.tokens", str(arguments.tokens),
        "--overwrite", "true",
    )  # fmt: skip
    delta_g = output / "delta_g"
    (delta_g / "folds.parquet").unlink(missing_ok=True)  # an earlier demo may have had other data
    _step(
        console,
        "Fine-tune on binding free energy",
        "fit", "--config", "demo/delta_g.yaml",
        "--trainer.default_root_dir", str(delta_g),
        "--trainer.max_epochs", str(arguments.epochs),
        "--model.encoder_checkpoint", str(pretrain / "encoder"),
        "--data.root", str(data),
        "--data.fold_file", str(delta_g / "folds.parquet"),
        "--overwrite", "true",
    )  # fmt: skip
    _step(
        console,
        "Test on held-out proteins",
        "test", "--config", str(delta_g / "config.yaml"),
    )  # fmt: skip
    _collect(output, pretrain, delta_g, origin)
    minutes = (time.monotonic() - began) / 60
    console.print(
        f"Done in {minutes:.1f} minutes. Results: {output / 'results.parquet'}, picture: "
        f"{output / 'delta_g.png'}, encoder: {output / 'encoder'}"
    )


def _data(given: Path | None, output: Path, console: Console) -> tuple[Path, str]:
    """Folder of the data and what it is."""
    variable = os.environ.get(_DATA_VARIABLE)
    folder = given if given is not None else Path(variable) if variable else None
    if folder is None:
        made = output / "data"
        _step(
            console, "Make synthetic data", "synth", "--output", str(made), "--size", "demo",
            "--overwrite",
        )  # fmt: skip
        return made, f"synthetic (set {_DATA_VARIABLE} to a folder of real data to use that)"
    for name in ("genbank", "fasta", "pronab"):
        if not (folder / name).is_dir():
            raise ConfigError(
                f"no folder {name}/ in {folder}",
                where="--data" if given is not None else _DATA_VARIABLE,
                mend="give a folder with genbank/, fasta/ and pronab/",
            )
    return folder, f"from {folder}" if given is not None else f"real, from {folder}"


def _prepare(data: Path, output: Path, console: Console) -> None:
    fasta = sorted(path for path in (data / "fasta").iterdir() if ".parquet" not in path.suffixes)
    nucleic = [path for path in fasta if "dna" in path.name.lower()]
    proteins = [path for path in fasta if path not in nucleic]
    for name, sources in (("nucleic", [data / "genbank", *nucleic]), ("protein", proteins)):
        _step(
            console,
            f"Prepare the {name} corpus",
            "prepare", *map(str, sources),
            "--output", str(output / "corpora" / name),
            "--tokenizer", "character",
            "--validation-fraction", "0.02",
            "--workers", str(os.cpu_count() or 1),
            "--overwrite",
        )  # fmt: skip


def _step(console: Console, title: str, *command: str) -> None:
    """Say what is done and by which command, then do it."""
    console.rule(title)
    console.print(f"$ biote {shlex.join(command)}", style="dim", soft_wrap=True, highlight=False)
    run_command(list(command))


def _collect(output: Path, pretrain: Path, delta_g: Path, origin: str) -> None:
    """Put what a user looks for first at the top of the output folder."""
    from biote.report.delta_g import delta_g_figure
    from biote.report.scalars import read_scalars
    from biote.tasks.results import PREDICTIONS_FILE, RESULTS_FILE

    for name in (RESULTS_FILE, PREDICTIONS_FILE):
        shutil.copyfile(delta_g / name, output / name)
    if (output / "encoder").exists():
        shutil.rmtree(output / "encoder")
    shutil.copytree(pretrain / "encoder", output / "encoder")
    curves = {
        label: read_scalars(pretrain, tag)
        for label, tag in (
            ("nucleic", "train_loss_nucleic"),
            ("protein", "train_loss_protein"),
            ("nucleic, validation", "val_loss_nucleic"),
            ("protein, validation", "val_loss_protein"),
            ("nucleic, unigram guess", "val_unigram_loss_nucleic"),
            ("protein, unigram guess", "val_unigram_loss_protein"),
        )
    }
    if not any(curves.values()):
        raise BioteError("the pre-training run left no loss curve", where=str(pretrain))
    delta_g_figure(
        output / "delta_g.png",
        predictions=output / PREDICTIONS_FILE,
        curves=curves,
        subtitle=f"data: {origin.split(' (')[0]}",
    )
