"""The table of gene-protein pairs: what stands in memory of it, and its sequences, streamed.

Legend: N pairs, G distinct genes, P distinct proteins.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from biote.contrastive_batch import Side
from biote.errors import DataError
from biote.molecules import Molecule, parse_molecule
from biote.splits.homology import linked

Int64s = npt.NDArray[np.int64]

_BATCH_ROWS: Final = 1_024
_COLUMNS: Final = (
    "pair_id", "record_id", "organism", "taxonomy_id", "molecule", "strand", "start", "end",
    "gene_sequence", "protein_sequence",
)  # fmt: skip
_MEND: Final = "write it with biote corpus pairs"


@dataclass(frozen=True, kw_only=True)
class PairColumns:
    """The pairs of a table without their letters; pairs that repeat both sequences left out."""

    path: Path
    ids: tuple[str, ...]
    """Identifier of every pair, N of them."""

    genes: Int64s
    """Number of every pair's gene among the distinct ones, (N,)."""

    proteins: Int64s
    """Number of every pair's protein among the distinct ones, (N,)."""

    twins: Int64s
    """Pairs with the same gene letters or the same protein, directly or through others, have the
    same number, (N,)."""

    genomes: Int64s
    """Number of every pair's organism, or of its taxon or record where none is stated, (N,)."""

    gene_lengths: Int64s
    """Nucleotides, (N,)."""

    protein_lengths: Int64s
    """Residues, (N,)."""

    loci: tuple[tuple[str, int, int, int], ...]
    """Record, strand, start and end of every pair, N of them."""

    group_labels: tuple[str, ...] | None
    """The column that was asked for, if one was."""

    rows: dict[Side, Int64s]
    """Row of the table in which each distinct gene and protein stands first, ascending."""

    digests: dict[Side, tuple[bytes, ...]]
    """Hash of the molecule type and letters of each distinct gene and protein."""

    repeated: int
    """Rows left out because an earlier one has the same gene and the same protein."""


def read_columns(path: Path, *, group_column: str | None = None) -> PairColumns:
    """Read a table of pairs once, keeping hashes of its sequences.

    Args:
        path: Parquet file of `biote.corpora.genes.table.PAIR_SCHEMA`.
        group_column: One more column to read, as text.

    Raises:
        DataError: If the file or a column is missing or a sequence is empty.
    """
    columns = [*_COLUMNS, *([group_column] if group_column is not None else [])]
    numbers: dict[Side, dict[bytes, int]] = {side: {} for side in Side}
    rows: dict[Side, list[int]] = {side: [] for side in Side}
    letters: dict[Side, list[bytes]] = {side: [] for side in Side}
    pairs: dict[tuple[int, int], None] = {}
    genomes: dict[str, int] = {}
    kept: dict[str, list[Any]] = {
        name: [] for name in ("id", "genome", "gene_length", "protein_length", "locus", "group")
    }
    repeated = 0
    for row, values in enumerate(_rows(path, columns)):
        where = f"{path}: pair {values['pair_id']}"
        gene, protein = values["gene_sequence"].encode(), values["protein_sequence"].encode()
        if not gene or not protein:
            raise DataError("a sequence is empty", where=where, mend=_MEND)
        molecule = parse_molecule(values["molecule"])
        digests = {
            Side.GENE: _digest(molecule, gene),
            Side.PROTEIN: _digest(Molecule.PROTEIN, protein),
        }
        known = {side: numbers[side].get(digests[side]) for side in Side}
        if (known[Side.GENE], known[Side.PROTEIN]) in pairs:
            repeated += 1
            continue
        for side in Side:
            if known[side] is None:
                known[side] = numbers[side][digests[side]] = len(rows[side])
                rows[side].append(row)
        number = known[Side.GENE], known[Side.PROTEIN]
        assert number[0] is not None
        assert number[1] is not None
        pairs[number[0], number[1]] = None
        # Twins are found by letters alone: an mRNA may have the letters of a gene.
        letters[Side.GENE].append(hashlib.blake2b(gene, digest_size=16).digest())
        letters[Side.PROTEIN].append(digests[Side.PROTEIN])
        taxon = values["taxonomy_id"]
        genome = values["organism"] or (f"taxon {taxon}" if taxon is not None else None)
        kept["id"].append(values["pair_id"])
        kept["genome"].append(genomes.setdefault(genome or values["record_id"], len(genomes)))
        kept["gene_length"].append(len(gene))
        kept["protein_length"].append(len(protein))
        kept["locus"].append(
            (values["record_id"], values["strand"], values["start"], values["end"])
        )
        if group_column is not None:
            label = values[group_column]
            if label is None:
                raise DataError(f"{group_column} is empty", where=where, mend="fill the column")
            kept["group"].append(str(label))
    if not pairs:
        raise DataError("no pair in the table", where=str(path), mend=_MEND)
    if len(set(kept["id"])) != len(kept["id"]):
        raise DataError("pair_id is not unique", where=str(path), mend=_MEND)
    both = np.array(list(pairs), np.int64)
    return PairColumns(
        path=path,
        ids=tuple(kept["id"]),
        genes=both[:, 0],
        proteins=both[:, 1],
        twins=np.array(join_equal(letters[Side.GENE], letters[Side.PROTEIN]), np.int64),
        genomes=np.array(kept["genome"], np.int64),
        gene_lengths=np.array(kept["gene_length"], np.int64),
        protein_lengths=np.array(kept["protein_length"], np.int64),
        loci=tuple(kept["locus"]),
        group_labels=tuple(kept["group"]) if group_column is not None else None,
        rows={side: np.array(rows[side], np.int64) for side in Side},
        digests={side: tuple(numbers[side]) for side in Side},
        repeated=repeated,
    )


