"""Megabytes per second of FASTA readers on one file, plain and gzip.

Run: python benchmarks/fasta_readers.py. Readers that are not installed are left out, saying so.
The last line is one JSON object.
"""

from __future__ import annotations

import gzip
import importlib
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from biote.corpora.fasta import read_fasta
from biote.corpora.records import Record
from biote.molecules import STANDARD_RESIDUES, Molecule

FILE_BYTES: Final = 100_000_000
COLUMNS: Final = 60
ROUNDS: Final = 3
HEADER: Final = b">UniRef100_%b Some protein n=%d Tax=Bacteria TaxID=2 RepID=%b_9BACT"

Read = Callable[[Path], tuple[int, int]]
"""Reads a file to its end; gives the number of records and of letters."""


def write_fasta(path: Path) -> None:
    """Write random proteins under headers as UniRef has them."""
    rng = np.random.default_rng(0)
    residues = np.frombuffer(STANDARD_RESIDUES.encode(), np.uint8)
    written = number = 0
    with path.open("wb") as stream:
        while written < FILE_BYTES:
            length = 20 + int(rng.gamma(2.0, 160.0))
            letters = residues[rng.integers(0, len(residues), length)].tobytes()
            lines = [letters[i : i + COLUMNS] for i in range(0, length, COLUMNS)]
            name = b"A0A%07X" % number
            header = HEADER % (name, 1 + number % 7, name)
            written += stream.write(b"\n".join([header, *lines, b""]))
            number += 1


def read_biote(path: Path) -> tuple[int, int]:
    """Read with biote."""
    records = letters = 0
    for record in read_fasta(path, Molecule.PROTEIN):
        assert isinstance(record, Record), "the file has no fault"
        records += 1
        letters += len(record.sequence)
    return records, letters


def read_biopython(parsers: Any, path: Path) -> tuple[int, int]:
    """Read with Biopython's fastest parser."""
    records = letters = 0
    opened = gzip.open(path, "rt") if path.suffix == ".gz" else path.open()
    with opened as stream:
        for _, sequence in parsers.SimpleFastaParser(stream):
            records += 1
            letters += len(sequence)
    return records, letters


def read_dnaio(dnaio: Any, path: Path) -> tuple[int, int]:
    """Read with dnaio, decompressing in the same process as the others do."""
    records = letters = 0
    with dnaio.open(path, open_threads=0) as reader:
        for record in reader:
            records += 1
            letters += len(record.sequence)
    return records, letters


def read_pyfastx(pyfastx: Any, path: Path) -> tuple[int, int]:
    """Read with pyfastx, without an index."""
    records = letters = 0
    for _, sequence in pyfastx.Fastx(str(path)):
        records += 1
        letters += len(sequence)
    return records, letters


def read_needletail(needletail: Any, path: Path) -> tuple[int, int]:
    """Read with needletail."""
    records = letters = 0
    for record in needletail.parse_fastx_file(str(path)):
        records += 1
        letters += len(record.seq)
    return records, letters


OTHERS: Final[dict[str, tuple[str, Callable[[Any, Path], tuple[int, int]]]]] = {
    "biopython": ("Bio.SeqIO.FastaIO", read_biopython),
    "dnaio": ("dnaio", read_dnaio),
    "pyfastx": ("pyfastx", read_pyfastx),
    "needletail": ("needletail", read_needletail),
}


def installed_readers() -> dict[str, Read]:
    """Readers by name, those that can be imported."""
    readers: dict[str, Read] = {"biote": read_biote}
    for name, (module, read) in OTHERS.items():
        try:
            library = importlib.import_module(module)
        except ImportError:
            print(f"{name} is not installed: left out")
            continue
        readers[name] = lambda path, read=read, library=library: read(library, path)  # type: ignore[misc]
    return readers


def main() -> None:
    """Time every reader on the same files, the best of a few rounds that take turns."""
    readers = installed_readers()
    results: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as name:
        plain = Path(name) / "proteins.fasta"
        write_fasta(plain)
        compressed = plain.with_suffix(".fasta.gz")
        compressed.write_bytes(gzip.compress(plain.read_bytes(), 6))
        size = plain.stat().st_size
        for path, kind in ((plain, "plain"), (compressed, "gzip")):
            seconds = dict.fromkeys(readers, float("inf"))
            counts = set()
            for _ in range(ROUNDS):
                for reader, read in readers.items():
                    began = time.perf_counter()
                    counts.add(read(path))
                    seconds[reader] = min(seconds[reader], time.perf_counter() - began)
            assert len(counts) == 1, f"the readers differ: {counts}"
            results[kind] = {reader: size / 1e6 / best for reader, best in seconds.items()}
            for reader, speed in results[kind].items():
                print(f"{kind:6} {reader:10} {speed:6.0f} MB/s")
    print(json.dumps({"fasta_readers_mb_per_s": results}))


if __name__ == "__main__":
    main()
