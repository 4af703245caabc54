"""Protein families: ancestors with secondary structure and shared motifs, members with mutations.

Three regularities can be learnt, from near to far: neighbours follow the pattern of a helix or
strand, motifs recur in many families, and members of a family resemble each other throughout.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

# Letters to draw from, repeated by weight, for each place of a repeating pattern.
_HELIX_CORE: Final = "LLLLLAAAIIMMVFK"
_HELIX_SURFACE: Final = "EEEEKKKKAAARRQQDNS"
_STRAND_CORE: Final = "VVVVVIIIIFFYYWLC"
_STRAND_SURFACE: Final = "TTTTSSKKREQNVH"
_TURN: Final = "GGGGGPPPNNNDDDSSTH"
_SEGMENTS: Final = (
    # (letters of each place, mean length)
    ((_HELIX_CORE, *(_HELIX_SURFACE,) * 2, *(_HELIX_CORE,) * 2, *(_HELIX_SURFACE,) * 2), 15),
    ((_STRAND_CORE, _STRAND_SURFACE), 8),
    ((_TURN,), 5),
)
_SIMILAR: Final = ("ILMV", "FWY", "KR", "DE", "NQH", "ST", "AGP", "C")
_SIMILAR_TO: Final = {letter: group for group in _SIMILAR for letter in group}
_ANY_RESIDUE: Final = "AACDDEEFFGGHIIKKLLLMNNPPQRRSSTTVVWY"

_CONSERVED_RATE: Final = 0.03
_VARIABLE_RATE: Final = 0.3
_SIMILAR_SHARE: Final = 0.6


@dataclass(frozen=True)
class ProteinFamily:
    """An ancestor and how fast each of its residues changes."""

    name: str
    ancestor: str
    mutation_rates: npt.NDArray[np.float64]
    """Probability that a member differs at a residue, (length of the ancestor,)."""


def draw_fold(length: int, *, rng: np.random.Generator) -> str:
    """Draw residues that follow the patterns of helices, strands and turns.

    Args:
        length: Number of residues.
        rng: Source of randomness.
    """
    letters: list[str] = []
    kind = int(rng.integers(len(_SEGMENTS)))
    while len(letters) < length:
        places, mean_length = _SEGMENTS[kind]
        for i in range(2 + int(rng.poisson(mean_length - 2))):
            choices = places[i % len(places)]
            letters.append(choices[int(rng.integers(len(choices)))])
        kind = (kind + 1 + int(rng.integers(len(_SEGMENTS) - 1))) % len(_SEGMENTS)
    return "".join(letters[:length])


def draw_families(number: int, *, rng: np.random.Generator) -> list[ProteinFamily]:
    """Draw families, each with a few motifs of a library common to all.

    Args:
        number: Number of families.
        rng: Source of randomness.
    """
    motifs = ["".join(rng.choice(list(_ANY_RESIDUE), int(rng.integers(8, 15)))) for _ in range(10)]
    families = []
    for i in range(number):
        ancestor = "M" + draw_fold(int(rng.integers(90, 320)), rng=rng)
        rates = np.full(len(ancestor), _VARIABLE_RATE)
        rates[0] = 0.0
        # Motifs stand in separate thirds, so that none overwrites another.
        third = len(ancestor) // 3
        for part, motif in enumerate(rng.choice(motifs, 3, replace=False)):
            start = 1 + part * third + int(rng.integers(third - len(motif)))
            ancestor = ancestor[:start] + str(motif) + ancestor[start + len(motif) :]
            rates[start : start + len(motif)] = _CONSERVED_RATE
        families.append(ProteinFamily(f"FAM{i + 1}", ancestor, rates))
    return families


def draw_member(family: ProteinFamily, *, rng: np.random.Generator) -> str:
    """Draw a protein of a family: mutated, with a tail of its own.

    Args:
        family: Family.
        rng: Source of randomness.
    """
    letters = list(family.ancestor)
    for i in np.flatnonzero(rng.random(len(letters)) < family.mutation_rates):
        similar = rng.random() < _SIMILAR_SHARE
        choices = _SIMILAR_TO[letters[i]] if similar else _ANY_RESIDUE
        letters[i] = choices[int(rng.integers(len(choices)))]
    return "".join(letters) + draw_fold(int(rng.integers(0, 25)), rng=rng)


def pick_family(families: list[ProteinFamily], *, rng: np.random.Generator) -> ProteinFamily:
    """Pick a family, early ones more often, as some families are larger than others.

    Args:
        families: Families.
        rng: Source of randomness.
    """
    weights = 1.0 / np.arange(4, 4 + len(families))
    return families[int(rng.choice(len(families), p=weights / weights.sum()))]
