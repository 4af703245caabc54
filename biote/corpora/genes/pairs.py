"""Annotated GenBank records to genes with their proteins, and a ledger of what gives none.

Whether a record can be used at all is decided as for a corpus; its coding features are listed in
the ledger with its fault. A gene runs from the first to the last base of the coding sequence,
introns included, and every protein is checked against the coding sequence by its genetic code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from biote.corpora.blocks import OnBlock, read_blocks
from biote.corpora.flatfile import FlatRecord, cut_records
from biote.corpora.genbank import judge_record
from biote.corpora.genes.counts import PairCounts
from biote.corpora.genes.features import Feature, FeatureTable, UnreadFeature
from biote.corpora.genes.reasons import Reason, Skip
from biote.corpora.genes.spans import Span, find_span
from biote.corpora.genes.translation import check_translation
from biote.corpora.records import BadRecord, Record
from biote.corpora.spool import Letters
from biote.errors import DataError
from biote.molecules import Modality, canonical_bytes

HEAD_BYTES: Final = 1 << 29
"""Longest record that is read, its letters not counted."""

_CODING: Final = "CDS"
_ORGANISM: Final = re.compile(rb"^  ORGANISM +(\S.*)", re.MULTILINE)
_TAXON: Final = re.compile(r"taxon:(\d{1,18})")
_EXCEPTION: Final = re.compile(r"\(pos:(.+),aa:([A-Za-z]+)\)")
_CODON_NUMBERS: Final = 6  # in the place of a codon: three bases, at most three ranges
_SHOWN_LETTERS: Final = 60  # of a location, in the ledger

_FLAGS: Final = {
    "pseudo": Reason.PSEUDOGENE,
    "pseudogene": Reason.PSEUDOGENE,
    "trans_splicing": Reason.TRANS_SPLICED,
    "ribosomal_slippage": Reason.SLIPPAGE,
    "exception": Reason.EXCEPTION,
}
_RESIDUES: Final = {
    "ala": "A", "arg": "R", "asn": "N", "asp": "D", "asx": "B", "cys": "C", "gln": "Q",
    "glu": "E", "glx": "Z", "gly": "G", "his": "H", "ile": "I", "leu": "L", "lys": "K",
    "met": "M", "phe": "F", "pro": "P", "pyl": "O", "sec": "U", "ser": "S", "term": "*",
    "thr": "T", "trp": "W", "tyr": "Y", "val": "V", "xle": "J",
}  # fmt: skip
"""Letters of the abbreviations in ``/transl_except``; all others, such as OTHER, are X."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A gene and its protein; the fields are the columns of the table, see `PAIR_SCHEMA`."""

    pair_id: str
    record_id: str
    record_length: int
    gene: str | None
    locus_tag: str | None
    protein_id: str | None
    organism: str | None
    taxonomy_id: int | None
    molecule: str
    strand: int
    start: int
    end: int
    exons: int
    coding_length: int
    gene_sequence: str
    protein_sequence: str
    source: str


def read_pairs(
    path: Path,
    counts: PairCounts,
    *,
    scratch: Path | None = None,
    on_block: OnBlock | None = None,
) -> Iterator[Pair | BadRecord]:
    """Yield the pairs of a GenBank flat file in order, and what gives none.

    Every coding feature is a pair or a ledger line; a record that cannot be used is a line of
    its own before those of its coding features. Memory holds one feature table and the letters
    of one record, of a chromosome only those of the gene at hand.

    Args:
        path: Flat file, plain or gzip.
        counts: Counts to add to.
        scratch: Folder for letters that do not fit into memory; None for the system's own.
        on_block: Told every block of the file as it lies on disk.
    """
    source = str(path)
    flat: FlatRecord | None = None
    blocks = read_blocks(path, on_block=on_block)
    for flat in cut_records(blocks, head_bytes=HEAD_BYTES, scratch=scratch):
        counts.records += bool(flat.head)
        table = FeatureTable(flat.head, flat.line)
        record = judge_record(flat, source)
        if isinstance(record, Record) and len(flat.head) >= HEAD_BYTES:
            detail = f"{HEAD_BYTES} bytes or more"
            record = BadRecord(source, flat.line, record.id, "feature table too long", detail)
        if isinstance(record, BadRecord):
            yield counts.bad_records.note(record)
            for raw in table.cut(_CODING):
                counts.coding_features += 1
                detail = _describe(raw.location, "", record.detail)
                bad = BadRecord(source, raw.line, record.record, record.reason, detail)
                yield counts.skipped.note(bad)
            continue
        for found in _record_pairs(record, flat.head, table):
            counts.coding_features += 1
            if isinstance(found, BadRecord):
                yield counts.skipped.note(found)
            else:
                counts.pairs += 1
                counts.with_introns += found.exons > 1
                yield found
    if flat is None:
        yield counts.bad_records.note(BadRecord(source, 1, "", "no record in the file"))


