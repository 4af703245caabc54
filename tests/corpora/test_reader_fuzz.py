"""Damaged input of every kind: each reader ends, without an error, with what was not damaged."""

from __future__ import annotations

import gzip
import io
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import biote.corpora.blocks
import biote.corpora.fasta
import biote.corpora.spool
from biote.corpora.fasta import read_fasta
from biote.corpora.genbank import read_genbank
from biote.corpora.records import BadRecord, Record
from biote.corpora.table import read_table
from biote.molecules import Molecule

fuzz = settings(max_examples=200, deadline=timedelta(seconds=5))

FRAGMENTS = [
    *(b"\n", b"\r\n", b"\n\n", b" ", b"\t", b"\0", b"\xff\xfe", b"\x1f\x8b", b"9" * 5000),
    *(b">", b"\n>", b"\n>x\n", b">x y\nMKV\n", b";", b"@r\nACGT\n+\nIIII\n"),
    *(b"//\n", b"\n//\n", b"/", b"LOCUS", b"\nLOCUS\n", b"LOCUS       Z 5 bp DNA linear\n"),
    *(
        b"\nORIGIN\n",
        b"ORIGIN",
        b"\nCONTIG      join(A:1..5)\n",
        b"acgt",
        b"        1 acgtacgtac\n",
    ),
    *(b"LOCUS       Z " + b"9" * 5000 + b" bp DNA\nORIGIN\n1 ac\n//\n", b" " * 3000),
]


@dataclass(frozen=True)
class Span:
    """A record of a file and where it stands in it."""

    id: str
    letters: bytes
    begin: int
    end: int


@dataclass(frozen=True)
class Damage:
    """Bytes of a file from ``begin`` to ``end`` replaced by others."""

    begin: int
    end: int
    new: bytes


@dataclass(frozen=True)
class Format:
    """A format under test: how a record is written, what is read, and what must be whole."""

    name: str
    write: Callable[[int, bytes, int], bytes]
    read: Callable[[Path], Iterator[Record | BadRecord]]
    past_end: int
    """Bytes after a record that belong to it: the ``>`` of the next."""

    def id(self, number: int) -> str:
        """Id of a record as it is read."""
        return f"r{number}" if self.name == "fasta" else f"R{number}.1"


def write_fasta(number: int, letters: bytes, width: int) -> bytes:
    lines = [letters[i : i + width] for i in range(0, len(letters), width)]
    return b"\n".join([b">r%d a > header" % number, *lines, b""])


def write_genbank(number: int, letters: bytes, width: int) -> bytes:
    name = b"R%d" % number
    head = (
        b"LOCUS       %b  %d bp    DNA     linear   BCT 11-OCT-2001\n" % (name, len(letters))
        + b"DEFINITION  Some LOCUS and // in running text.\n"
        + b"ACCESSION   %b\nVERSION     %b.1\n" % (name, name)
        + b"FEATURES             Location/Qualifiers\n     source          1..125\n"
        + b'                     /note="//\n'
    )
    lines = [b"%9d %b" % (i + 1, letters[i : i + width]) for i in range(0, len(letters), width)]
    return head + b"\n".join([b"ORIGIN      ", *lines, b"//\n"])


FORMATS = [
    Format("fasta", write_fasta, lambda path: read_fasta(path, Molecule.DNA), 1),
    Format("genbank", write_genbank, read_genbank, 0),
]
formats = pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)


@st.composite
def files(draw: st.DrawFn) -> Callable[[Format], tuple[bytes, list[Span]]]:
    """A file of records, once its format is known."""
    letters = draw(st.lists(st.integers(1, 300), min_size=1, max_size=12))
    width = draw(st.sampled_from([1, 7, 60, 1000]))

    def build(form: Format) -> tuple[bytes, list[Span]]:
        text, spans = b"", []
        for number, length in enumerate(letters):
            sequence = (b"acgtnrykm" * 40)[number : number + length]
            record = form.write(number, sequence, width)
            spans.append(Span(form.id(number), sequence, len(text), len(text) + len(record)))
            text += record
        return text, spans

    return build


