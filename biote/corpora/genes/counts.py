"""How many genes with proteins were found, and what was left out for which reason."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from biote.corpora.records import BadRecord


@dataclass
class Tally:
    """Ledger lines by reason."""

    numbers: Counter[str] = field(default_factory=Counter)
    first: dict[str, BadRecord] = field(default_factory=dict)
    """The first line of every reason."""

    @property
    def total(self) -> int:
        """All of them."""
        return self.numbers.total()

    def note(self, bad: BadRecord) -> BadRecord:
        """Count a line and give it back.

        Args:
            bad: Line of the ledger.
        """
        self.numbers[bad.reason] += 1
        self.first.setdefault(bad.reason, bad)
        return bad

    def add(self, other: Tally) -> None:
        """Add the lines of files that come after those counted.

        Args:
            other: Their lines.
        """
        self.numbers += other.numbers
        self.first = other.first | self.first


@dataclass
class PairCounts:
    """What was found in one file or several."""

    records: int = 0
    coding_features: int = 0
    pairs: int = 0
    with_introns: int = 0
    """Pairs whose gene holds at least one intron."""
    skipped: Tally = field(default_factory=Tally)
    """Coding features without a pair."""
    bad_records: Tally = field(default_factory=Tally)
    """Records that could not be used."""

    def add(self, other: PairCounts) -> None:
        """Add the counts of files that come after those counted.

        Args:
            other: Their counts.
        """
        self.records += other.records
        self.coding_features += other.coding_features
        self.pairs += other.pairs
        self.with_introns += other.with_introns
        self.skipped.add(other.skipped)
        self.bad_records.add(other.bad_records)
