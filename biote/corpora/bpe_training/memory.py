"""How many characters SentencePiece can hold.

Its BPE trainer keeps the whole sample in memory, and for every two neighbours where they stand.
Peaks of resident memory above what the process took before, in bytes a character, the sample cut
to pieces of 4,000:

================  ======  ==============  =======  =======
SentencePiece     pieces  characters (M)  nucleic  protein
================  ======  ==============  =======  =======
0.2.0 and 0.2.1    2,048               1       90      117
                   2,048               4       85       95
0.2.0             65,536               2      134      180
0.2.3              2,048               1       49       81
                   2,048               8       41       56
                   2,048        60 or 40       29       44
                  65,536               1       80      141
                  65,536               8       53       94
================  ======  ==============  =======  =======

So there is a part that grows with the characters and one that grows with the pieces. A second
training in the same process works in the memory that the first took and gave back: of 44 M bases
and then 39 M residues with 0.2.3 the peak is 1.9 GB, that of the residues alone, where 6 GB are
reckoned.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from biote.errors import ConfigError

BYTES_PER_CHARACTER: Final = 128
"""Memory to reckon with for every character that is sampled. With `_BYTES_PER_PIECE` and
`_FIXED_BYTES` it covers every line of the table, and the samples as they are drawn."""

_FIXED_BYTES: Final = 400_000_000  # interpreter, readers, buffers of the trainer
_BYTES_PER_PIECE: Final = 2_000
_CONTROL_GROUPS: Final = Path("/sys/fs/cgroup")
_MEMBERSHIP: Final = Path("/proc/self/cgroup")


def characters_held(memory_bytes: int, *, pieces: int) -> int:
    """How many characters of one modality can be trained on.

    Args:
        memory_bytes: Memory the training may take.
        pieces: Pieces of the model.

    Raises:
        ConfigError: If the memory is too small for any training.
    """
    fixed = _FIXED_BYTES + pieces * _BYTES_PER_PIECE
    if memory_bytes < 1.1 * fixed:
        raise ConfigError(
            f"{memory_bytes / 1e9:.2g} GB are too few for any training",
            where="--memory-gb",
            mend=f"give at least {1.2 * fixed / 1e9:.2g}",
        )
    return (memory_bytes - fixed) // BYTES_PER_CHARACTER


def machine_memory(groups: Path = _CONTROL_GROUPS, membership: Path = _MEMBERSHIP) -> int:
    """Bytes this process can have: the machine's memory, or less where its job is limited.

    Args:
        groups: Where the control groups are mounted.
        membership: File that says which of them this process is in.
    """
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([physical, *_group_limits(groups, membership)])


def _group_limits(groups: Path, membership: Path) -> Iterator[int]:
    """Memory limits of the control groups, of version 1 and 2, that this process is in."""
    if not membership.is_file():
        return  # no Linux
    for line in membership.read_text().splitlines():
        _, controllers, group = line.split(":", 2)
        if not controllers:
            root, name = groups, "memory.max"
        elif controllers == "memory":
            root, name = groups / "memory", "memory.limit_in_bytes"
        else:
            continue
        inner = Path(group.lstrip("/"))
        for folder in [inner, *inner.parents]:
            path = root / folder / name
            limit = path.read_text().strip() if path.is_file() else ""
            if limit.isdigit():  # "max" where there is none
                yield int(limit)