damages = st.lists(
    st.tuples(
        st.floats(0, 1),
        st.sampled_from([0, 0, 1, 2, 10, 300]),
        st.one_of(st.sampled_from([b"", *FRAGMENTS]), st.binary(max_size=30)),
    ),
    max_size=3,
)
Places = list[tuple[float, int, bytes]]


def damage(text: bytes, places: Places) -> tuple[bytes, list[Damage]]:
    """Replace bytes of a text, from its end to its beginning so that places stay what they are."""
    done: list[Damage] = []
    for share, removed, new in sorted(places, key=lambda place: -place[0]):
        begin = int(share * len(text))
        end = min(begin + removed, done[-1].begin if done else len(text))
        done.append(Damage(begin, max(begin, end), new))
    damaged = text
    for spot in done:
        damaged = damaged[: spot.begin] + spot.new + damaged[spot.end :]
    return damaged, done


def untouched(form: Format, spans: list[Span], spots: list[Damage]) -> list[Span]:
    """The records that no damage touches, nor the line break before them."""
    return [
        span
        for span in spans
        if all(spot.end < span.begin or spot.begin >= span.end + form.past_end for spot in spots)
    ]


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def read(form: Format, content: bytes, **sizes: int) -> list[Record | BadRecord]:
    """Read content, with memory and blocks of other sizes than the usual ones if they are given."""
    places = {
        "blocks": (biote.corpora.blocks, "BLOCK_BYTES"),
        "feed": (biote.corpora.blocks, "_FEED_BYTES"),
        "spool": (biote.corpora.spool, "SPOOL_BYTES"),
        "piece": (biote.corpora.fasta, "_PIECE_BYTES"),
        "cut": (biote.corpora.fasta, "_READ_BYTES"),
    }
    with folder() as at, pytest.MonkeyPatch.context() as patch:
        for name, size in sizes.items():
            patch.setattr(*places[name], size)
        path = at / "file"
        path.write_bytes(content)
        found: list[Record | BadRecord] = []
        for record in form.read(path):
            found.append(
                record._replace(sequence=record.sequence[:], source="")
                if isinstance(record, Record)
                else BadRecord("", record.line, record.record, record.reason, record.detail)
            )
        return found


def assert_sound(found: list[Record | BadRecord], text: bytes) -> None:
    """Check what holds for any input whatever."""
    lines = text.count(b"\n") + 1
    assert all(1 <= record.line <= lines for record in found)
    assert [record.line for record in found] == sorted(record.line for record in found)
    letters = sum(len(record.sequence) for record in found if isinstance(record, Record))
    assert letters <= len(text)
    assert all(record.id and record.sequence for record in found if isinstance(record, Record))


def assert_kept(found: list[Record | BadRecord], spans: list[Span]) -> None:
    """Check that the records of the spans are there exactly, and in order."""
    rest = iter([(r.id, r.sequence) for r in found if isinstance(r, Record)])
    for span in spans:
        assert (span.id, span.letters) in rest, f"{span.id} is lost"


small = st.fixed_dictionaries(
    {
        "blocks": st.integers(2, 500),
        "feed": st.integers(1, 500),
        "spool": st.integers(1, 500),
        "piece": st.integers(20, 500),
        "cut": st.integers(0, 500),
    }
)


@formats
@fuzz
@given(file=files(), places=damages, sizes=small, compressed=st.booleans())
def test_damaged_text_loses_the_damaged_records_and_nothing_else(
    form: Format,
    file: Callable[[Format], tuple[bytes, list[Span]]],
    places: Places,
    sizes: dict[str, int],
    compressed: bool,
) -> None:
    whole, spans = file(form)
    text, spots = damage(whole, places)
    content = gzip.compress(text, 1) if compressed else text
    if not compressed and text.startswith(b"\x1f\x8b"):
        return
    found = read(form, content)
    kept = untouched(form, spans, spots)
    assert_sound(found, text)
    assert_kept(found, kept)
    if not spots:
        assert len(found) == len(spans)
    assert read(form, content, **sizes) == found


