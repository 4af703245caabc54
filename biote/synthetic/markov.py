"""Nucleotide sequences from a Markov chain of second order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_LETTERS = "ACGT"


@dataclass(frozen=True)
class MarkovChain:
    """What nucleotide follows two others."""

    probabilities: npt.NDArray[np.float64]
    """Of A, C, G and T after each of the 16 pairs, (16, 4); pairs in alphabetical order."""

    def sample(self, length: int, *, rng: np.random.Generator) -> str:
        """Draw a sequence.

        Args:
            length: Number of nucleotides.
            rng: Source of randomness.
        """
        thresholds = np.cumsum(self.probabilities, axis=1)[:, :3].tolist()
        state = int(rng.integers(16))
        drawn = []
        for value in rng.random(length).tolist():
            first, second, third = thresholds[state]
            letter = (value >= first) + (value >= second) + (value >= third)
            drawn.append(letter)
            state = (state * 4 + letter) % 16
        return "".join([_LETTERS[letter] for letter in drawn])


def draw_chain(
    rng: np.random.Generator, *, concentration: float = 0.25, relative: MarkovChain | None = None
) -> MarkovChain:
    """Draw a chain.

    Args:
        rng: Source of randomness.
        concentration: Of the Dirichlet distribution of each row; small values make sequences
            predictable.
        relative: Chain that the drawn one resembles, if any.
    """
    drawn = rng.dirichlet(np.full(4, concentration), size=16)
    # Every nucleotide may follow every pair: a sequence never runs into a loop of a few letters.
    drawn = 0.88 * drawn + 0.12 / 4
    return MarkovChain(drawn if relative is None else 0.3 * drawn + 0.7 * relative.probabilities)
