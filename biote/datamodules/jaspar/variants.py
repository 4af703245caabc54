"""Consensus sites, their mutants and the negative controls, as rows and as a table about them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import polars as pl

from biote.datamodules.jaspar.factors import Factor, of_another_family
from biote.datamodules.jaspar.mutants import (
    changed_positions,
    draw_mutants,
    seeded,
    shuffled_site,
)
from biote.datamodules.rows import Row
from biote.molecules import Molecule, reverse_complement

Control = Literal["other_family", "shuffled"]

MATCHED = "matched"
"""The factor at its own consensus: no control."""

UNMEASURED = (float("nan"),)
"""Target of a row whose Delta G nobody measured."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One site that a protein is put on."""

    row_id: str
    reference_id: str
    """Row whose site was mutated to this one; a consensus is its own."""

    control: str
    """``matched``, ``other_family`` (a protein without a domain in common with the site's own) or
    ``shuffled`` (the bases of the consensus in another order)."""

    protein: str
    """Accession whose site it is."""

    bound_protein: str
    """Accession that is put on it."""

    family: str
    """Domains of the protein whose site it is."""

    profile: str
    probability: float | None
    """Probability of each base to be replaced; null of a consensus."""

    site: str
    changed: tuple[int, ...]
    """Positions, from 0, that differ from the consensus."""

    log_odds_change_bits: float
    """Log-odds of the site minus those of its reference, by the profile; of ``shuffled`` sites
    either may score higher."""

    information_bits: float | None
    """Mean information of the changed positions; null of a consensus."""


@dataclass(frozen=True)
class Variants:
    """All variants, the rows that ask for their Delta G, and what could not be made."""

    variants: list[Variant]
    rows: list[Row]
    missing: dict[str, int]

    def frame(self) -> pl.DataFrame:
        """A line for each variant, with the columns of `Variant`."""
        schema: dict[str, Any] = {
            "row_id": pl.String, "reference_id": pl.String, "control": pl.String,
            "protein": pl.String, "bound_protein": pl.String, "family": pl.String,
            "profile": pl.String, "probability": pl.Float64, "site": pl.String,
            "changed": pl.List(pl.Int64), "log_odds_change_bits": pl.Float64,
            "information_bits": pl.Float64,
        }  # fmt: skip
        return pl.DataFrame([asdict(variant) for variant in self.variants], schema=schema)


def make_variants(
    factors: Sequence[Factor],
    *,
    probabilities: Sequence[float],
    mutants: int,
    controls: Sequence[Control],
    seed: int,
    partners: Sequence[Factor] | None = None,
) -> Variants:
    """Make the rows of every factor.

    Mutants depend on seed, profile and probability alone: proteins that share a profile share
    its mutants, and neither order nor number of factors matters.

    Args:
        factors: Factors at their sites.
        probabilities: Probability of each base to be replaced; each gives mutants of its own.
        mutants: Distinct mutants of each factor and probability.
        controls: Negative controls beside the factor at its own site.
        seed: Decides every mutant.
        partners: Where proteins of other families are drawn from; by default the factors.
    """
    maker = _Maker(probabilities, mutants, seed)
    for factor in factors:
        maker.add(factor, factor, MATCHED, factor.profile.consensus)
        if "other_family" in controls:
            other = of_another_family(factor, partners or factors, seed=seed)
            if other is None:
                maker.missing["factors without one of another family"] += 1
            else:
                maker.add(factor, other, "other_family", factor.profile.consensus)
        if "shuffled" in controls:
            rng = seeded(seed, "shuffled", factor.profile.id)
            shuffled = shuffled_site(factor.profile.consensus, rng=rng)
            if shuffled is None:
                maker.missing["sites that cannot be shuffled"] += 1
            else:
                maker.add(factor, factor, "shuffled", shuffled)
    return Variants(maker.variants, maker.rows, dict(maker.missing))


def binding_parts(chains: Sequence[str], site: str) -> tuple[tuple[str, Molecule], ...]:
    """The input of a binding task: chains, a strand and its reverse complement.

    Args:
        chains: Proteins.
        site: First strand, 5' to 3'.
    """
    return (
        *((chain, Molecule.PROTEIN) for chain in chains),
        (site, Molecule.DNA),
        (reverse_complement(site), Molecule.DNA),
    )


class _Maker:
    """Collects variants and rows."""

    def __init__(self, probabilities: Sequence[float], mutants: int, seed: int) -> None:
        self.variants: list[Variant] = []
        self.rows: list[Row] = []
        self.missing: Counter[str] = Counter()
        self._probabilities = probabilities
        self._mutants = mutants
        self._seed = seed
        self._of_site: dict[tuple[str, str, float], list[str]] = {}

    def add(self, factor: Factor, bound: Factor, control: str, consensus: str) -> None:
        """Add a consensus and its mutants."""
        prefix = f"{factor.protein}:{factor.profile.id}:{control}"
        reference = f"{prefix}:consensus"
        self._one(factor, bound, control, reference, reference, None, consensus, consensus)
        for probability in self._probabilities:
            drawn = self._drawn(factor, consensus, probability)
            if len(drawn) < self._mutants:
                self.missing["mutants of sites too short for more"] += self._mutants - len(drawn)
            for number, mutant in enumerate(drawn):
                row_id = f"{prefix}:{probability:g}:{number}"
                self._one(factor, bound, control, row_id, reference, probability, mutant, consensus)

    def _drawn(self, factor: Factor, consensus: str, probability: float) -> list[str]:
        key = (factor.profile.id, consensus, probability)
        if key not in self._of_site:
            rng = seeded(self._seed, "mutants", *key)
            self._of_site[key] = draw_mutants(consensus, probability, self._mutants, rng=rng)
        return self._of_site[key]

    def _one(
        self, factor: Factor, bound: Factor, control: str, row_id: str, reference: str,
        probability: float | None, site: str, consensus: str,
    ) -> None:  # fmt: skip
        profile = factor.profile
        changed = changed_positions(consensus, site)
        information = profile.information_bits[changed]
        self.variants.append(
            Variant(
                row_id=row_id,
                reference_id=reference,
                control=control,
                protein=factor.protein,
                bound_protein=bound.protein,
                family=factor.family,
                profile=profile.id,
                probability=probability,
                site=site,
                changed=tuple(changed),
                log_odds_change_bits=profile.score_bits(site) - profile.score_bits(consensus),
                information_bits=float(information.mean()) if changed else None,
            )
        )
        group = hashlib.sha256("+".join(bound.sequences).encode()).hexdigest()[:16]
        parts = binding_parts(bound.sequences, site)
        self.rows.append(Row(id=row_id, parts=parts, target=UNMEASURED, group=group))