def _record_pairs(record: Record, head: bytes, table: FeatureTable) -> Iterator[Pair | BadRecord]:
    """Yield a pair or a ledger line for every coding feature of a record."""
    circular = _is_circular(head)
    organism, taxonomy_id = _organism(head, table)
    seen: set[tuple[int, int, int, str]] = set()
    for feature in table.read(_CODING):
        name = ""
        made: tuple[Span, str, str] | Skip
        if isinstance(feature, UnreadFeature):
            made = Skip(Reason.DAMAGED, feature.problem)
        else:
            name = next(filter(None, map(feature.first, ("locus_tag", "protein_id", "gene"))), "")
            made = _make(feature, record.sequence, circular)
            if not isinstance(made, Skip):
                span, gene, protein = made
                key = span.start, span.end, span.strand, protein
                if key in seen:
                    made = Skip(Reason.REPEATED)
                seen.add(key)
        if isinstance(made, Skip):
            detail = _describe(feature.text, name, made.detail)
            yield BadRecord(record.source, feature.line, record.id, made.reason.value, detail)
            continue
        assert isinstance(feature, Feature), "what could not be read is skipped"
        tag, protein_id = feature.first("locus_tag"), feature.first("protein_id")
        place = f"{span.start}-{span.end}", "+" if span.strand > 0 else "-"
        yield Pair(
            pair_id="|".join([record.id, *filter(None, (tag, protein_id)), *place]),
            record_id=record.id,
            record_length=len(record.sequence),
            gene=feature.first("gene") or None,
            locus_tag=tag or None,
            protein_id=protein_id or None,
            organism=organism,
            taxonomy_id=taxonomy_id,
            molecule=record.molecule.value,
            strand=span.strand,
            start=span.start,
            end=span.end,
            exons=span.exons,
            coding_length=span.coding_length,
            gene_sequence=gene,
            protein_sequence=protein,
            source=record.source,
        )


def _is_circular(head: bytes) -> bool:
    """Whether LOCUS says so after the length; the name before it may hold any word."""
    words = head.partition(b"\n")[0].lower().split()
    for at, (number, unit) in enumerate(pairwise(words)):
        if number.isdigit() and unit in (b"bp", b"rc"):
            return b"circular" in words[at + 2 :]
    return False


def _organism(head: bytes, table: FeatureTable) -> tuple[str | None, int | None]:
    """Name and NCBI taxonomy number of the organism, of the first source where there are more."""
    source = table.first("source")
    name = source.first("organism") if source is not None else ""
    if not name and (found := _ORGANISM.search(head)):
        name = found[1].decode("utf-8", "replace").strip()
    for reference in source.qualifiers.get("db_xref", ()) if source is not None else ():
        if taxon := _TAXON.match(reference):
            return name or None, int(taxon[1])
    return name or None, None


def _make(feature: Feature, letters: Letters, circular: bool) -> tuple[Span, str, str] | Skip:
    """Find the gene of a coding feature and check its protein."""
    for qualifier, reason in _FLAGS.items():
        if qualifier in feature.qualifiers:
            return Skip(reason, feature.first(qualifier))
    stated = feature.first("translation").replace(" ", "").upper().removesuffix("*")
    if not stated:
        return Skip(Reason.NO_TRANSLATION)
    if ":" in feature.text:
        return Skip(Reason.REMOTE)
    if "<" in feature.text or ">" in feature.text:
        return Skip(Reason.PARTIAL)
    frame = feature.first("codon_start") or "1"
    if frame != "1":
        return Skip(Reason.PARTIAL, f"codon_start {frame}")
    if feature.location is None:
        return Skip(Reason.UNCERTAIN)
    span = find_span(feature.location, len(letters), circular=circular)
    if isinstance(span, Skip):
        return span
    raw_gene = span.gene(letters)
    try:
        gene = canonical_bytes(raw_gene, Modality.NUCLEIC)
    except DataError as error:
        return Skip(Reason.GENE_LETTER, error.what)
    try:
        protein = canonical_bytes(stated.encode(), Modality.PROTEIN)
    except DataError as error:
        return Skip(Reason.PROTEIN_LETTER, error.what)
    number = feature.first("transl_table") or "1"
    if not number.isdecimal():
        return Skip(Reason.UNKNOWN_CODE, f"translation table {number}")
    differs = check_translation(
        span.coding(raw_gene),
        stated.encode(),
        table=int(number[:9]),
        exceptions=_exceptions(feature, span, len(letters)),
    )
    return differs or (span, gene.decode(), protein.decode())


def _exceptions(feature: Feature, span: Span, length: int) -> dict[int, str]:
    """Residues that ``/transl_except`` states, by number of their codon."""
    residues: dict[int, str] = {}
    for value in feature.qualifiers.get("transl_except", ()):
        found = _EXCEPTION.fullmatch("".join(value.split()))
        if found is None:
            continue  # without it the translation differs, and the ledger says so
        numbers = re.findall(r"\d{1,18}", found[1])[:_CODON_NUMBERS]
        positions = (int(number) - 1 for number in numbers)
        offsets = [span.coding_offset(position, length) for position in positions]
        inside = [offset for offset in offsets if offset is not None]
        if inside and min(inside) % 3 == 0:
            residues[min(inside) // 3] = _RESIDUES.get(found[2].lower(), "X")
    return residues


def _describe(location: str, name: str, detail: str) -> str:
    shown = location[:_SHOWN_LETTERS] + "..." * (len(location) > _SHOWN_LETTERS)
    text = f"{_CODING} {shown}" + (f" of {name}" if name else "")
    return f"{text}: {detail}" if detail else text
