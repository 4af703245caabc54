"""ProNAB-style binding data with the real file's awkward rows in small numbers.

File: one JSON object, ``{accession: {"binding data": [[strand, type, Kd in M, Delta G in
kcal/mol, second strand], ...], "Protein Name", "Protein source", "Sequence"}}``; RNA is written
with T.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from biote.molecules import reverse_complement
from biote.synthetic.fasta import uniprot_accession
from biote.synthetic.proteins import ProteinFamily, draw_member, pick_family
from biote.synthetic.recognition import (
    BASES,
    best_site,
    binding_energy,
    draw_recognition_residues,
    with_domain,
)

RT_KCAL_MOL: Final = 1.987204e-3 * 298.0
"""Gas constant times 298 K."""

_PROTEINS_PER_SITE: Final = 12
"""Proteins that share recognition residues, so that held-out ones have relatives in training."""

RNA_WEAKENING_KCAL_MOL: Final = 1.5
"""What binding to RNA costs: a difference that a short training can find."""

_PROTEIN_SD_KCAL_MOL: Final = 0.3
_MEASUREMENT_SD_KCAL_MOL: Final = 0.4
_RNA_BINDING_SHARE: Final = 0.25
_SECOND_STRAND_SHARE: Final = 0.6

AWKWARD_SHARES: Final = {
    "missing value": 0.06,
    "Kd in the Delta G field": 0.0005,
    "type Other": 0.006,
    "empty first strand": 0.0005,
    "second strand no reverse complement": 0.08,
    "exact duplicate": 0.1,
}
"""Share of the rows with each awkwardness; every kind occurs at least once."""


@dataclass(frozen=True)
class Measurement:
    """One row of an accession."""

    first: str
    kind: str
    kd_molar: float
    delta_g_kcal_mol: float
    second: str


@dataclass(frozen=True)
class BindingProtein:
    """One accession."""

    accession: str
    name: str
    source: str
    sequence: str
    measurements: tuple[Measurement, ...]


@dataclass(frozen=True)
class BindingData:
    """The content of a ProNAB file and how many awkward rows are in it."""

    proteins: tuple[BindingProtein, ...]
    awkward: dict[str, int]
    """Number of rows of each awkward kind; of accessions for ``shared sequence``."""


def draw_binding_data(
    families: list[ProteinFamily], *, proteins: int, rows_per_protein: int, rng: np.random.Generator
) -> BindingData:
    """Draw binding proteins and measurements.

    Args:
        families: Families that the proteins' scaffolds belong to.
        proteins: Number of accessions, at least 2; two of them share a sequence.
        rows_per_protein: Measurements of each before exact duplicates are added.
        rng: Source of randomness.
    """
    sites = [draw_recognition_residues(rng) for _ in range(max(4, proteins // _PROTEINS_PER_SITE))]
    first_rna_site = round(len(sites) * (1 - _RNA_BINDING_SHARE))
    drawn: list[BindingProtein] = []
    for number in range(proteins):
        twin = number == proteins - 1  # the first protein under another accession
        site = 0 if twin else number % len(sites)
        family = pick_family(families, rng=rng)
        sequence = with_domain(draw_member(family, rng=rng), sites[site], rng=rng)
        kind = "RNA" if site >= first_rna_site else "DNA"
        offset = float(rng.normal(0, _PROTEIN_SD_KCAL_MOL))
        rows = tuple(
            _draw_measurement(sites[site], kind, offset, rng) for _ in range(rows_per_protein)
        )
        drawn.append(
            BindingProtein(
                accession=uniprot_accession(900_000 + number),
                name=f"{family.name} family nucleic acid-binding protein {number + 1}",
                source="Synthetic construct",
                sequence=drawn[0].sequence if twin else sequence,
                measurements=rows,
            )
        )
    rows_by_protein, awkward = _made_awkward([list(p.measurements) for p in drawn], rng)
    awkward["shared sequence"] = 1
    return BindingData(
        tuple(
            replace(protein, measurements=tuple(rows))
            for protein, rows in zip(drawn, rows_by_protein, strict=True)
        ),
        dict(awkward),
    )


def draw_probe(residues: str, *, rng: np.random.Generator) -> str:
    """Draw a strand to measure: a site with some bases drawn anew, in random flanks.

    Args:
        residues: Recognition residues of the protein.
        rng: Source of randomness.
    """
    site = list(best_site(residues))
    for place in rng.permutation(len(site))[: int(rng.choice([0, 1, 2, 3, len(site)]))]:
        site[place] = BASES[int(rng.integers(4))]
    flanks = "".join(rng.choice(list(BASES), int(rng.integers(4, 33))))
    cut = int(rng.integers(len(flanks) + 1))
    return flanks[:cut] + "".join(site) + flanks[cut:]


def write_pronab(path: Path, data: BindingData) -> None:
    """Write the JSON file.

    Args:
        path: File to write; its folder is made if it is not there.
        data: Its content.
    """
    content: dict[str, Any] = {
        protein.accession: {
            "binding data": [
                [row.first, row.kind, row.kd_molar, row.delta_g_kcal_mol, row.second]
                for row in protein.measurements
            ],
            "Protein Name": protein.name,
            "Protein source": protein.source,
            "Sequence": protein.sequence,
        }
        for protein in data.proteins
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=4) + "\n")


def _draw_measurement(
    residues: str, kind: str, offset: float, rng: np.random.Generator
) -> Measurement:
    first = draw_probe(residues, rng=rng)
    double = kind == "DNA" and rng.random() < _SECOND_STRAND_SHARE
    second = reverse_complement(first) if double else ""
    if double and rng.random() < 0.5:  # the site is on either strand
        first, second = second, first
    return _measure(first, kind, second, residues, offset, rng)


def _measure(
    first: str, kind: str, second: str, residues: str, offset: float, rng: np.random.Generator
) -> Measurement:
    exact = binding_energy(residues, [strand for strand in (first, second) if strand])
    if kind == "RNA":
        exact += RNA_WEAKENING_KCAL_MOL
    noisy = exact + offset + float(rng.normal(0, _MEASUREMENT_SD_KCAL_MOL))
    delta_g = min(max(noisy, -20.0), -0.01)
    kd = float(f"{math.exp(delta_g / RT_KCAL_MOL):.3g}")
    return Measurement(first, kind, kd, round(delta_g, 2), second)


def _made_awkward(
    rows: list[list[Measurement]], rng: np.random.Generator
) -> tuple[list[list[Measurement]], Counter[str]]:
    """Spoil a few rows, each in one way only, and count them."""
    places = [(i, j) for i, of_protein in enumerate(rows) for j in range(len(of_protein))]
    free = [places[k] for k in rng.permutation(len(places))]
    counts: Counter[str] = Counter()
    for kind, share in AWKWARD_SHARES.items():
        wanted = max(1, round(share * len(places)))
        needs_second = "strand" in kind
        chosen = [p for p in free if not needs_second or rows[p[0]][p[1]].second][:wanted]
        for place in chosen:
            free.remove(place)
            i, j = place
            row = rows[i][j]
            if kind == "exact duplicate":
                rows[i].append(row)
            else:
                rows[i][j] = _spoilt(row, kind, rng)
        counts[kind] = len(chosen)
    return rows, counts


def _spoilt(row: Measurement, kind: str, rng: np.random.Generator) -> Measurement:
    if kind == "missing value":
        return replace(row, kd_molar=0.0, delta_g_kcal_mol=0.0)
    if kind == "Kd in the Delta G field":
        kd = float(f"{rng.uniform(1e-8, 1e-7):.2g}")
        return replace(row, kd_molar=kd, delta_g_kcal_mol=kd)
    if kind == "type Other":
        return replace(row, kind="Other")
    if kind == "empty first strand":
        return replace(row, first="")
    assert kind == "second strand no reverse complement", kind
    return replace(row, second=row.second[int(rng.integers(1, 4)) :])
