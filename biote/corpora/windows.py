"""Windows of a corpus: every token of every unit in exactly one of them.

Legend: N windows asked for, W all windows of a split.

A window is ``<TYPE>``, at most context - 2 tokens of one unit, and ``<EOS>`` where it ends its
record. The sidecar holds one uint64 a window: unit << 24 | ordinal of the window in its unit.
"""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from biote.atomic import atomic_path
from biote.corpora.manifest import ValidationRule
from biote.corpora.shards import Corpus
from biote.errors import ConfigError, DataError

Split = Literal["train", "validation"]

WINDOW_FOLDER: Final = "windows"
SPECIAL_TOKENS: Final = 2
"""Room kept in every window for the type tag and the end token."""

_ORDINAL_BITS: Final = 24
# Looked at and written at once: small, so that building a sidecar takes the same memory for any
# corpus, and what the allocator keeps of it is nothing.
_CHUNK_UNITS: Final = 1 << 15
_CHUNK_WINDOWS: Final = 1 << 15


@dataclass(frozen=True)
class Places:
    """Where windows lie in their corpus."""

    units: npt.NDArray[np.int64]
    """Unit of every window, (N,)."""
    starts: npt.NDArray[np.int64]
    """First token of every window in its unit, (N,)."""
    stops: npt.NDArray[np.int64]
    """One past the last token of every window in its unit, (N,)."""
    closes: npt.NDArray[np.bool_]
    """Whether a window ends its record and is closed by an end token, (N,)."""

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of every window, type tag and end token included, (N,)."""
        return 1 + self.stops - self.starts + self.closes


class WindowIndex:
    """The windows of one split of a corpus, found in a memory-mapped sidecar.

    Args:
        corpus: Corpus the sidecar belongs to.
        path: Sidecar file.
        context: Tokens of the longest window, type tag and end token included.

    Raises:
        DataError: If the file cannot be the sidecar of this corpus.
    """

    def __init__(self, corpus: Corpus, path: Path, *, context: int) -> None:
        self.corpus = corpus
        self.path = path
        self.context = context
        size = path.stat().st_size
        if size % 8:
            raise DataError(
                f"{size} bytes are no whole number of windows", where=str(path), mend="delete it"
            )
        self._entries = _map(path) if size else np.empty(0, np.uint64)
        if size and int(self._entries[-1]) >> _ORDINAL_BITS >= corpus.n_units:
            raise DataError("made for another corpus", where=str(path), mend="delete it")

    def __reduce__(self) -> tuple[object, tuple[Corpus, Path, int]]:
        return _reopen, (self.corpus, self.path, self.context)

    def __len__(self) -> int:
        """Number of windows, W."""
        return len(self._entries)

    def locate(self, windows: npt.NDArray[np.int64]) -> Places:
        """Find windows in the corpus.

        Args:
            windows: Window numbers, 0 to W - 1, (N,).

        Raises:
            IndexError: If a number is not that of a window.
        """
        if len(windows) and (windows.min() < 0 or windows.max() >= len(self)):
            raise IndexError(f"windows beyond the {len(self)} of {self.path.name}")
        entries = np.asarray(self._entries[windows])
        units = (entries >> np.uint64(_ORDINAL_BITS)).astype(np.int64)
        ordinals = (entries & np.uint64(2**_ORDINAL_BITS - 1)).astype(np.int64)
        lengths = self.corpus.lengths(units)
        starts = ordinals * (self.context - SPECIAL_TOKENS)
        stops = np.minimum(starts + self.context - SPECIAL_TOKENS, lengths)
        closes = (stops == lengths) & self.corpus.ends_record(units)
        return Places(units=units, starts=starts, stops=stops, closes=closes)


def _map(path: Path) -> npt.NDArray[np.uint64]:
    """Map a sidecar that is not empty."""
    with path.open("rb") as stream:
        mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    if hasattr(mmap, "MADV_RANDOM"):
        # Windows are drawn in random order: reading ahead would fetch 32 pages for every one.
        mapped.madvise(mmap.MADV_RANDOM)
    return np.frombuffer(mapped, np.uint64)


def _reopen(corpus: Corpus, path: Path, context: int) -> WindowIndex:
    return WindowIndex(corpus, path, context=context)


def open_windows(
    corpus: Corpus,
    *,
    context: int,
    split: Split,
    extra_validation: frozenset[int] = frozenset(),
    min_threshold: int = 0,
) -> WindowIndex:
    """Open the windows of a split, building the sidecar in the corpus folder if it is not there.

    In a mixture a sequence that one corpus holds out must be held out everywhere: pass the
    ``extra_digests`` and the ``threshold`` of ``shared_validation`` of its corpora to each.

    Args:
        corpus: Corpus to cut.
        context: Tokens of the longest window, type tag and end token included.
        split: Units of which split.
        extra_validation: Digests of units that are validation beside the corpus's own.
        min_threshold: Digests below it are validation, too.

    Raises:
        ConfigError: If the context is below 3 or needs too many windows of one unit.
        DataError: If the sidecar cannot be written.
    """
    if context <= SPECIAL_TOKENS:
        raise ConfigError(
            f"a context of {context} has no room for a token beside type tag and end token",
            where="context",
            mend="give at least 3",
        )
    own = corpus.info.validation
    rule = own.union(
        [ValidationRule(fraction=0, threshold=min_threshold, extra_digests=extra_validation)]
    )
    path = corpus.folder / WINDOW_FOLDER / sidecar_name(corpus, context, split, rule)
    if not path.is_file():
        try:
            with atomic_path(path) as partial, partial.open("wb") as stream:
                for entries in _entries(corpus, context, split, rule):
                    entries.tofile(stream)
        except OSError as error:
            raise DataError(
                f"the window index cannot be written: {error.strerror}",
                where=str(path),
                mend="make the corpus folder writable, or copy the corpus to where it is",
            ) from error
    return WindowIndex(corpus, path, context=context)


def shared_validation(corpora: list[Corpus]) -> ValidationRule:
    """The rule under which no corpus of a mixture trains on what another one holds out.

    Args:
        corpora: Corpora of the mixture, at least one.
    """
    first, *others = (corpus.info.validation for corpus in corpora)
    return first.union(others)


def sidecar_name(corpus: Corpus, context: int, split: Split, rule: ValidationRule) -> str:
    """File name of the windows of a split.

    Args:
        corpus: Corpus that is cut.
        context: Tokens of the longest window, type tag and end token included.
        split: Units of which split.
        rule: Which units are validation.
    """
    content = {"corpus": corpus.fingerprint, "validation": rule.to_json() | {"fraction": None}}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return f"{context}-{split}-{digest[:16]}.u64"


def _entries(
    corpus: Corpus, context: int, split: Split, rule: ValidationRule
) -> Iterator[npt.NDArray[np.uint64]]:
    """Sidecar entries of a split in order, a bounded number at a time."""
    room = context - SPECIAL_TOKENS
    for first, shard in corpus.shard_units():
        for begin in range(0, len(shard.digests), _CHUNK_UNITS):
            end = begin + _CHUNK_UNITS
            offsets = shard.offsets[begin : end + 1]
            wanted = rule.is_validation(shard.digests[begin:end]) == (split == "validation")
            counts = np.where(wanted, -(-np.diff(offsets) // room), 0)
            if counts.max() > 2**_ORDINAL_BITS:
                raise ConfigError(
                    f"a unit of this corpus needs {counts.max()} windows, at most "
                    f"{2**_ORDINAL_BITS} fit",
                    where="context",
                    mend="give a larger one",
                )
            ends = np.cumsum(counts)
            for done in range(0, int(ends[-1]), _CHUNK_WINDOWS):
                windows = np.arange(done, min(done + _CHUNK_WINDOWS, int(ends[-1])))
                rows = np.searchsorted(ends, windows, side="right")
                ordinals = windows - (ends - counts)[rows]
                units = (first + begin + rows).astype(np.uint64)
                yield (units << np.uint64(_ORDINAL_BITS)) | ordinals.astype(np.uint64)
