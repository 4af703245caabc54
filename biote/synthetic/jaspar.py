"""JASPAR files of synthetic factors: the recognition residues in a protein spell its profile.

Files as those of one taxon of the real ones: ``synthetic.jaspar.gz``, ``.uniprot.json.gz``,
``.pfam.json.gz`` and ``.profiles.json.gz``, with older versions, a dimer and a protein without
sequence among them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from biote.synthetic.fasta import uniprot_accession
from biote.synthetic.files import write_ascii
from biote.synthetic.pronab import RT_KCAL_MOL
from biote.synthetic.proteins import ProteinFamily, draw_member, pick_family
from biote.synthetic.recognition import BASES, penalties, with_domain

TAXON: Final = "synthetic"

_SITES_COUNTED: Final = (40, 400)  # of the older and of the latest version
_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_FIRST_ACCESSION: Final = 950_000


@dataclass(frozen=True)
class SyntheticProfile:
    """One version of a profile."""

    id: str
    name: str
    counts: npt.NDArray[np.int64]
    """Counts of A, C, G, T, (4, L)."""


@dataclass(frozen=True)
class SyntheticFactor:
    """One accession."""

    accession: str
    sequence: str
    """Empty where the file holds none."""

    profiles: tuple[str, ...]
    """Matrix ids."""

    domains: tuple[str, ...]


@dataclass(frozen=True)
class SyntheticJaspar:
    """Content of the files."""

    profiles: tuple[SyntheticProfile, ...]
    factors: tuple[SyntheticFactor, ...]


def draw_jaspar(
    sites: Sequence[str],
    families: list[ProteinFamily],
    *,
    factors: int,
    rng: np.random.Generator,
) -> SyntheticJaspar:
    """Draw factors and their profiles.

    Base frequencies follow from the energies of the recognition code as a Boltzmann distribution,
    so the consensus is the site without penalty (but for the noise of counting).

    Args:
        sites: Recognition residues that factors may have; those with the same are of one family.
        families: Families of the proteins' scaffolds.
        factors: Proteins with a sequence, at least 2.
        rng: Source of randomness.
    """
    profiles: list[SyntheticProfile] = []
    drawn: list[SyntheticFactor] = []
    for number in range(factors):
        site = sites[number % len(sites)]
        name = "".join(rng.choice(list(_LETTERS), 3)) + str(number + 1)
        versions = [
            SyntheticProfile(f"SY{number + 1:04d}.{version}", name, draw_counts(site, n, rng=rng))
            for version, n in enumerate(_SITES_COUNTED, 1)
        ]
        profiles += versions
        scaffold = draw_member(pick_family(families, rng=rng), rng=rng)
        drawn.append(
            SyntheticFactor(
                uniprot_accession(_FIRST_ACCESSION + number),
                with_domain(scaffold, site, rng=rng),
                tuple(profile.id for profile in versions),
                (f"Synthetic_{number % len(sites) + 1}",),
            )
        )
    first, second = drawn[:2]
    counts = np.concatenate([profiles[1].counts, profiles[3].counts], axis=1)
    dimer = SyntheticProfile("SY9000.1", f"{profiles[1].name}::{profiles[3].name}", counts)
    profiles.append(dimer)
    for i, partner in enumerate((first, second)):
        drawn[i] = SyntheticFactor(
            partner.accession, partner.sequence, (*partner.profiles, dimer.id), partner.domains
        )
    nameless = uniprot_accession(_FIRST_ACCESSION + factors)
    drawn.append(SyntheticFactor(nameless, "", first.profiles, ()))
    return SyntheticJaspar(tuple(profiles), tuple(drawn))


def draw_counts(
    recognition_residues: str, number: int, *, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Count the bases of sites that a factor has bound.

    Args:
        recognition_residues: The eight residues that decide the site.
        number: Sites.
        rng: Source of randomness.

    Returns:
        Counts of A, C, G, T at each position, (4, 8).
    """
    weights = np.exp(-penalties(recognition_residues) / RT_KCAL_MOL)  # (8, 4)
    shares = weights / weights.sum(axis=1, keepdims=True)
    return np.stack([rng.multinomial(number, share) for share in shares], axis=1)


def write_jaspar(folder: Path, data: SyntheticJaspar) -> None:
    """Write the files.

    Args:
        folder: Folder to write to; made if it is not there.
        data: Their content.
    """
    text = "".join(_format(profile) for profile in data.profiles)
    write_ascii(folder / f"{TAXON}.jaspar.gz", text)
    contents: dict[str, dict[str, Any]] = {
        "profiles": {profile.id: profile.name for profile in data.profiles},
        "uniprot": {f.accession: [list(f.profiles), f.sequence] for f in data.factors},
        "pfam": {
            f.accession: [[name, f.sequence, 1, len(f.sequence), 1e-30] for name in f.domains]
            for f in data.factors
        },
    }
    for name, content in contents.items():
        write_ascii(folder / f"{TAXON}.{name}.json.gz", json.dumps(content, indent=4) + "\n")


def _format(profile: SyntheticProfile) -> str:
    width = max(6, math.ceil(math.log10(profile.counts.max() + 1)) + 1)
    lines = [f">{profile.id}\t{profile.name}"]
    for base, counts in zip(BASES, profile.counts, strict=True):
        lines.append(f"{base}  [{' '.join(f'{count:{width}d}' for count in counts)} ]")
    return "\n".join(lines) + "\n"
