"""Sites with some bases replaced, and sites with their bases in another order."""

from __future__ import annotations

import hashlib
from typing import Final

import numpy as np

from biote.errors import ConfigError
from biote.molecules import reverse_complement

_BASES: Final = "ACGT"
_OTHERS: Final = {base: _BASES.replace(base, "") for base in _BASES}
_ATTEMPTS: Final = 20_000
"""Draws after which the distinct mutants found must do: only sites of a few bases need them."""


def seeded(seed: int, *names: object) -> np.random.Generator:
    """A source of randomness of its own for whatever has these names.

    What is drawn from it depends on nothing else, so neither on the order of profiles nor on
    which of them are there.

    Args:
        seed: Seed of the benchmark.
        names: Names, for example profile and rate.
    """
    text = repr((seed, *names)).encode()
    return np.random.default_rng(int.from_bytes(hashlib.blake2b(text, digest_size=16).digest()))


def draw_mutants(
    site: str, probability: float, number: int, *, rng: np.random.Generator
) -> list[str]:
    """Draw distinct mutants: each base is replaced by one of the three others with a probability.

    Draws that change nothing, or repeat a mutant, are made again.

    Args:
        site: Bases A, C, G, T.
        probability: Probability of each base to be replaced, above 0.
        number: Mutants wanted.
        rng: Source of randomness.

    Returns:
        Mutants in the order they were drawn, fewer than wanted where a short site has no more.

    Raises:
        ConfigError: If the probability is none, or a mutant would be impossible.
    """
    if not 0 < probability <= 1:
        raise ConfigError(
            f"a base is replaced with probability {probability}",
            where="data.probabilities",
            mend="give numbers above 0 and up to 1",
        )
    possible = (3 if probability == 1 else 4) ** len(site) - (probability < 1)
    wanted = min(number, possible)
    mutants: dict[str, None] = {}
    for _ in range(_ATTEMPTS):
        if len(mutants) >= wanted:
            break
        replaced = rng.random(len(site)) < probability
        if not replaced.any():
            continue
        mutants[
            "".join(
                _OTHERS[base][int(rng.integers(3))] if change else base
                for base, change in zip(site, replaced, strict=True)
            )
        ] = None
    return list(mutants)


def changed_positions(site: str, mutant: str) -> list[int]:
    """Positions, from 0, at which a mutant differs.

    Args:
        site: Bases.
        mutant: As many bases.
    """
    return [i for i, (a, b) in enumerate(zip(site, mutant, strict=True)) if a != b]


def single_substitutions(site: str) -> list[tuple[int, str, str]]:
    """Every site that differs in one base: position from 0, the new base, the new site.

    Args:
        site: Bases A, C, G, T.
    """
    return [
        (i, base, site[:i] + base + site[i + 1 :])
        for i, reference in enumerate(site)
        for base in _OTHERS[reference]
    ]


def shuffled_site(site: str, *, rng: np.random.Generator) -> str | None:
    """The same bases in another order, on neither strand the same site.

    Args:
        site: Bases A, C, G, T.
        rng: Source of randomness.

    Returns:
        The shuffled site, or None if no other order was found.
    """
    same = {site, reverse_complement(site)}
    for _ in range(1_000):
        shuffled = "".join(site[i] for i in rng.permutation(len(site)))
        if shuffled not in same:
            return shuffled
    return None
