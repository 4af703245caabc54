"""The encoder folder of a run: what a fine-tuning run starts from."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from biote.modules.base import EncoderModule
from biote.modules.readout import Readout
from biote.modules.weights import save_encoder
from biote.tasks.checkpointing import finish_saving
from biote.tasks.flops import attention_flops
from biote.tasks.sharding import load_weights

logger = logging.getLogger(__name__)

TOKENS: Final = "trained_tokens"
"""Tokens of all pre-training behind the weights, in the folder's record."""

ATTENTION: Final = "trained_attention_flops"
"""Floating-point operations of attention in it, were all windows as long as they may be."""


class EncoderExport(Callback):
    """Writes the encoder of the best checkpoint as a folder when training ends.

    The folder holds the weights (safetensors), their sizes and the tokenizer.

    Args:
        folder: Where to write, relative to the run folder; null writes nothing.
    """

    def __init__(self, folder: str | None = "encoder") -> None:
        self._folder = folder

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Export the best weights, or the last ones where none were validated."""
        fast_dev_run: Any = getattr(trainer, "fast_dev_run", False)
        if self._folder is None or fast_dev_run:
            return
        task, data = pl_module, trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(task, EncoderModule)
        if task.encoder is None:
            return  # it trained on stored states, and no encoder
        finish_saving(trainer)
        best = _best_checkpoint(trainer)
        last = {name: value.clone() for name, value in task.state_dict().items()}
        extra: dict[str, Any] = {"trained_steps": trainer.global_step, "selection": "last"}
        state = data.state_dict()
        if best is not None:
            checkpoint = load_weights(task, best)
            extra = {"trained_steps": checkpoint["global_step"], "selection": "best"}
            state = checkpoint.get(type(data).__qualname__, {})
        now: dict[str, float] = {}
        if state.get("cursor") is not None:  # of pre-training: steps, then tokens
            seen = int(state["cursor"][1])
            pairs = seen * int(data.context)
            now = {TOKENS: seen, ATTENTION: attention_flops(task.encoder_config, pairs)}
        run, extra = extra, extra | _summed(task.start_record, now, started=task.starts_pretrained)
        readout = getattr(task, "readout", None)
        folder = Path(trainer.default_root_dir) / self._folder
        save_encoder(
            folder,
            encoder=task.encoder,
            readout=readout if isinstance(readout, Readout) else None,
            tokenizer_fingerprint=data.tokenizer.fingerprint,
            extra=extra,
            writes=trainer.is_global_zero,
        )
        if task.nucleic is not None:
            second = folder.with_name(f"nucleic_{folder.name}")
            save_encoder(
                second,
                encoder=task.nucleic,
                readout=None,
                tokenizer_fingerprint=data.nucleic_tokenizer.fingerprint,
                extra=run | _summed(task.nucleic_start_record, {}, started=True),
                writes=trainer.is_global_zero,
            )
            if trainer.is_global_zero:
                data.nucleic_tokenizer.save(second)
        task.load_state_dict(last)
        if not trainer.is_global_zero:
            return
        data.tokenizer.save(folder)
        logger.info("Encoder (%s weights) written to %s.", extra["selection"], folder)


def _summed(
    before: Mapping[str, Any], now: Mapping[str, float], *, started: bool
) -> dict[str, float]:
    """Pre-training of what a run started from and of the run itself, as far as both are known.

    Args:
        before: What is written down about the weights the run started from.
        now: What the run itself saw.
        started: Whether it started from weights of another run.
    """
    return {
        name: before.get(name, 0) + now.get(name, 0)
        for name in (TOKENS, ATTENTION)
        if name in before or (name in now and not started)
    }


def _best_checkpoint(trainer: Trainer) -> Path | None:
    callback = trainer.checkpoint_callback
    if isinstance(callback, ModelCheckpoint) and callback.monitor and callback.best_model_path:
        path = Path(callback.best_model_path)
        return path if path.exists() else None
    return None
