from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biote.datamodules.groups import GroupEncoder, trimmed_lengths
from biote.errors import DataError
from biote.molecules import Modality, Molecule
from biote.tokenization import CharacterTokenizer

TOKENIZER = CharacterTokenizer()


def written(parts: list[tuple[str, Molecule]], context: int) -> str:
    """The group as text, special tokens included."""
    ids, codes = GroupEncoder(TOKENIZER, context=context).group(parts, row="r")
    assert len(ids) == len(codes) <= context
    names = {TOKENIZER.tag_id(m): m.tag for m in Molecule} | {3: "<EOS>"}
    return "".join(
        names.get(int(i)) or TOKENIZER.decode([int(i)], list(Molecule)[code])
        for i, code in zip(ids, codes, strict=True)
    )


def test_a_binding_input_is_one_group_of_framed_sequences() -> None:
    parts = [("MKV", Molecule.PROTEIN), ("ACGT", Molecule.DNA), ("ACGG", Molecule.DNA)]
    assert written(parts, 100) == "<protein>MKV<EOS><DNA>ACGT<EOS><DNA>ACGG<EOS>"


def test_truncation_takes_from_the_protein_and_never_from_the_nucleic_acid() -> None:
    # REFERENCE 6, 3: cut from the right, wild type and mutant would become one input.
    wild = [("MKVLAWMKVLAW", Molecule.PROTEIN), ("ACGTA", Molecule.DNA)]
    mutant = [("MKVLAWMKVLAW", Molecule.PROTEIN), ("ACGTC", Molecule.DNA)]
    assert written(wild, 14) == "<protein>MKVLA<EOS><DNA>ACGTA<EOS>"
    assert written(mutant, 14) == "<protein>MKVLA<EOS><DNA>ACGTC<EOS>"
    encoder = GroupEncoder(TOKENIZER, context=14)
    assert encoder.trimmed(wild, row="r")
    assert not GroupEncoder(TOKENIZER, context=21).trimmed(wild, row="r")


def test_a_nucleic_acid_that_does_not_fit_is_refused() -> None:
    with pytest.raises(DataError, match=r"row r7: .*never trimmed; raise data\.context"):
        GroupEncoder(TOKENIZER, context=8).group(
            [("MK", Molecule.PROTEIN), ("ACGTACGT", Molecule.DNA)], row="r7"
        )


@given(
    lengths=st.lists(st.tuples(st.integers(1, 50), st.booleans()), min_size=1, max_size=5),
    context=st.integers(10, 200),
)
def test_trimming_fits_or_refuses(lengths: list[tuple[int, bool]], context: int) -> None:
    sizes = [length for length, _ in lengths]
    modalities = [Modality.PROTEIN if protein else Modality.NUCLEIC for _, protein in lengths]
    least = sum(1 if protein else n for n, protein in lengths) + 2 * len(lengths)
    if least > context:
        with pytest.raises(DataError):
            trimmed_lengths(sizes, modalities, context=context, row="r")
        return
    kept = trimmed_lengths(sizes, modalities, context=context, row="r")
    assert all(0 < k <= n for k, n in zip(kept, sizes, strict=True))
    assert [k for k, m in zip(kept, modalities, strict=True) if m is Modality.NUCLEIC] == [
        n for n, m in zip(sizes, modalities, strict=True) if m is Modality.NUCLEIC
    ]
    assert sum(kept) + 2 * len(kept) == min(context, sum(sizes) + 2 * len(sizes))
