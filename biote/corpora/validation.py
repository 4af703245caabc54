"""The validation split of a corpus: by digest, with every molecule type on both sides.

A unit is validation if its digest lies below a threshold or is one of a few extra digests, so
equal sequences stand on one side, whatever their molecule type.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from biote.corpora.manifest import ValidationRule
from biote.corpora.shards import ShardColumns
from biote.molecules import MOLECULES, Molecule
from biote.splits import validation_threshold

_CANDIDATES: Final = len(MOLECULES) + 1  # one of them is the last of no type


@dataclass
class _TypeDigests:
    """What is remembered of the digests of one molecule type."""

    units: int = 0
    lowest: npt.NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    highest: int = 0

    def add(self, digests: npt.NDArray[np.uint64]) -> None:
        self.units += len(digests)
        self.highest = max(self.highest, int(digests.max()))
        self.lowest = np.unique(np.concatenate([self.lowest, digests]))[:_CANDIDATES]


@dataclass(frozen=True)
class HeldOut:
    """How a corpus is split."""

    rule: ValidationRule
    units: Mapping[Molecule, int]
    """Validation units of every molecule type in the corpus."""
    tokens: Mapping[Molecule, int]
    """Their tokens."""
    notes: tuple[str, ...]
    """One line for everything that is not as asked for."""


def hold_out(shards: Callable[[], Iterable[ShardColumns]], fraction: float) -> HeldOut:
    """Decide which units are validation.

    A type without a unit below the threshold holds out its smallest digest. No type loses its
    last digest to validation: where all of one lie below the threshold, the threshold is lowered
    to the highest of them.

    Args:
        shards: Gives the shards of the corpus; called twice.
        fraction: Share of distinct sequences to hold out; 0 holds out nothing.

    Raises:
        DataError: If the fraction is out of range.
    """
    wanted = validation_threshold(fraction)
    types: dict[Molecule, _TypeDigests] = {}
    for shard in shards():
        for molecule, digests in _by_molecule(shard, shard.digests):
            types.setdefault(molecule, _TypeDigests()).add(digests)
    notes = []
    threshold = min([wanted, *(digests.highest for digests in types.values())])
    if threshold < wanted:
        notes.append(
            f"validation is smaller than the {fraction:g} asked for: it would have taken every "
            "unit of a molecule type"
        )
    extra: set[int] = set()
    last = {digests.highest for digests in types.values()}
    if not fraction:
        notes.append("validation fraction is 0: no unit is held out")
    for molecule in MOLECULES if fraction else ():
        if molecule not in types:
            continue
        lowest = [int(digest) for digest in types[molecule].lowest]
        if lowest[0] < threshold or extra.intersection(lowest):
            continue
        candidates = [digest for digest in lowest if digest not in last]
        if candidates:
            extra.add(candidates[0])
        else:
            units = types[molecule].units
            notes.append(
                f"{molecule.value}: no validation unit, because its {units} "
                f"unit{'s are' if units > 1 else ' is'} needed for training"
            )
    rule = ValidationRule(fraction=fraction, threshold=threshold, extra_digests=frozenset(extra))
    units_held, tokens_held = dict.fromkeys(types, 0), dict.fromkeys(types, 0)
    for shard in shards():
        held = rule.is_validation(shard.digests)
        for molecule, flags in _by_molecule(shard, held):
            units_held[molecule] += int(flags.sum())
        for molecule, lengths in _by_molecule(shard, np.diff(shard.offsets) * held):
            tokens_held[molecule] += int(lengths.sum())
    return HeldOut(rule=rule, units=units_held, tokens=tokens_held, notes=tuple(notes))


def _by_molecule(
    shard: ShardColumns, column: npt.NDArray[Any]
) -> Iterable[tuple[Molecule, npt.NDArray[Any]]]:
    """The values of a column for every molecule type of a shard."""
    for code in np.unique(shard.molecules).tolist():
        yield MOLECULES[code], column[shard.molecules == code]
