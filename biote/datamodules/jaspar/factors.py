"""Which transcription factors are asked about: a protein with the latest version of a profile."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from biote.datamodules.jaspar.database import Database, Protein
from biote.datamodules.jaspar.mutants import seeded
from biote.datamodules.jaspar.profiles import Profile

Dimers = Literal["exclude", "concatenate"]

NO_DOMAIN = "no domain"


@dataclass(frozen=True, kw_only=True, eq=False)
class Factor:
    """A transcription factor at its site."""

    protein: str
    """Accession; of a dimer both, joined by ``+``. Accessions with one sequence share the first."""

    sequences: tuple[str, ...]
    """Its chains."""

    profile: Profile
    domains: frozenset[str]
    """DNA-binding domains of all chains."""

    @property
    def family(self) -> str:
        """Factors with the same set of domains; one without any is a family of its own."""
        return "+".join(sorted(self.domains)) or f"{NO_DOMAIN} ({self.protein})"


@dataclass(frozen=True)
class Factors:
    """Factors that are asked about and what became of the others."""

    kept: list[Factor]
    dropped: dict[str, int]
    """Number of things dropped, by what and why."""


def select_factors(database: Database, *, dimers: Dimers = "exclude") -> Factors:
    """Pair every protein with the latest version of every profile it is linked to.

    Args:
        database: JASPAR files.
        dimers: ``exclude`` profiles that two proteins bind together, or ``concatenate`` the
            partners, in the order of their accessions, where the files link exactly two.
    """
    dropped: Counter[str] = Counter()
    partners: dict[str, list[Protein]] = defaultdict(list)
    kept: list[Factor] = []
    seen: set[tuple[str, str]] = set()
    name_of: dict[str, str] = {}
    for accession in sorted(database.proteins):
        protein = database.proteins[accession]
        if not protein.sequence:
            dropped["proteins without a sequence"] += 1
            continue
        name = name_of.setdefault(protein.sequence, accession)
        latest = _latest(database.profiles[matrix] for matrix in protein.profiles)
        older = len(set(protein.profiles)) - len(latest)
        if older:
            dropped["older versions of a protein's profile"] += older
        for profile in latest:
            if profile.is_dimer:
                partners[profile.id].append(protein)
            elif (protein.sequence, profile.id) in seen:
                dropped["further accessions of a sequence and profile"] += 1
            else:
                seen.add((protein.sequence, profile.id))
                kept.append(_factor(name, [protein], profile))
    for matrix, proteins in sorted(partners.items()):
        if dimers == "exclude":
            dropped["profiles of dimers"] += 1
        elif len(proteins) != 2:
            dropped["profiles of dimers without two partners"] += 1
        else:
            joined = "+".join(name_of[protein.sequence] for protein in proteins)
            kept.append(_factor(joined, proteins, database.profiles[matrix]))
    return Factors(kept, dict(dropped))


def without(factors: Sequence[Factor], unwanted: Collection[str]) -> tuple[list[Factor], int]:
    """Leave out factors with a chain that is not wanted.

    Args:
        factors: Factors.
        unwanted: Sequences.

    Returns:
        The others, and the number of proteins left out.
    """
    wanted = [f for f in factors if not any(s in unwanted for s in f.sequences)]
    return wanted, len({f.protein for f in factors}) - len({f.protein for f in wanted})


def sampled(factors: Sequence[Factor], number: int, *, seed: int) -> list[Factor]:
    """Draw some proteins, with all their profiles.

    Args:
        factors: Factors.
        number: Most proteins.
        seed: Decides which; a larger number adds proteins and takes none away.
    """
    key: Callable[[str], int] = lambda name: int(seeded(seed, "sample", name).integers(2**63))  # noqa: E731
    chosen = set(sorted({f.protein for f in factors}, key=key)[:number])
    return [f for f in factors if f.protein in chosen]


def of_another_family(factor: Factor, factors: Sequence[Factor], *, seed: int) -> Factor | None:
    """Draw a factor that shares no domain with another one.

    Args:
        factor: The one that is replaced.
        factors: Where to draw from, in any order.
        seed: Decides which.

    Returns:
        The other, or None where domains are not known or all factors share one.
    """
    if not factor.domains:
        return None
    others = sorted(
        {
            other.protein: other
            for other in factors
            if other.domains and not other.domains & factor.domains
        }.items()
    )
    if not others:
        return None
    rng = seeded(seed, "other family", factor.protein, factor.profile.id)
    return others[int(rng.integers(len(others)))][1]


def _latest(profiles: Iterable[Profile]) -> list[Profile]:
    latest: dict[str, Profile] = {}
    for profile in profiles:
        there = latest.get(profile.base_id)
        if there is None or profile.version > there.version:
            latest[profile.base_id] = profile
    return [latest[base] for base in sorted(latest)]


def _factor(name: str, proteins: Sequence[Protein], profile: Profile) -> Factor:
    return Factor(
        protein=name,
        sequences=tuple(protein.sequence for protein in proteins),
        profile=profile,
        domains=frozenset(domain for protein in proteins for domain in protein.domains),
    )
