"""FLIP's secondary structure: the chains of NetSurfP-2.0 with their states, in one zip.

In its folder ``splits`` are three FASTA files with the same ids: ``sequences.fasta``,
``sampled.fasta`` (H, E or C for every residue; headers ``>id SET=train VALIDATION=False``) and
``mask.fasta`` (1 where a residue is resolved).

Source: Dallago et al., FLIP (NeurIPS 2021), splits/secondary_structure.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from biote.datamodules.residue_labels import ResidueRecord
from biote.errors import DataError

TRAINED_ON: Final = frozenset({"SET=train", "VALIDATION=False"})
"""What the headers of training chains say."""

_FILES: Final = ("sequences", "sampled", "mask")


def read_flip(path: Path) -> Iterator[ResidueRecord]:
    """Read the training chains; residues that are not resolved have the label ``?``.

    Args:
        path: The zip.

    Raises:
        DataError: If it is damaged, or its files do not tell of the same residues.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            sequences, states, masks = (
                _read_fasta(archive.read(f"splits/{name}.fasta"), f"{path}, {name}.fasta")
                for name in _FILES
            )
    except (zipfile.BadZipFile, KeyError, OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"not FLIP's zip of secondary structures ({error})",
            where=str(path),
            mend="fetch the file anew",
        ) from error
    for name, (said, state) in states.items():
        if not set(said) >= TRAINED_ON:
            continue
        where = f"{path}, {name}"
        sequence, mask = (found.get(name, ((), ""))[1] for found in (sequences, masks))
        if len(mask) != len(state) or set(mask) - set("01"):
            raise DataError(
                f"a mask of {len(mask)} for {len(state)} labels",
                where=where,
                mend="it is 0 or 1 for every residue: fetch the file anew",
            )
        known = (s if m == "1" else "?" for s, m in zip(state, mask, strict=True))
        yield ResidueRecord(where, name, sequence, "".join(known))


def _read_fasta(content: bytes, where: str) -> dict[str, tuple[tuple[str, ...], str]]:
    """What headers say behind the id, and the text under them, by id."""
    found: dict[str, tuple[tuple[str, ...], str]] = {}
    name, said = "", tuple[str, ...]()
    lines: list[str] = []
    for line in [*content.decode("ascii").splitlines(), ">"]:
        if not line.startswith(">"):
            lines.append(line.strip())
            continue
        if name:
            found[name] = (said, "".join(lines))
        name, *rest = line[1:].split() or [""]
        said, lines = tuple(rest), []
        if name in found:
            raise DataError("its id occurs twice", where=f"{where}, {name}")
    return found
