"""The structure files a user names, each entry once, and the ledger of those that are refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from biote.corpora.records import BadRecord
from biote.corpora.structures.polymers import ReadStructure, read_structure
from biote.corpora.structures.unusable import UnusableStructure
from biote.errors import ConfigError, DataError

T = TypeVar("T")
Progress = Callable[[int, int], None]
"""Called with the bytes of input read so far and the bytes there are."""
LEDGER_SUFFIX: Final = ".ledger.jsonl"

STRUCTURE_SUFFIXES: Final = (".cif", ".mmcif", ".pdb", ".ent")
_REASON_REPEATED: Final = "entry of the same name as an earlier file"


@dataclass
class Tally:
    """What became of the files."""

    files: int = 0
    used: int = 0
    refused: list[BadRecord] = field(default_factory=list)


def structure_files(sources: Sequence[Path]) -> list[Path]:
    """Files of the given ones and of the given folders, mmCIF before PDB of the same name.

    Args:
        sources: Files, or folders to search for .cif, .mmcif, .pdb and .ent, also with .gz.

    Raises:
        DataError: If one is not there, or no structure file is found.
    """
    found: set[Path] = set()
    for source in sources:
        if source.is_dir():
            found.update(path for path in source.rglob("*") if _is_structure(path))
        elif source.is_file():
            found.add(source)
        else:
            raise DataError(
                "no such file or folder", where=str(source), mend="give PDB or mmCIF files"
            )
    if not found:
        raise DataError(
            "no structure file",
            where=", ".join(map(str, sources)),
            mend=f"names end in {', '.join(STRUCTURE_SUFFIXES)}, also with .gz",
        )
    return sorted(found, key=lambda path: (path.name.lower(), str(path)))


def _is_structure(path: Path) -> bool:
    name = path.name.lower().removesuffix(".gz")
    return path.is_file() and name.endswith(STRUCTURE_SUFFIXES)


def use_structures(
    paths: Sequence[Path],
    use: Callable[[ReadStructure, Path], T],
    *,
    tally: Tally,
    note: Callable[[BadRecord], None],
    progress: Progress = lambda done, total: None,
) -> Iterator[T]:
    """Read structures one after the other; what cannot be used becomes a line of the ledger.

    Args:
        paths: Files.
        use: Makes something of a structure, or raises `UnusableStructure`.
        tally: Counts, changed in place.
        note: Takes the lines of the ledger.
        progress: Told the bytes of files read so far and the bytes there are.
    """
    names: set[str] = set()
    total, done = sum(path.stat().st_size for path in paths), 0
    for path in paths:
        progress(done, total)
        done += path.stat().st_size
        tally.files += 1
        try:
            read = read_structure(path)
            if read.name in names:
                raise UnusableStructure(_REASON_REPEATED, detail=read.name)
            made = use(read, path)
        except UnusableStructure as error:
            name = path.name.split(".")[0].upper()
            bad = BadRecord(str(path), 0, name, error.reason, error.detail)
            tally.refused.append(bad)
            note(bad)
            continue
        names.add(read.name)
        tally.used += 1
        yield made
    progress(done, total)


def refuse_present(output: Path, *, overwrite: bool) -> None:
    """Refuse to replace a file unasked.

    Args:
        output: File to be written.
        overwrite: Whether it may be replaced.

    Raises:
        ConfigError: If it is there and may not be.
    """
    if output.exists() and not overwrite:
        raise ConfigError(
            f"{output} is there already", where="--output", mend="give --overwrite, or another name"
        )
