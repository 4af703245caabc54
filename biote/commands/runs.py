"""Run folders: what a run may begin in, and which of its checkpoints a command takes."""

from __future__ import annotations

import logging
import shutil
import zipfile
from pathlib import Path
from typing import Final

from biote.errors import CheckpointError, ConfigError
from biote.tasks.guard import STOPPED_BATCH_FILE
from biote.tasks.results import PREDICTIONS_FILE, RESULTS_FILE
from biote.tasks.sharding import is_sharded, recover

logger = logging.getLogger(__name__)

CHECKPOINTS: Final = "checkpoints"
_BEST: Final = "best"
_LAST: Final = "last"
AUTO: Final = "auto"


def make_run_folder(root: Path) -> None:
    """Make the folder of a run before anything is read or trained.

    Args:
        root: Run folder.

    Raises:
        ConfigError: If it cannot be made.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"{root} cannot be made: {error.strerror}",
            where="trainer.default_root_dir",
            mend="name a folder that can be written",
        ) from error


def begin_anew(root: Path, *, overwrite: bool) -> None:
    """Make sure that a new run finds nothing of an earlier one, whose results it would mix with.

    Args:
        root: Run folder.
        overwrite: Whether checkpoints, results and logs of an earlier run are removed.

    Raises:
        ConfigError: If there are some and they may not be removed.
    """
    left = [
        root / name for name in (CHECKPOINTS, RESULTS_FILE, PREDICTIONS_FILE, STOPPED_BATCH_FILE)
    ]
    if not any(path.exists() for path in left):
        return
    if not overwrite:
        raise ConfigError(
            f"{root} holds an earlier run",
            where="trainer.default_root_dir",
            mend="name another folder, continue it with --ckpt_path last, or replace it with "
            "--overwrite true",
        )
    for path in [*left, root / "encoder", root / "lightning_logs"]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def checkpoint_to_evaluate(given: str | None, root: Path) -> str:
    """The checkpoint of validate, test and predict: never an untrained model.

    Args:
        given: Path, ``best`` or ``last`` of the run folder, or null for the best.
        root: Run folder.

    Raises:
        CheckpointError: If it is not there or damaged.
    """
    if given is None or given in (_BEST, _LAST):
        path = root / CHECKPOINTS / f"{given or _BEST}.ckpt"
        mend = "run biote fit first, or give the path of a checkpoint"
    else:
        path, mend = Path(given), "give the path of a checkpoint"
    logger.info("Weights: %s", path)
    return _checked(path, mend)


def checkpoint_to_resume(given: str, root: Path) -> str:
    """The checkpoint a training run continues from.

    Args:
        given: Path, or ``last`` for the one in the run folder.
        root: Run folder.

    Raises:
        CheckpointError: If it is not there or damaged.
    """
    path = root / CHECKPOINTS / "last.ckpt" if given == _LAST else Path(given)
    return _checked(path, "give the path of a checkpoint, or 'last' for the one in the run folder")


def begins_anew(given: str | None, root: Path) -> bool:
    """Whether a training run begins, and does not continue one.

    Args:
        given: Path, ``last``, ``auto`` (continue if there is something to continue), or null.
        root: Run folder.
    """
    if given != AUTO:
        return given is None
    last = root / CHECKPOINTS / "last.ckpt"
    recover(last)
    return not last.exists()


def _checked(path: Path, mend: str) -> str:
    recover(path)
    if not path.exists():
        raise CheckpointError(f"no checkpoint {path}", where="--ckpt_path", mend=mend)
    if not (is_sharded(path) if path.is_dir() else zipfile.is_zipfile(path)):
        raise CheckpointError(
            f"{path} is no checkpoint, or was cut off", where="--ckpt_path", mend=mend
        )
    return str(path)
