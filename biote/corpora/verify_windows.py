"""Window sidecars against their corpus: every token of every unit in one window, in order.

Legend: W windows looked at together.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, cast

import numpy as np
import numpy.typing as npt

from biote.corpora.shards import Corpus, Units
from biote.corpora.windows import (
    SPECIAL_TOKENS,
    WINDOW_FOLDER,
    Split,
    WindowIndex,
    sidecar_name,
)
from biote.errors import DataError

_NAME: Final = re.compile(r"([0-9]+)-(train|validation)-([0-9a-f]{16})\.u64")
_WINDOWS_AT_ONCE: Final = 1 << 20
_UNITS_AT_ONCE: Final = 1 << 20


def find_sidecars(folder: Path) -> list[Path]:
    """The window sidecars of a corpus.

    Args:
        folder: Corpus folder.
    """
    return sorted((folder / WINDOW_FOLDER).glob("[0-9]*-*-*.u64"))


def check_windows(corpus: Corpus) -> Iterator[tuple[Path, str | None]]:
    """Yield every window sidecar with what is wrong with it, if anything.

    The sidecar of a mixture may hold out more than the corpus does. Which units more cannot be
    told from the corpus, so then it is checked that it holds every window of the units it has,
    that it holds out what the corpus holds out, and that those of training and validation,
    where both are there, share out the units between them.

    Args:
        corpus: The corpus, its shards checked.
    """
    pairs: dict[tuple[int, str], dict[Split, Path]] = {}
    for path in find_sidecars(corpus.folder):
        match = _NAME.fullmatch(path.name)
        if match is None or int(match[1]) <= SPECIAL_TOKENS:
            yield path, "not the name of a window index"
        else:
            pairs.setdefault((int(match[1]), match[3]), {})[cast(Split, match[2])] = path
    for (context, _), paths in pairs.items():
        held: dict[Split, npt.NDArray[np.uint8]] = {}
        for split, path in paths.items():
            try:
                held[split] = _units_held(WindowIndex(corpus, path, context=context))
            except DataError as error:
                yield path, error.what
                continue
            except OSError as error:
                yield path, f"cannot be read: {error.strerror}"
                continue
            own = path.name == sidecar_name(corpus, context, split, corpus.info.validation)
            other = held["train"] if split == "validation" and "train" in held else None
            yield path, _wrong_side(corpus, held[split], split, own=own, other=other)


def _wrong_side(
    corpus: Corpus,
    held: npt.NDArray[np.uint8],
    split: Split,
    *,
    own: bool,
    other: npt.NDArray[np.uint8] | None,
) -> str | None:
    """What is wrong with the choice of units of a sidecar."""
    for first in range(0, corpus.n_units, _UNITS_AT_ONCE):
        units = np.arange(first, min(first + _UNITS_AT_ONCE, corpus.n_units))
        wanted = corpus.info.validation.is_validation(corpus.digests(units))
        there = _bits(held, units)
        if split == "train":
            wrong = there == wanted if own else there & wanted
        else:
            wrong = there != wanted if own else wanted & ~there
        if other is not None:
            wrong |= there == _bits(other, units)
        if wrong.any():
            unit = int(units[wrong][0])
            return f"unit {unit}, of record {corpus.record_id(unit)}, is not where its split says"
    return None


def _bits(bits: npt.NDArray[np.uint8], units: Units) -> npt.NDArray[np.bool_]:
    there: npt.NDArray[np.bool_] = (bits[units >> 3] >> (units & 7) & 1).astype(np.bool_)
    return there


def _units_held(index: WindowIndex) -> npt.NDArray[np.uint8]:
    """The units of a sidecar, one bit for every unit of the corpus."""
    held = np.zeros((index.corpus.n_units + 7) // 8, np.uint8)
    for units in _whole_units(index):
        np.bitwise_or.at(held, units >> 3, np.left_shift(1, units & 7).astype(np.uint8))
    return held


def _whole_units(index: WindowIndex) -> Iterator[Units]:
    """Yield the units of a sidecar, (W,), after it is known that their windows are all there.

    Raises:
        DataError: If a window is missing, is there twice, or stands in the wrong place.
    """
    unit, stop, length = -1, 0, 0  # of the last window
    for begin in range(0, len(index), _WINDOWS_AT_ONCE):
        numbers = np.arange(begin, min(begin + _WINDOWS_AT_ONCE, len(index)))
        try:
            places = index.locate(numbers)
        except IndexError:
            raise DataError("names a unit that the corpus does not have") from None
        lengths = index.corpus.lengths(places.units)
        before_units = _shifted(unit, places.units)
        before_stops = _shifted(stop, places.stops)
        before_lengths = _shifted(length, lengths)
        new = places.units != before_units
        wrong = np.where(
            new,
            (places.units < before_units) | (places.starts != 0) | (before_stops != before_lengths),
            places.starts != before_stops,
        )
        wrong |= places.starts >= places.stops
        if wrong.any():
            window = begin + int(np.flatnonzero(wrong)[0])
            raise DataError(f"window {window} is not the one that follows window {window - 1}")
        yield places.units
        unit, stop, length = int(places.units[-1]), int(places.stops[-1]), int(lengths[-1])
    if stop != length:
        raise DataError(f"the last windows of unit {unit} are missing")


def _shifted(before: int, column: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """A column one place on, (W,)."""
    return np.concatenate([np.array([before], np.int64), column[:-1]])
