"""The control with random weights: what pre-training is worth."""

from __future__ import annotations

import logging

from biote.commands.lightning_cli import BioteCLI
from biote.commands.runs import CHECKPOINTS
from biote.datamodules.base import LabelledDataModule
from biote.errors import ConfigError
from biote.modules.base import EncoderModule
from biote.tasks.results import RESULTS_FILE, ResultRow, write_results

logger = logging.getLogger(__name__)

CONTROL_FOLDER = "random_encoder"
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
    model = cli.model
    if not cli.wants_control:
        return []
    assert isinstance(model, EncoderModule)
    if not model.training_config:
        raise ConfigError(
            "the checkpoint does not say how it was trained, so no control can be trained alike",
            where="--baselines",
            mend="train it with biote fit, or test with --baselines false",
        )
    folder = cli.run_folder / CONTROL_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    request = folder / _REQUEST
    earlier = request.read_text() if request.is_file() else None
    options = [
        f"--config={request}",
        f"--trainer.default_root_dir={folder}",
        f"--checkpoint.dirpath={folder / CHECKPOINTS}",
        f"--last_checkpoint.dirpath={folder / CHECKPOINTS}",
        "--model.init_args.encoder_weights=random",
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
        logger.info("Fine-tuning the same encoder with random weights for comparison.")
        (folder / RESULTS_FILE).unlink(missing_ok=True)  # until it is tested, it is not done
        request.write_text(wanted)
        BioteCLI("fit", options)
    data = cli.datamodule
    tested = data.evaluation_options() if isinstance(data, LabelledDataModule) else {}
    options += [f"--data.init_args.{name}={value}" for name, value in tested.items()]
    rows = BioteCLI("test", options).rows
    write_results(cli.run_folder, rows)
    return rows
