from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from biote.errors import ConfigError
from biote.modules.config import EncoderConfig

SIZES: dict[str, Any] = {"width": 64, "layers": 2, "heads": 4, "context": 32}


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"width": 0}, "width"),
        ({"layers": 0}, "layers"),
        ({"heads": -1}, "heads"),
        ({"context": 0}, "context"),
        ({"heads": 5}, "heads"),
        ({"width": 12, "heads": 4}, "heads"),  # heads of width 3
        ({"rope_theta": 0.0}, "rope_theta"),
        ({"rope_theta": float("nan")}, "rope_theta"),
        ({"attention": "flash"}, "attention"),
    ],
)
def test_impossible_sizes_are_refused_by_key(change: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError, match=f"model.encoder.{key}") as caught:
        EncoderConfig(**(SIZES | change))
    assert caught.value.mend


def test_head_width() -> None:
    assert EncoderConfig(**SIZES).head_width == 16


def test_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        EncoderConfig(**SIZES).width = 8  # type: ignore[misc]