def join_equal(*labels: Sequence[Any]) -> list[int]:
    """Join things that share any label.

    Args:
        labels: One label of every thing, several times over.

    Returns:
        Number of the component of every thing, from 0 in the order of their first members.
    """
    links: list[tuple[int, int]] = []
    for column in labels:
        first: dict[Any, int] = {}
        links += [
            (first[label], i) for i, label in enumerate(column) if first.setdefault(label, i) != i
        ]
    return linked(len(labels[0]), links)


def read_sequences(
    columns: PairColumns, side: Side, *, start: int, stop: int
) -> Iterator[tuple[int, Molecule, str]]:
    """Stream distinct genes or proteins in their order.

    Args:
        columns: The table they stand in.
        side: Which of the two.
        start: First one.
        stop: One past the last one.

    Yields:
        Number, molecule type and letters.

    Raises:
        DataError: If the file was changed since the columns were read.
    """
    wanted = columns.rows[side][start:stop]
    if not len(wanted):
        return
    letters = f"{side}_sequence"
    names = ["molecule", letters]
    number, first = start, 0
    with pq.ParquetFile(columns.path) as file:
        for group in range(file.num_row_groups):
            size = file.metadata.row_group(group).num_rows
            begin, end = np.searchsorted(wanted, [first, first + size])
            if begin < end:
                here = {int(row) - first for row in wanted[begin:end]}
                batches = file.iter_batches(_BATCH_ROWS, row_groups=[group], columns=names)
                at = 0
                for batch in batches:
                    inside = [i for i in range(batch.num_rows) if at + i in here]
                    for values in batch.take(pa.array(inside, pa.int64())).to_pylist():
                        molecule = (
                            parse_molecule(values["molecule"])
                            if side is Side.GENE
                            else Molecule.PROTEIN
                        )
                        digest = _digest(molecule, values[letters].encode())
                        if digest != columns.digests[side][number]:
                            raise DataError(
                                "it was changed while it was in use",
                                where=str(columns.path),
                                mend="start again",
                            )
                        yield number, molecule, values[letters]
                        number += 1
                    at += batch.num_rows
            first += size


def _rows(path: Path, columns: list[str]) -> Iterator[dict[str, Any]]:
    try:
        with pq.ParquetFile(path) as file:
            missing = sorted(set(columns) - set(file.schema_arrow.names))
            if missing:
                raise DataError(f"no column {', '.join(missing)}", where=str(path), mend=_MEND)
            for batch in file.iter_batches(_BATCH_ROWS, columns=columns):
                yield from batch.to_pylist()
    except pa.ArrowException as error:
        raise DataError("not a Parquet file", where=str(path), mend=_MEND) from error


def _digest(molecule: Molecule, letters: bytes) -> bytes:
    return hashlib.blake2b(letters, digest_size=16, person=molecule.value.encode()).digest()
