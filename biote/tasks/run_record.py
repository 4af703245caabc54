"""What a run was: software, machines, data, model, written into its folder."""

from __future__ import annotations

import json
import os
import platform
import shlex
import socket
import subprocess
import sys
from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import lightning
import torch
from lightning import Callback, LightningModule, Trainer

import biote
from biote.atomic import write_text_atomic
from biote.errors import DataError
from biote.modules.base import EncoderModule
from biote.modules.mup import parameter_roles
from biote.tasks.flops import compute_precision, device_name
from biote.tasks.ranks import of_all_ranks
from biote.version import __version__

RUN_FILE: Final = "run.json"
_FORMAT: Final = 1


class RunRecord(Callback):
    """Writes ``run.json`` into the run folder: what trained these weights, on what, and when.

    The model and its tokenizer stand there once; every start of the run, the first one and each
    that continued it, is a session with its versions, machines, data and command line, and with
    the steps it made. A session without an end was killed or still runs.

    Args:
        enabled: Whether to write it.
    """

    def __init__(self, enabled: bool = True) -> None:
        self._enabled = enabled
        self._content: dict[str, Any] | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin a session.

        Raises:
            DataError: If the record of the run that is continued cannot be read.
        """
        fast_dev_run: Any = getattr(trainer, "fast_dev_run", False)
        if not self._enabled or fast_dev_run or not isinstance(pl_module, EncoderModule):
            return
        device = device_name(trainer.strategy.root_device)
        machines = of_all_ranks(trainer, (socket.gethostname(), device))
        if not trainer.is_global_zero:
            return
        path = Path(trainer.default_root_dir) / RUN_FILE
        continued = trainer.ckpt_path is not None and path.exists()
        content: dict[str, Any] = (
            _read(path) if continued else {"format": _FORMAT, "begun_at": _now()}
        )
        content |= {"model": _model(pl_module), "tokenizer": _tokenizer(trainer)}
        # Last in the file: it grows.
        sessions = content.pop("sessions", [])
        content["sessions"] = [*sessions, _session(trainer, machines=machines)]
        self._content = content
        self._write(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the session."""
        self._end(trainer, "ended")

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """End the session, saying why."""
        first_line = f"{type(exception).__name__}: {exception}".strip().splitlines()[0]
        self._end(trainer, first_line)

    def _end(self, trainer: Trainer, outcome: str) -> None:
        if self._content is None:
            return
        self._content["sessions"][-1] |= {
            "ended_at": _now(),
            "to_step": trainer.global_step,
            "outcome": outcome,
        }
        self._write(trainer)
        self._content = None

    def _write(self, trainer: Trainer) -> None:
        text = json.dumps(self._content, indent=2, default=str)
        write_text_atomic(Path(trainer.default_root_dir) / RUN_FILE, text + "\n")


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(
            "the record of this run cannot be read",
            where=str(path),
            mend="move it away; a new one begins with the steps from here on",
        ) from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise DataError(
            "not the record of a run in the format of this version",
            where=str(path),
            mend="move it away; a new one begins with the steps from here on",
        )
    return content


def _model(task: EncoderModule) -> dict[str, Any]:
    """What is trained."""
    parameters = dict(task.named_parameters())
    roles = parameter_roles(task)
    by_role: Counter[str] = Counter()
    for name, role in roles.items():
        by_role[role] += parameters[name].numel()
    trained = sum(parameters[name].numel() for name in roles if parameters[name].requires_grad)
    return {
        "task": type(task).__name__,
        "encoder": asdict(task.encoder_config) | {"vocab_size": task.vocab_size},
        "parameters": dict(by_role) | {"total": by_role.total(), "trained": trained},
        "starts_pretrained": task.starts_pretrained,
        "init_seed": task.init_seed,
        "config_sha256": task.config_hash,
    }


def _tokenizer(trainer: Trainer) -> dict[str, Any]:
    data: Any = trainer.datamodule  # type: ignore[attr-defined]
    tokenizer = data.tokenizer
    return {
        "class": type(tokenizer).__name__,
        "vocab_size": tokenizer.vocab_size,
        "fingerprint": tokenizer.fingerprint,
    }


def _session(trainer: Trainer, *, machines: list[tuple[str, str]]) -> dict[str, Any]:
    """What begins now."""
    data: Any = trainer.datamodule  # type: ignore[attr-defined]
    global_seed = os.environ.get("PL_GLOBAL_SEED")
    return {
        "begun_at": _now(),
        "ended_at": None,
        "from_step": trainer.global_step,
        "to_step": None,
        "outcome": None,
        "continued_from": str(trainer.ckpt_path) if trainer.ckpt_path is not None else None,
        "command": shlex.join(sys.argv),
        "working_directory": str(Path.cwd()),
        "versions": {
            "biote": __version__,
            "biote_git": git_commit(),
            "torch": torch.__version__,
            "cuda": torch.version.cuda,
            "lightning": lightning.__version__,
            "python": platform.python_version(),
        },
        "machines": [
            {"host": host, "device": device, "ranks": ranks}
            for (host, device), ranks in Counter(machines).items()
        ],
        "world_size": trainer.world_size,
        "strategy": type(trainer.strategy).__name__,
        "precision": {"trainer": trainer.precision, "computed_in": compute_precision(trainer)},
        "accumulated_micro_batches": trainer.accumulate_grad_batches,
        "seeds": {
            "global": int(global_seed) if global_seed is not None else None,
            "data": getattr(data, "seed", None),
        },
        "data": {
            "class": type(data).__name__,
            "fingerprint": data.data_fingerprint,
            "split_fingerprint": data.split_fingerprint,
            "context": data.context,
            "token_budget": getattr(data, "tokens", None),
        },
        "limits": {"epochs": trainer.max_epochs, "steps": trainer.max_steps},
    }


def git_commit() -> dict[str, Any] | None:
    """Commit of the checkout the package is run from, and whether files in it were changed.

    Returns:
        ``commit`` and ``changed``, or null where the package is not in a checkout of its own or
        there is no git to ask.
    """
    checkout = Path(biote.__file__).resolve().parent.parent
    # An installed package may lie somewhere inside the checkout of another project.
    if not (checkout / ".git").exists():
        return None
    try:
        commit = _git(checkout, "rev-parse", "HEAD")
        changed = bool(_git(checkout, "status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit, "changed": changed}


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=30
    ).stdout.strip()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
