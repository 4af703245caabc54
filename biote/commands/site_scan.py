"""What a scan is made of: protein, site, profile, and the table of substitutions."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from biote.corpora.fasta import read_fasta
from biote.corpora.records import Record
from biote.datamodules.groups import Parts
from biote.datamodules.jaspar.database import jaspar_folder, read_database
from biote.datamodules.jaspar.mutants import single_substitutions
from biote.datamodules.jaspar.profiles import BASES, Profile
from biote.datamodules.jaspar.variants import binding_parts
from biote.errors import DataError
from biote.molecules import Molecule, canonical_sequence
from biote.report.scan import PlacedLogo

logger = logging.getLogger(__name__)

_LONGEST_TITLE: Final = 20


class Predictor(Protocol):
    """Whatever predicts binding free energies."""

    def delta_g_kcal_mol(self, rows: Sequence[Parts]) -> npt.NDArray[np.float64]:
        """Delta G of every row, (B,)."""

    def trimmed(self, row: Parts) -> bool:
        """Whether a protein is cut to fit."""


@dataclass(frozen=True)
class Placed:
    """A profile where it fits a site best."""

    logo: PlacedLogo
    log_odds_bits: npt.NDArray[np.float64]
    """Log-odds of A, C, G, T along the site's strand, (4, K)."""


def read_protein(given: str) -> tuple[str, str]:
    """A protein from a FASTA file, or from letters.

    Args:
        given: Path or residues.

    Returns:
        Name and canonical sequence.

    Raises:
        DataError: If it is neither, or the file has not exactly one protein.
    """
    path = Path(given)
    if len(given) < 256 and path.is_file():
        records = list(read_fasta(path, Molecule.PROTEIN))
        proteins = [record for record in records if isinstance(record, Record)]
        if len(records) != 1 or not proteins:
            raise DataError(
                f"{len(proteins)} proteins in {path}", where="--protein", mend="give one"
            )
        letters = bytes(proteins[0].sequence).decode("latin-1")
        return proteins[0].id, canonical_sequence(letters, Molecule.PROTEIN, record=given)
    if "/" in given or "." in given or not given:
        raise DataError(f"no file {given}", where="--protein", mend="give a FASTA file or residues")
    short = given if len(given) <= _LONGEST_TITLE else f"{given[:_LONGEST_TITLE]}..."
    return short, canonical_sequence(given, Molecule.PROTEIN, record="--protein")


def read_site(given: str) -> str:
    """A site as canonical bases.

    Args:
        given: Letters A, C, G, T, in any case.

    Raises:
        DataError: On another letter, or none.
    """
    if "U" in given.upper():
        # A canonical sequence would have T for it, and a site of RNA the answer of DNA.
        raise DataError("U in the site", where="--site", mend="scan sites of DNA: A, C, G, T")
    site = canonical_sequence(given, Molecule.DNA, record="--site")
    if not site or set(site) - set(BASES):
        raise DataError(
            f"{given!r} has other letters than A, C, G, T" if site else "no base",
            where="--site",
            mend="give the bases of one strand",
        )
    return site


def find_profile(folder: Path, wanted: str) -> Profile:
    """A profile by its id, or the latest version of a base id.

    Args:
        folder: Folder of JASPAR files, or a data folder.
        wanted: Id with or without version.

    Raises:
        DataError: If there is none.
    """
    profiles = read_database(jaspar_folder(folder)).profiles
    if wanted in profiles:
        return profiles[wanted]
    versions = [profile for profile in profiles.values() if profile.base_id == wanted]
    if not versions:
        raise DataError(f"no profile {wanted}", where="--profile", mend=f"look in {folder}")
    return max(versions, key=lambda profile: profile.version)


