"""The encoder folder: ``model.safetensors`` and ``config.json``.

Weights are named ``encoder.<parameter>`` and ``readout.<parameter>``. Both files carry the
fingerprint of the weights, so files of two encoders in one folder are noticed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from biote.atomic import atomic_path, write_text_atomic
from biote.errors import CheckpointError, ConfigError
from biote.modules.config import EncoderConfig
from biote.modules.encoder import Encoder
from biote.modules.initialisation import assign
from biote.modules.readout import Readout
from biote.modules.sharding import whole_tensors
from biote.version import __version__

WEIGHTS_FILE: Final = "model.safetensors"
CONFIG_FILE: Final = "config.json"
FORMAT_VERSION: Final = 1
_FINGERPRINT: Final = "weights_fingerprint"
_COPY_ANEW: Final = "copy the folder anew, or export the encoder again"


@dataclass(frozen=True, kw_only=True)
class StoredEncoder:
    """What ``config.json`` says of the weights beside it."""

    encoder: EncoderConfig
    """Sizes of the encoder."""

    vocab_size: int
    """Number of token ids."""

    tokenizer_fingerprint: str
    """Fingerprint of the tokenizer the weights were trained with."""

    weights_fingerprint: str
    """Fingerprint of the weights, see `weights_fingerprint`."""

    has_readout: bool
    """Whether the language-model readout is there."""

    biote_version: str
    """Version that wrote the folder."""

    extra: Mapping[str, Any]
    """Whatever else was written down, for example tokens seen."""


def save_encoder(
    folder: Path,
    *,
    encoder: Encoder,
    readout: Readout | None,
    tokenizer_fingerprint: str,
    extra: Mapping[str, Any],
    writes: bool = True,
) -> None:
    """Write an encoder; each file is whole or not there, the configuration last.

    Where it is sharded, every process has to call this, and one of them writes.

    Args:
        folder: Where to write; made if it is not there.
        encoder: Encoder with its weights.
        readout: Language-model readout, or None to leave it out.
        tokenizer_fingerprint: Fingerprint of the tokenizer the weights belong to.
        extra: More to write down, as JSON.
        writes: Whether this process writes.
    """
    tensors = {}
    for name, tensor in _whole_tensors(encoder, readout):
        if writes:  # the others need not hold what they help to gather
            tensors[name] = tensor.detach().cpu().contiguous()
    if not writes:
        return
    fingerprint = _fingerprint(sorted(tensors.items()))
    content = {
        "format_version": FORMAT_VERSION,
        "biote_version": __version__,
        "encoder": asdict(encoder.config),
        "vocab_size": encoder.vocab_size,
        "tokenizer_fingerprint": tokenizer_fingerprint,
        _FINGERPRINT: fingerprint,
        "has_readout": readout is not None,
        "extra": dict(extra),
    }
    text = json.dumps(content, indent=2) + "\n"  # before any file: extra may not be JSON
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / WEIGHTS_FILE) as partial:
        save_file(tensors, partial, metadata={"format": "pt", _FINGERPRINT: fingerprint})
    write_text_atomic(folder / CONFIG_FILE, text)


def load_encoder_config(folder: Path) -> StoredEncoder:
    """Read what an encoder folder holds, without its weights.

    Args:
        folder: Encoder folder.

    Raises:
        CheckpointError: If the folder is none, or of another format version.
    """
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise CheckpointError(
            f"no {CONFIG_FILE} there",
            where=str(folder),
            mend="give an encoder folder, for example runs/demo/encoder",
        )
    try:
        content = json.loads(path.read_text())
        version = content["format_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            "not the configuration of an encoder folder", where=str(path), mend=_COPY_ANEW
        ) from error
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"format version {version!r}, this biote reads {FORMAT_VERSION}",
            where=str(path),
            mend="install the biote version that wrote it",
        )
    try:
        return StoredEncoder(
            encoder=EncoderConfig(**content["encoder"]),
            vocab_size=int(content["vocab_size"]),
            tokenizer_fingerprint=str(content["tokenizer_fingerprint"]),
            weights_fingerprint=str(content[_FINGERPRINT]),
            has_readout=bool(content["has_readout"]),
            biote_version=str(content["biote_version"]),
            extra=dict(content["extra"]),
        )
    except KeyError as error:
        raise CheckpointError(
            f"{error.args[0]} is missing", where=str(path), mend=_COPY_ANEW
        ) from error
    except (TypeError, ValueError, ConfigError) as error:
        raise CheckpointError(str(error), where=str(path), mend=_COPY_ANEW) from error


def load_encoder_weights(folder: Path, encoder: Encoder, readout: Readout | None = None) -> None:
    """Load the weights of an encoder folder; nothing is loaded unless all of it fits.

    Args:
        folder: Encoder folder.
        encoder: Encoder of the sizes in the folder's configuration.
        readout: Language-model readout to load too; without it a readout in the folder stays
            there.

    Raises:
        CheckpointError: If a file is missing or damaged, the two do not belong together, or
            names or shapes are not those of the modules.
    """
    stored = load_encoder_config(folder)
    path = folder / WEIGHTS_FILE
    wanted = _named_tensors(encoder, readout)
    with _opened(path) as weights:
        if (weights.metadata() or {}).get(_FINGERPRINT) != stored.weights_fingerprint:
            raise CheckpointError(
                f"it does not belong to the {CONFIG_FILE} beside it",
                where=str(path),
                mend=_COPY_ANEW,
            )
        names = set(weights.keys())
        if readout is None:
            names = {name for name in names if not name.startswith("readout.")}
        elif not stored.has_readout:
            raise CheckpointError(
                "it holds an encoder without language-model readout",
                where=str(folder),
                mend="use a folder exported by pre-training",
            )
        _check_names(names, set(wanted), path)
        for name, tensor in wanted.items():
            shape = tuple(weights.get_slice(name).get_shape())
            if shape != tuple(tensor.shape):
                raise CheckpointError(
                    f"{name} has shape {shape}, the model's is {tuple(tensor.shape)}",
                    where=str(path),
                    mend="use the sizes and tokenizer of the folder",
                )
        for name, tensor in wanted.items():
            assign(tensor, weights.get_tensor(name))


def weights_fingerprint(source: nn.Module | Path) -> str:
    """SHA-256 over names, dtypes, shapes and values of weights, in order of name.

    Of a sharded module every process has to ask.

    Args:
        source: Module, or an encoder folder (its names begin with ``encoder.``, ``readout.``).

    Raises:
        CheckpointError: If the folder's weights are missing or damaged.
    """
    if isinstance(source, nn.Module):
        return _fingerprint(whole_tensors(source))
    with _opened(source / WEIGHTS_FILE) as weights:
        return _fingerprint((name, weights.get_tensor(name)) for name in sorted(weights.keys()))


def _fingerprint(tensors: Iterable[tuple[str, Tensor]]) -> str:
    """Hash tensors, sorted by name, of which no more than one is held."""
    digest = hashlib.sha256()
    for name, tensor in tensors:
        header = json.dumps([name, str(tensor.dtype), list(tensor.shape)])
        digest.update(header.encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _whole_tensors(encoder: Encoder, readout: Readout | None) -> Iterator[tuple[str, Tensor]]:
    for prefix, module in (("encoder", encoder), ("readout", readout)):
        if module is not None:
            for name, tensor in whole_tensors(module):
                yield f"{prefix}.{name}", tensor


def _named_tensors(encoder: Encoder, readout: Readout | None) -> dict[str, Tensor]:
    named = {f"encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}
    if readout is not None:
        named |= {f"readout.{name}": tensor for name, tensor in readout.state_dict().items()}
    return named


def _check_names(there: set[str], wanted: set[str], path: Path) -> None:
    for problem, names in (("lacks", wanted - there), ("has unknown", there - wanted)):
        if names:
            first = sorted(names)[0]
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise CheckpointError(
                f"it {problem} weights: {first}{more}",
                where=str(path),
                mend="use the sizes of the folder's own configuration",
            )


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A safetensors file, errors of its format told as what they are."""
    if not path.is_file():
        raise CheckpointError(f"no {path.name} there", where=str(path.parent), mend=_COPY_ANEW)
    try:
        with safe_open(path, framework="pt") as weights:
            yield weights
    except SafetensorError as error:
        raise CheckpointError(
            f"not a whole safetensors file ({error})", where=str(path), mend=_COPY_ANEW
        ) from error