@formats
@fuzz
@given(file=files(), share=st.floats(0, 1), members=st.integers(1, 3), sizes=small)
def test_truncated_gzip_keeps_what_can_be_decompressed(
    form: Format,
    file: Callable[[Format], tuple[bytes, list[Span]]],
    share: float,
    members: int,
    sizes: dict[str, int],
) -> None:
    text, spans = file(form)
    step = -(-len(text) // members)
    packed = [gzip.compress(text[i : i + step], 1) for i in range(0, len(text), step)]
    content = b"".join(packed)
    content = content[: int(share * len(content))]
    if len(content) < 2:  # not even known to be gzip
        assert len(read(form, content)) == len(content)
        return
    found = read(form, content)
    ends = [sum(map(len, packed[: i + 1])) for i in range(len(packed))]
    assert_sound(found, text)
    if len(content) in ends[:-1] and form.name == "genbank":
        assert all(isinstance(record, Record) for record in found[:-1])
    elif len(content) not in ends:
        *before, last = found
        assert all(isinstance(record, Record) for record in before)
        assert isinstance(last, BadRecord)
        assert last.reason == "truncated gzip"
        available = decompressible(content)
        assert_kept(found, [s for s in spans if s.end + form.past_end <= len(available)])
    assert read(form, content, **sizes) == found


def decompressible(content: bytes) -> bytes:
    """What zlib makes of the beginning of a gzip file, its members end to end."""
    text = b""
    while content:
        member = zlib.decompressobj(31)
        text += member.decompress(content)
        content = member.unused_data
    return text


@formats
@fuzz
@given(file=files(), places=damages.filter(bool), sizes=small)
def test_damaged_gzip_keeps_what_came_before(
    form: Format,
    file: Callable[[Format], tuple[bytes, list[Span]]],
    places: Places,
    sizes: dict[str, int],
) -> None:
    text, spans = file(form)
    content, spots = damage(gzip.compress(text, 1), places)
    if content.startswith(b"\x1f\x8b"):
        found = read(form, content, **(sizes | {"feed": 1}))  # drops nothing but the damage
        intact = decompressible(content[: max(min(spot.begin for spot in spots) - 8, 0)])
        assert_kept(found, [s for s in spans if s.end + form.past_end <= len(intact)])
    assert all(record.line >= 1 for record in read(form, content))


@formats
@fuzz
@given(
    parts=st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.binary(max_size=20)), max_size=25),
    sizes=small,
)
def test_any_bytes_end_without_an_error(
    form: Format, parts: list[bytes], sizes: dict[str, int]
) -> None:
    text = b"".join(parts)
    found = read(form, text)
    if not text.startswith(b"\x1f\x8b"):
        assert_sound(found, text)
        assert bool(found) == bool(text.removeprefix(b"\xef\xbb\xbf").strip()) or (
            form.name == "genbank"  # a // alone is no record and no stray text
        )
        assert read(form, text, **sizes) == found


def parquet(**options: object) -> bytes:
    sequences = ["MKV" * (i % 9 + 1) for i in range(40)]
    table = pa.table({"id": [f"r{i}" for i in range(40)], "sequence": sequences})
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


PARQUETS = [
    parquet(),
    parquet(compression="none", use_dictionary=False, row_group_size=7),
    parquet(compression="zstd", row_group_size=13, data_page_version="2.0"),
]


@fuzz
@given(which=st.integers(0, len(PARQUETS) - 1), places=damages)
def test_damaged_parquet_ends_without_an_error(which: int, places: Places) -> None:
    content, _ = damage(PARQUETS[which], places)
    with folder() as at:
        path = at / "x.parquet"
        path.write_bytes(content)
        found = list(read_table(path, Molecule.PROTEIN))
    assert [record.line for record in found] == sorted(record.line for record in found)
    assert sum(isinstance(record, Record) for record in found) <= 40
    if content == PARQUETS[which]:
        assert len(found) == 40


@fuzz
@given(content=st.binary(max_size=200))
def test_bytes_that_are_no_parquet_are_one_ledger_line(content: bytes) -> None:
    with folder() as at:
        path = at / "x.parquet"
        path.write_bytes(b"PAR1" + content + b"PAR1")
        (bad,) = read_table(path, Molecule.PROTEIN)
    assert isinstance(bad, BadRecord)
    assert bad.reason == "damaged Parquet file"
