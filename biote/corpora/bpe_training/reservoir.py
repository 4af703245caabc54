"""A random sample of pieces of sequence that holds a bounded number of characters.

Every piece offered draws a number from a generator with a seed, and the pieces with the smallest
numbers stay, as many as fit in the characters there is room for. So the sample is the head of a
random order of all pieces, whatever their lengths: every piece is as likely in it as any other,
the memory is bounded however many are offered, and the same pieces offered in the same order
under the same seed give the same sample.
"""

from __future__ import annotations

import heapq
import random


class Reservoir:
    """Keeps a random sample of the pieces it is offered.

    The first piece of the random order that does not fit ends the sample, so it may stay below
    the room by up to the length of a piece, and the lengths of the pieces play no part in which
    are taken.

    Args:
        characters: Characters there is room for.
        seed: Decides the sample.
    """

    def __init__(self, characters: int, *, seed: int | str) -> None:
        self.room = characters
        self.characters = 0
        """Characters in the sample."""
        self.characters_seen = 0
        self.pieces_seen = 0
        # Seeding by text is defined to be the same on every machine and Python version.
        self._draw = random.Random(str(seed)).random
        self._end = 1.0
        """Smallest number that was turned away: from there on the order is not in the sample."""
        # The largest number first, and of equal ones the piece that came last.
        self._heap: list[tuple[float, int, bytes]] = []

    def add(self, piece: bytes) -> None:
        """Offer a piece.

        Args:
            piece: Letters.
        """
        number = self._draw()
        self.pieces_seen += 1
        self.characters_seen += len(piece)
        if number >= self._end:
            return
        heapq.heappush(self._heap, (-number, -self.pieces_seen, piece))
        self.characters += len(piece)
        while self.characters > self.room:
            negative, _, dropped = heapq.heappop(self._heap)
            self._end = -negative
            self.characters -= len(dropped)

    def __len__(self) -> int:
        return len(self._heap)

    def take(self) -> list[bytes]:
        """Empty the reservoir.

        Returns:
            Pieces of the sample in their random order.
        """
        self._heap.sort(reverse=True)
        pieces = [piece for _, _, piece in self._heap]
        self._heap.clear()
        return pieces
