"""GenBank flat files: records with annotated genes, and records with the faults of real files."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from biote.molecules import Molecule
from biote.synthetic.files import write_ascii
from biote.synthetic.genomes import Gene

_VALUE_COLUMN: Final = 21
_LINE_WIDTH: Final = 79
_DATE: Final = "01-JAN-2024"

_MOL_TYPES: Final = {
    Molecule.DNA: "genomic DNA",
    Molecule.SS_DNA: "genomic DNA",
    Molecule.MS_DNA: "other DNA",
    Molecule.MRNA: "mRNA",
    Molecule.DS_MRNA: "mRNA",
    Molecule.RRNA: "rRNA",
    Molecule.DS_RRNA: "rRNA",
    Molecule.TRNA: "tRNA",
    Molecule.RNA: "genomic RNA",
    Molecule.SS_RNA: "genomic RNA",
    Molecule.DS_RNA: "genomic RNA",
    Molecule.MS_RNA: "other RNA",
    Molecule.CRNA: "viral cRNA",
    Molecule.DS_CRNA: "viral cRNA",
}


@dataclass(frozen=True, kw_only=True)
class GenBankRecord:
    """What a record says."""

    accession: str
    """At most 16 characters; the version is 1."""

    molecule: Molecule
    sequence: str
    """Canonical nucleotides."""

    organism: str
    lineage: str
    """Taxonomy, separated by semicolons."""

    division: str
    """GenBank division, three letters."""

    definition: str
    genes: tuple[Gene, ...] = ()
    circular: bool = False


def format_record(record: GenBankRecord) -> str:
    """Write a record as the text of a flat file, LOCUS to ``//``.

    Args:
        record: What the record says.
    """
    return _header(record) + _features(record) + "ORIGIN\n" + _origin(record.sequence) + "//\n"


def faulty_records(example: GenBankRecord) -> dict[str, str]:
    """Write a record with each of the faults that real files have, by name of the fault.

    The record without its terminator comes last: it must end the file, or else it would take the
    next record with it.

    Args:
        example: A sound record without genes, of type DNA.
    """
    sound = format_record(example)
    locus, _, rest = sound.partition("\n")
    head, _, letters = sound.partition("ORIGIN\n")
    length = len(example.sequence)
    return {
        "no sequence": f"{head}CONTIG      join({example.accession}.1:1..{length})\n//\n",
        "malformed LOCUS": f"LOCUS       {example.accession} DNA {length}\n{rest}",
        "no molecule type": f"{locus[:44]}{'':11}{locus[55:]}\n{rest}",
        "unknown molecule type": f"{locus[:44]}{'':3}{'snRNA':<8}{locus[55:]}\n{rest}",
        "protein record": sound.replace(" bp    DNA ", " aa        ", 1),
        "other length than LOCUS says": f"{locus[:29]}{length + 7:>11}{locus[40:]}\n{rest}",
        "gap in the sequence": head + "ORIGIN\n" + letters[:25] + "-" + letters[26:],
        "no terminator": sound.removesuffix("//\n"),
    }


def write_genbank(path: Path, texts: Iterable[str]) -> None:
    """Write a flat file, compressed where its name ends in ``.gz``.

    Args:
        path: File to write; its folder is made if it is not there.
        texts: Text of each record.
    """
    write_ascii(path, "".join(texts))


def _header(record: GenBankRecord) -> str:
    strands, _, kind = record.molecule.value.rpartition("-")
    strands = f"{strands}-" if strands else ""
    topology = "circular" if record.circular else "linear"
    return (
        f"LOCUS       {record.accession:<16} {len(record.sequence):>11} bp {strands:>3}{kind:<6}  "
        f"{topology:<8} {record.division} {_DATE}\n"
        + _field("DEFINITION", f"{record.definition}.")
        + _field("ACCESSION", record.accession)
        + _field("VERSION", f"{record.accession}.1")
        + _field("KEYWORDS", ".")
        + _field("SOURCE", record.organism)
        + _field("  ORGANISM", record.organism)
        + _wrapped(f"{record.lineage}.", indent=12)
    )


def _field(name: str, text: str) -> str:
    return name.ljust(12) + _wrapped(text, indent=12)[12:]


def _wrapped(text: str, *, indent: int) -> str:
    """Wrap text at spaces; every line is indented."""
    lines = textwrap.wrap(text, _LINE_WIDTH - indent, break_on_hyphens=False)
    return "".join(f"{'':{indent}}{line}\n" for line in lines)


def _features(record: GenBankRecord) -> str:
    text = "FEATURES             Location/Qualifiers\n"
    text += f"     {'source':<16}1..{len(record.sequence)}\n"
    text += _qualifier("organism", record.organism)
    text += _qualifier("mol_type", _MOL_TYPES[record.molecule])
    for number, gene in enumerate(record.genes, start=1):
        span = ((gene.exons[0][0], gene.exons[-1][1]),)
        text += _feature("gene", _location(span, reverse=gene.reverse))
        names = _qualifier("gene", gene.name)
        names += _qualifier("locus_tag", f"{record.accession}_{number:05d}")
        names += _qualifier("db_xref", f"SyntheticGene:{record.accession}{number:05d}")
        text += names
        text += _feature("CDS", _location(gene.exons, reverse=gene.reverse))
        text += names
        text += _qualifier("inference", f"EXISTENCE: made from sequence:family:{gene.family}")
        text += _qualifier("note", _note(gene))
        text += f"{'':{_VALUE_COLUMN}}/codon_start=1\n{'':{_VALUE_COLUMN}}/transl_table=1\n"
        text += _qualifier("product", f"{gene.family} family protein {gene.name}")
        text += _qualifier("protein_id", f"{record.accession}P{number}.1")
        text += _qualifier("db_xref", f"SyntheticProtein:{record.accession}P{number}")
        text += _qualifier("translation", gene.protein)
    return text


def _note(gene: Gene) -> str:
    exons = "one exon" if len(gene.exons) == 1 else f"{len(gene.exons)} exons"
    return (
        f"synthetic gene of {exons}; its {len(gene.protein)} residues descend from the ancestor "
        f"of {gene.family} by substitution, and the codons are those that the species prefers"
    )


def _location(exons: tuple[tuple[int, int], ...], *, reverse: bool) -> str:
    text = ",".join(f"{start + 1}..{stop}" for start, stop in exons)
    if len(exons) > 1:
        text = f"join({text})"
    return f"complement({text})" if reverse else text


def _feature(key: str, location: str) -> str:
    """Write a feature's key and location, which may be broken after a comma only."""
    lines = [""]
    for part in location.replace(",", ",\n").split("\n"):
        if lines[-1] and len(lines[-1]) + len(part) > _LINE_WIDTH - _VALUE_COLUMN:
            lines.append("")
        lines[-1] += part
    first, *others = lines
    return f"     {key:<16}{first}\n" + "".join(f"{'':{_VALUE_COLUMN}}{x}\n" for x in others)


def _qualifier(name: str, value: str) -> str:
    text = f'/{name}="{value}"'
    if " " in value:
        return _wrapped(text, indent=_VALUE_COLUMN)
    width = _LINE_WIDTH - _VALUE_COLUMN
    lines = [text[i : i + width] for i in range(0, len(text), width)]
    return "".join(f"{'':{_VALUE_COLUMN}}{line}\n" for line in lines)


def _origin(sequence: str) -> str:
    letters = sequence.lower()
    lines = []
    for start in range(0, len(letters), 60):
        stop = min(start + 60, len(letters))
        tens = " ".join(letters[i : min(i + 10, stop)] for i in range(start, stop, 10))
        lines.append(f"{start + 1:>9} {tens}\n")
    return "".join(lines)
