"""Controls that are trained like the tested model: with random weights, or without an encoder."""

from __future__ import annotations

import logging
from pathlib import Path

import polars as pl

from biote.commands.lightning_cli import BioteCLI
from biote.commands.runs import CHECKPOINTS
from biote.datamodules.base import LabelledDataModule
from biote.errors import ConfigError
from biote.modules.base import EncoderModule
from biote.tasks.results import (
    PREDICTIONS_FILE,
    RESULTS_FILE,
    ResultRow,
    write_predictions,
    write_results,
)

logger = logging.getLogger(__name__)

CONTROL_FOLDER = "random_encoder"
COMPOSITION_FOLDER = "composition"
_REQUEST = "requested.yaml"


def random_encoder_rows(cli: BioteCLI) -> list[ResultRow]:
    """Fine-tune and test the same encoder with random weights, in the same way.

    The control is trained once, in ``random_encoder/`` of the run folder, and trained anew when
    the configuration has changed.

    Args:
        cli: The test that has run.

    Returns:
        Its results, written beside those of the test; none where no pre-trained encoder was
        tested.

    Raises:
        ConfigError: If the checkpoint does not say how it was trained.
    """
    if not cli.wants_control:
        return []
    return _control_rows(
        cli,
        cli.run_folder / CONTROL_FOLDER,
        ["--model.init_args.encoder_weights=random"],
        what="the same encoder with random weights",
    )


def composition_rows(cli: BioteCLI) -> list[ResultRow]:
    """Train and test a contrastive task on composition in the place of states, in the same way.

    Args:
        cli: The test of a `ClipTask` that has run.

    Returns:
        Its results, written beside those of the test; none where composition itself was tested or
        no baselines are wanted.

    Raises:
        ConfigError: If the checkpoint does not say how it was trained.
    """
    if not cli.wants_baselines or cli.model.states_of == "composition":
        return []
    return _control_rows(
        cli,
        cli.run_folder / COMPOSITION_FOLDER,
        [
            "--model.init_args.states=composition",
            "--model.init_args.head=TwoMapsHead",
            f"--model.init_args.head.init_args.features={cli.model.head.features}",
        ],
        what="two maps of k-mer frequencies and lengths",
    )


def _control_rows(cli: BioteCLI, folder: Path, changes: list[str], *, what: str) -> list[ResultRow]:
    """Train once in a folder what differs from the tested model in some options, and test it."""
    model = cli.model
    assert isinstance(model, EncoderModule)
    if not model.training_config:
        raise ConfigError(
            "the checkpoint does not say how it was trained, so no control can be trained alike",
            where="--baselines",
            mend="train it with biote fit, or test with --baselines false",
        )
    folder.mkdir(parents=True, exist_ok=True)
    request = folder / _REQUEST
    earlier = request.read_text() if request.is_file() else None
    options = [
        f"--config={request}",
        f"--trainer.default_root_dir={folder}",
        f"--checkpoint.dirpath={folder / CHECKPOINTS}",
        f"--last_checkpoint.dirpath={folder / CHECKPOINTS}",
        *changes,
        "--export.folder=null",
        "--overwrite=true",
    ]
    # The sizes and rows behind the paths of a configuration can change: they count, too.
    wanted = (
        f"# encoder: {model.encoder_config}\n"
        f"# split: {cli.datamodule.split_fingerprint}\n"
        f"{model.training_config}"
    )
    if earlier != wanted or not (folder / RESULTS_FILE).is_file():
        logger.info("Training %s for comparison.", what)
        (folder / RESULTS_FILE).unlink(missing_ok=True)  # until it is tested, it is not done
        request.write_text(wanted)
        BioteCLI("fit", options)
    data = cli.datamodule
    tested = data.evaluation_options() if isinstance(data, LabelledDataModule) else {}
    options += [f"--data.init_args.{name}={value}" for name, value in tested.items()]
    rows = BioteCLI("test", options).rows
    write_results(cli.run_folder, rows)
    predictions = folder / PREDICTIONS_FILE
    if predictions.is_file():
        write_predictions(cli.run_folder, pl.read_parquet(predictions))
    return rows
