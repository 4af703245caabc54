from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True, kw_only=True)
class Line:
    """One ATOM or HETATM record."""

    name: str
    residue: str
    chain: str
    number: int
    x: float
    y: float = 0.0
    z: float = 0.0
    altloc: str = " "
    code: str = " "
    occupancy: float = 1.0
    element: str = "C"
    hetero: bool = False


@dataclass(frozen=True, kw_only=True)
class Writer:
    """Writes PDB files."""

    folder: Path

    def __call__(
        self,
        lines: Sequence[Line | str],
        *,
        name: str = "1abc.pdb",
        sequences: dict[str, Sequence[str]] | None = None,
    ) -> Path:
        text = []
        for chain, residues in (sequences or {}).items():
            for start in range(0, len(residues), 13):
                row = " ".join(f"{r:>3}" for r in residues[start : start + 13])
                text.append(f"SEQRES{start // 13 + 1:>4} {chain} {len(residues):>4}  {row}")
        for serial, line in enumerate(lines, 1):
            if isinstance(line, str):
                text.append(line)
                continue
            record = "HETATM" if line.hetero else "ATOM  "
            atom = f" {line.name:<3}" if len(line.name) < 4 else line.name
            text.append(
                f"{record}{serial:>5} {atom}{line.altloc}{line.residue:>3} {line.chain}"
                f"{line.number:>4}{line.code}   {line.x:8.3f}{line.y:8.3f}{line.z:8.3f}"
                f"{line.occupancy:6.2f}{10.0:6.2f}          {line.element:>2}"
            )
        path = self.folder / name
        path.write_text("\n".join([*text, "END", ""]))
        return path


@pytest.fixture
def write_pdb(tmp_path: Path) -> Writer:
    return Writer(folder=tmp_path)


def amino(name: str, chain: str, number: int, x: float, **options: object) -> list[Line]:
    """Backbone of a residue along the x axis; the next one is bonded 3.8 angstrom on."""
    places = {"N": -1.2, "CA": 0.0, "C": 1.2}
    return [
        Line(
            name=atom,
            residue=name,
            chain=chain,
            number=number,
            x=x + shift,
            element=atom[0],
            **options,  # type: ignore[arg-type]
        )
        for atom, shift in places.items()
    ]


def nucleotide(
    name: str, chain: str, number: int, x: float, y: float, *, ribose: bool = False
) -> list[Line]:
    """Sugar and phosphate along the x axis; the next one is bonded 6 angstrom on."""
    places = {"P": -2.0, "C4'": -1.0, "C1'": 0.0, "C2'": 1.0, "O3'": 2.5}
    if ribose:
        places["O2'"] = 1.5
    return [
        Line(name=a, residue=name, chain=chain, number=number, x=x + s, y=y, element=a[0])
        for a, s in places.items()
    ]


@pytest.fixture
def make_amino() -> Callable[..., list[Line]]:
    return amino


@pytest.fixture
def make_nucleotide() -> Callable[..., list[Line]]:
    return nucleotide


@pytest.fixture(scope="session")
def real_structures() -> Path:
    """Folder of real structures."""
    folder = os.environ.get("BIOTE_DATA")
    if folder is None:
        pytest.skip("BIOTE_DATA is not set: no real data")
    return Path(folder) / "structures"