def placed_logo(profile: Profile, site: str) -> Placed:
    """Place a profile on a site: the strand and offset with the highest log-odds.

    The shorter of the two lies wholly within the other.

    Args:
        profile: Profile of K positions.
        site: L bases.
    """
    codes = np.array([BASES.index(base) for base in site])
    length, columns = len(site), profile.length
    best: tuple[float, int, bool] | None = None
    for reverse in (False, True):
        log_odds = _along(profile.log_odds_bits, reverse)
        for first in range(min(0, length - columns), max(0, length - columns) + 1):
            low, high = max(0, first), min(length, first + columns)
            places = np.arange(low, high)
            score = float(log_odds[codes[places], places - first].sum())
            if best is None or score > best[0]:
                best = score, first, reverse
    assert best is not None
    _, first, reverse = best
    strand = ", reverse strand" if reverse else ""
    logo = PlacedLogo(
        title=f"JASPAR {profile.id} {profile.name}{strand}",
        frequencies=_along(profile.frequencies, reverse),
        information_bits=profile.information_bits[::-1] if reverse else profile.information_bits,
        first=first,
    )
    return Placed(logo, _along(profile.log_odds_bits, reverse))


def scan_site(
    models: Sequence[Predictor], protein: str, site: str, *, placed: Placed | None
) -> pl.DataFrame:
    """Predict every single substitution.

    Args:
        models: Models whose predictions are averaged.
        protein: Canonical residues.
        site: Canonical bases, one strand.
        placed: Profile on the site, if there is one.

    Returns:
        A line for each of the 3 L substitutions: position (from 1), reference, base, mutant,
        ddg_kcal_mol, its standard deviation over models (null of one model), and the change of
        the profile's log-odds in bits (null where it does not reach).
    """
    substitutions = single_substitutions(site)
    rows = [
        binding_parts([protein], site),
        *(binding_parts([protein], s) for _, _, s in substitutions),
    ]
    if models[0].trimmed(rows[0]):
        logger.warning("The protein is cut at its end to fit the model's context.")
    delta_g = np.stack([model.delta_g_kcal_mol(rows) for model in models])  # (models, 1 + 3 L)
    ddg = delta_g[:, 1:] - delta_g[:, :1]
    several = len(models) > 1
    columns: dict[str, Any] = {
        "position": [i + 1 for i, _, _ in substitutions],
        "reference": [site[i] for i, _, _ in substitutions],
        "base": [base for _, base, _ in substitutions],
        "mutant": [mutant for _, _, mutant in substitutions],
        "ddg_kcal_mol": ddg.mean(axis=0),
        "ddg_sd_kcal_mol": ddg.std(axis=0, ddof=1) if several else [None] * len(substitutions),
        "log_odds_change_bits": [
            _log_odds_change(placed, i, site[i], base) for i, base, _ in substitutions
        ],
    }
    floats = ("ddg_kcal_mol", "ddg_sd_kcal_mol", "log_odds_change_bits")
    return pl.DataFrame(columns, schema_overrides=dict.fromkeys(floats, pl.Float64))


def scan_matrix(table: pl.DataFrame, length: int) -> npt.NDArray[np.float64]:
    """The table of a scan as a matrix.

    Args:
        table: What `scan_site` gives.
        length: Bases of the site, L.

    Returns:
        Delta-Delta-G of A, C, G, T at each position, (4, L); NaN for the base that is there.
    """
    matrix = np.full((len(BASES), length), np.nan)
    for position, base, value in table.select("position", "base", "ddg_kcal_mol").iter_rows():
        matrix[BASES.index(base), position - 1] = value
    return matrix


def _along(matrix: npt.NDArray[np.float64], reverse: bool) -> npt.NDArray[np.float64]:
    """A profile's matrix read along either strand: ACGT turned round is TGCA."""
    return matrix[::-1, ::-1] if reverse else matrix


def _log_odds_change(placed: Placed | None, position: int, before: str, after: str) -> float | None:
    if placed is None:
        return None
    column = position - placed.logo.first
    if not 0 <= column < placed.log_odds_bits.shape[1]:
        return None
    of = placed.log_odds_bits[:, column]
    return float(of[BASES.index(after)] - of[BASES.index(before)])
