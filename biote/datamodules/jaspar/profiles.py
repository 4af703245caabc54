"""JASPAR profiles: how often each base was seen at each position of a bound site.

Legend: L positions of a profile.

File: JASPAR's text format, ``>MA0002.1<TAB>RUNX1`` and four lines ``A [ 10 12 ... ]`` of counts in
the order A, C, G, T.

Source: Rauluseviciute et al., JASPAR 2024 (Nucleic Acids Research 52, D174).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from biote.errors import DataError
from biote.molecules import reverse_complement

BASES: Final = "ACGT"
DIMER: Final = "::"
"""Stands between the partners' names of a profile of a dimer."""

_HEADER: Final = re.compile(r">\s*(?P<base>\S+)\.(?P<version>\d+)(?:\s+(?P<name>\S.*?))?\s*$")
_COUNTS: Final = re.compile(r"(?P<letter>[ACGT])\s*\[\s*(?P<counts>[^\]]*?)\s*\]\s*$")

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Profile:
    """A position frequency matrix."""

    base_id: str
    """Identifier that all versions share, for example ``MA0002``."""

    version: int
    name: str
    counts: Floats
    """Counts of A, C, G, T at each position, (4, L); every position has some."""

    @property
    def id(self) -> str:
        """Identifier with version."""
        return f"{self.base_id}.{self.version}"

    @property
    def length(self) -> int:
        """Number of positions, L."""
        return int(self.counts.shape[1])

    @property
    def is_dimer(self) -> bool:
        """Whether two proteins bind this site together."""
        return DIMER in self.name

    @cached_property
    def consensus(self) -> str:
        """The most frequent base of each position; of equally frequent ones the first in ACGT."""
        return "".join(BASES[i] for i in self.counts.argmax(axis=0))

    @property
    def tied_positions(self) -> list[int]:
        """Positions, from 0, where the most frequent base is not the only one."""
        most = self.counts.max(axis=0)
        return [int(i) for i in np.nonzero((self.counts == most).sum(axis=0) > 1)[0]]

    @property
    def is_palindrome(self) -> bool:
        """Whether the consensus is its own reverse complement."""
        return self.consensus == reverse_complement(self.consensus)

    @cached_property
    def frequencies(self) -> Floats:
        """Shares of A, C, G, T at each position, (4, L)."""
        shares: Floats = self.counts / self.counts.sum(axis=0)
        return shares

    @cached_property
    def information_bits(self) -> Floats:
        """Information of each position, 0 to 2 bits, without a small-sample correction, (L,)."""
        p = self.frequencies
        logarithms = np.log2(p, out=np.zeros_like(p), where=p > 0)
        information: Floats = np.clip(2.0 + (p * logarithms).sum(axis=0), 0.0, 2.0)
        return information

    @cached_property
    def log_odds_bits(self) -> Floats:
        """Log-odds of each base against a uniform background, in bits, (4, L).

        A pseudocount of a quarter of the root of a position's counts is added to every base, so
        that a base never seen costs more where more sites were seen.
        """
        pseudocounts = np.sqrt(self.counts.sum(axis=0)) / 4
        smoothed = self.counts + pseudocounts
        log_odds: Floats = np.log2(smoothed / smoothed.sum(axis=0) / 0.25)
        return log_odds

    def score_bits(self, site: str) -> float:
        """Log-odds of a site as it is written, in bits.

        Args:
            site: L bases.

        Raises:
            ValueError: If the site has another length or another letter than A, C, G, T.
        """
        if len(site) != self.length:
            raise ValueError(f"a site of {len(site)} bases for a profile of {self.length}")
        rows = [BASES.index(letter) for letter in site]
        return float(self.log_odds_bits[rows, np.arange(self.length)].sum())


def parse_profiles(text: str, *, source: str) -> list[Profile]:
    """Read profiles in JASPAR's text format.

    Args:
        text: Content of a file.
        source: Its name for error messages.

    Raises:
        DataError: On anything that is no profile, naming source and line.
    """
    profiles: list[Profile] = []
    header: re.Match[str] | None = None
    begun = 0
    rows: list[list[float]] = []
    for number, line in enumerate(text.splitlines(), 1):
        where = f"{source}:{number}"
        if not line.strip():
            continue
        if line.startswith(">"):
            if header is not None:
                raise _unfinished(header, f"{source}:{begun}")
            header, begun = _HEADER.match(line), number
            if header is None:
                raise DataError(
                    f"no profile header {line[:40]!r}",
                    where=where,
                    mend="write '>', an identifier with version, a tab and the name",
                )
            rows = []
            continue
        if header is None:
            raise DataError("counts without a header", where=where, mend="begin with '>'")
        rows.append(_counts(line, expected=BASES[len(rows)], where=where))
        if len(rows) == len(BASES):
            profiles.append(_profile(header, rows, where=f"{source}:{begun}"))
            header = None
    if header is not None:
        raise _unfinished(header, f"{source}:{begun}")
    return profiles


def format_profile(profile: Profile) -> str:
    """Write a profile in JASPAR's text format.

    Args:
        profile: Profile.
    """
    lines = [f">{profile.id}\t{profile.name}"]
    for letter, counts in zip(BASES, profile.counts, strict=True):
        lines.append(f"{letter}  [{' '.join(f'{count:6g}' for count in counts)} ]")
    return "\n".join(lines) + "\n"


def _counts(line: str, *, expected: str, where: str) -> list[float]:
    found = _COUNTS.match(line.strip())
    if found is None or found["letter"] != expected:
        raise DataError(
            f"no counts of {expected}: {line.strip()[:40]!r}",
            where=where,
            mend="write 'A [ counts ]', then C, G and T",
        )
    try:
        counts = [float(word) for word in found["counts"].split()]
    except ValueError as error:
        raise DataError(f"a count that is no number ({error})", where=where) from error
    if not counts or not all(0 <= count < float("inf") for count in counts):
        raise DataError("no counts, or a negative one", where=where)
    return counts


def _profile(header: re.Match[str], rows: list[list[float]], *, where: str) -> Profile:
    identifier = f"{header['base']}.{header['version']}"
    if len({len(row) for row in rows}) != 1:
        raise DataError(f"{identifier} has lines of different lengths", where=where)
    counts = np.array(rows, np.float64)
    if not (counts.sum(axis=0) > 0).all():
        raise DataError(f"{identifier} has a position without counts", where=where)
    return Profile(
        base_id=header["base"],
        version=int(header["version"]),
        name=header["name"] or identifier,
        counts=counts,
    )


def _unfinished(header: re.Match[str], where: str) -> DataError:
    return DataError(
        f"{header['base']}.{header['version']} ends before its four lines of counts", where=where
    )
