"""From the location of a coding feature to the span of its gene.

Positions count from 0 and ranges leave out their end. In reading direction, a position on the
minus strand counts from the other end of the record.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from gb_io import Between, Complement, Join, Location, Range

from biote.corpora.genes.reasons import Reason, Skip
from biote.corpora.spool import Letters

_SHORTEST_INTRON_BASES: Final = 3
"""A gap of one or two bases between parts puts a reading frame right; it is no intron."""

_COMPLEMENT: Final = bytes.maketrans(b"ACGTURYSWKMBDHVN", b"TGCAAYRSWMKVHDBN")


@dataclass(frozen=True, slots=True)
class Span:
    """The stretch of a record that a gene covers, introns included."""

    start: int
    """Smallest position, on the plus strand."""
    end: int
    """End on the plus strand; past the record's length where the gene crosses the origin of a
    circular record."""
    strand: int
    """1 or -1."""
    parts: tuple[tuple[int, int], ...]
    """Ranges of the coding parts in the gene, in reading direction."""

    @property
    def exons(self) -> int:
        """Coding parts, those that touch counted as one."""
        return 1 + sum(before[1] < after[0] for before, after in pairwise(self.parts))

    @property
    def coding_length(self) -> int:
        """Bases of all parts together."""
        return sum(end - start for start, end in self.parts)

    def gene(self, letters: Letters) -> bytes:
        """Letters of the gene in reading direction, upper case, U as T.

        Args:
            letters: Sequence of the record.
        """
        gene = letters[self.start : self.end]
        if self.end > len(letters):
            gene += letters[: self.end - len(letters)]
        gene = gene.upper()
        if self.strand < 0:
            return gene.translate(_COMPLEMENT)[::-1]
        return gene.replace(b"U", b"T")

    def coding(self, gene: bytes) -> bytes:
        """The coding sequence spliced out of the gene.

        Args:
            gene: Letters of the gene in reading direction.
        """
        return b"".join(gene[start:end] for start, end in self.parts)

    def coding_offset(self, position: int, length: int) -> int | None:
        """Where a base of the record stands in the coding sequence.

        Args:
            position: Base of the record.
            length: Bases of the record.

        Returns:
            Its place from 0, or None if it is no coding base.
        """
        if position < self.start:
            position += length  # beyond the origin of a circular record
        at = position - self.start if self.strand > 0 else self.end - 1 - position
        before = 0
        for start, end in self.parts:
            if start <= at < end:
                return before + at - start
            before += end - start
        return None


def find_span(location: Location, length: int, *, circular: bool) -> Span | Skip:
    """Find the span of a gene.

    On a circular record a part that stands before the one it follows lies beyond the origin, if one
    of the two touches it, and a range that ends before it starts crosses it. Where neither does,
    the parts may as well stand in a wrong order.

    Args:
        location: Location without partial ends, uncertain positions and other records.
        length: Bases of the record.
        circular: Whether the record is circular.
    """
    pieces = list(_pieces(location))
    if not pieces:
        return Skip(Reason.UNCERTAIN, "no base")
    if len({strand for _, _, strand in pieces}) > 1:
        return Skip(Reason.TRANS_SPLICED, "parts on both strands")
    parts: list[tuple[int, int]] = []
    for start, end, strand in pieces:
        if not (0 <= start < length and 0 < end <= length):
            return Skip(Reason.BEYOND, f"{start + 1}..{end} of {length} bases")
        if start < end:
            parts.append(_turn(start, end, strand, length))
        elif circular:
            around = (start, length), (0, end)
            parts += (_turn(*half, strand, length) for half in around[::strand])
        else:
            return Skip(Reason.DISORDER, f"{start + 1}..{end} on a linear record")
    laid_out = _lay_out(parts, length, circular)
    if isinstance(laid_out, Skip):
        return laid_out
    first, last = laid_out[0][0], laid_out[-1][1]
    inner = tuple((start - first, end - first) for start, end in laid_out)
    start, end = _turn(first, last, strand, length)
    if start < 0:
        start, end = start + length, end + length
    return Span(start, end, strand, inner)


def _lay_out(
    parts: list[tuple[int, int]], length: int, circular: bool
) -> list[tuple[int, int]] | Skip:
    """Put parts in reading direction on a line, those beyond the origin a round further on."""
    laid_out: list[tuple[int, int]] = []
    shift = 0
    for start, end in parts:
        start, end = start + shift, end + shift
        if laid_out:
            before_start, before_end = laid_out[-1]
            if start < before_end and end > before_start:
                return Skip(Reason.FRAMESHIFT, f"bases read twice: {before_end - start}")
            if start < before_end:
                if not circular or shift:
                    return Skip(Reason.DISORDER)
                if before_end != length and start != 0:
                    return Skip(Reason.DISORDER, "no part touches the origin")
                shift = length
                start, end = start + length, end + length
            if 0 < start - before_end < _SHORTEST_INTRON_BASES:
                return Skip(Reason.FRAMESHIFT, f"bases left out: {start - before_end}")
        laid_out.append((start, end))
    if laid_out[-1][1] - laid_out[0][0] > length:
        return Skip(Reason.DISORDER, "more than once round the record")
    return laid_out


def _turn(start: int, end: int, strand: int, length: int) -> tuple[int, int]:
    """A range of the plus strand in reading direction, and back."""
    return (start, end) if strand > 0 else (length - end, length - start)


def _pieces(location: Location) -> Iterator[tuple[int, int, int]]:
    """Start, end and strand of every range, in reading direction."""
    if isinstance(location, Range):
        yield location.start, location.end, 1
    elif isinstance(location, Complement):
        for start, end, strand in reversed(list(_pieces(location.location))):
            yield start, end, -strand
    elif isinstance(location, Join):
        for part in location.locations:
            yield from _pieces(part)
    else:
        assert isinstance(location, Between), "other locations are told apart by their text"
