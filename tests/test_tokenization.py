from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st

from biote.errors import DataError
from biote.molecules import MOLECULES, Modality, Molecule
from biote.tokenization import (
    BPE_PIECE_CHARACTERS,
    BPETokenizer,
    CharacterTokenizer,
    Tokenizer,
    load_tokenizer,
    resolve_tokenizer,
)

nucleic_sequences = st.text(alphabet="ATCGN", max_size=200)
protein_sequences = st.text(alphabet="ARNDCQEGHILKMFPSTWYVBZXUO", max_size=200)


def train_model(path: Path, *, modality: Modality, declared: list[str]) -> Path:
    """A small SentencePiece model with the type tags and a dummy prefix, as published ones."""
    letters = "ACGTN" if modality is Modality.NUCLEIC else "ARNDCQEGHILKMFPSTWYVBZXUO"
    rng = np.random.default_rng(0)
    lines = ["".join(rng.choice(list(letters), 80)) for _ in range(300)]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        model_type="bpe",
        vocab_size=120,
        user_defined_symbols=declared,
        character_coverage=1.0,
        minloglevel=2,
    )
    path.write_bytes(model.getvalue())
    return path


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("models")
    declared = ["<EOS>", *(molecule.tag for molecule in MOLECULES)]
    return (
        train_model(folder / "n.model", modality=Modality.NUCLEIC, declared=declared),
        train_model(folder / "p.model", modality=Modality.PROTEIN, declared=declared),
    )


@pytest.fixture(scope="module", params=["character", "two ranges"])
def tokenizer(request: pytest.FixtureRequest, models: tuple[Path, Path]) -> Tokenizer:
    return CharacterTokenizer() if request.param == "character" else BPETokenizer(*models)


def test_character_ids_are_the_published_ones() -> None:
    tokenizer = CharacterTokenizer()
    nucleic = tokenizer.encode("ATCGN", Molecule.DNA).ids
    assert nucleic.tolist() == [4, 5, 6, 7, 8]
    residues = tokenizer.encode("ARNDCQEGHILKMFPSTWYVBZXUO", Molecule.PROTEIN).ids
    assert residues.tolist() == list(range(23, 48))
    tags = {molecule.value: tokenizer.tag_id(molecule) for molecule in MOLECULES}
    assert tags["DNA"] == 9
    assert tags["ss-RNA"] == 15
    assert tags["ds-mRNA"] == 17
    assert tags["ds-cRNA"] == 22
    assert tags["protein"] == 48
    assert (tokenizer.unk_id, tokenizer.pad_id, tokenizer.mask_id) == (0, 1, 2)
    assert tokenizer.eos_id(Modality.NUCLEIC) == tokenizer.eos_id(Modality.PROTEIN) == 3
    assert tokenizer.vocab_size == 49


def test_released_mode_gives_ambiguity_codes_the_unknown_id() -> None:
    tokenizer = CharacterTokenizer("released")
    assert tokenizer.encode("ARA", Molecule.DNA).ids.tolist() == [4, 0, 4]
    assert CharacterTokenizer().encode("ARA", Molecule.DNA).ids.tolist() == [4, 8, 4]


@given(sequence=nucleic_sequences)
def test_decode_after_encode_is_identity_on_nucleic_acids(
    tokenizer: Tokenizer, sequence: str
) -> None:
    assert tokenizer.decode(tokenizer.encode(sequence, Molecule.DNA).ids, Molecule.DNA) == sequence


@given(sequence=protein_sequences)
def test_decode_after_encode_is_identity_on_proteins(tokenizer: Tokenizer, sequence: str) -> None:
    ids = tokenizer.encode(sequence, Molecule.PROTEIN).ids
    assert tokenizer.decode(ids, Molecule.PROTEIN) == sequence


@given(sequence=protein_sequences)
def test_spans_tile_the_sequence(tokenizer: Tokenizer, sequence: str) -> None:
    encoding = tokenizer.encode(sequence, Molecule.PROTEIN)
    covered = [i for start, end in encoding.spans for i in range(start, end)]
    assert covered == list(range(len(sequence)))
    for token, (start, end) in zip(encoding.ids, encoding.spans, strict=True):
        assert tokenizer.decode([int(token)], Molecule.PROTEIN) == sequence[start:end]


def test_an_unknown_residue_keeps_its_place(tmp_path: Path) -> None:
    # REFERENCE 6, 13: a model that lacks letters must not shift what follows them.
    declared = ["<EOS>", *(molecule.tag for molecule in MOLECULES)]
    path = train_model(tmp_path / "n.model", modality=Modality.NUCLEIC, declared=declared)
    tokenizer = BPETokenizer(path)  # knows A, C, G, T and N only
    encoding = tokenizer.encode("ACGWWYACG", Molecule.PROTEIN)
    assert encoding.spans[-1, 1] == 9
    assert (encoding.ids == tokenizer.unk_id).sum() == 3
    assert tokenizer.decode(encoding.ids, Molecule.PROTEIN) == "ACGXXXACG"


def test_two_ranges_have_their_own_end_tokens_and_tags(models: tuple[Path, Path]) -> None:
    tokenizer = BPETokenizer(*models)
    size = sentencepiece.SentencePieceProcessor(model_file=str(models[0])).vocab_size()
    nucleic, protein = (tokenizer.eos_id(modality) for modality in Modality)
    assert protein == nucleic + size
    assert tokenizer.tag_id(Molecule.PROTEIN) >= size
    assert tokenizer.tag_id(Molecule.DNA) < size
    # REFERENCE 6, 8: the protein end token is special although it has its own id.
    assert {nucleic, protein} <= set(tokenizer.special_ids.tolist())


def test_a_model_without_mask_and_padding_gains_ids_after_its_last(
    models: tuple[Path, Path],
) -> None:
    tokenizer = BPETokenizer(models[0])
    size = sentencepiece.SentencePieceProcessor(model_file=str(models[0])).vocab_size()
    assert (tokenizer.pad_id, tokenizer.mask_id) == (size, size + 1)
    assert tokenizer.vocab_size == size + 2
    assert {size, size + 1} <= set(tokenizer.special_ids.tolist())


def test_dummy_prefix_is_dropped(models: tuple[Path, Path]) -> None:
    tokenizer = BPETokenizer(*models)
    processor = sentencepiece.SentencePieceProcessor(model_file=str(models[0]))
    lone = processor.piece_to_id("\u2581")
    assert lone != processor.unk_id()
    assert lone not in tokenizer.encode("ACGTACGTTTGCA", Molecule.DNA).ids.tolist()


def test_a_long_sequence_is_encoded_in_fixed_pieces(models: tuple[Path, Path]) -> None:
    tokenizer = BPETokenizer(*models)
    sequence = "".join(np.random.default_rng(1).choice(list("ACGT"), BPE_PIECE_CHARACTERS + 100))
    encoding = tokenizer.encode(sequence, Molecule.DNA)
    assert BPE_PIECE_CHARACTERS in encoding.spans[:, 1].tolist()
    head = tokenizer.encode(sequence[:BPE_PIECE_CHARACTERS], Molecule.DNA).ids
    np.testing.assert_array_equal(encoding.ids[: len(head)], head)
    assert tokenizer.decode(encoding.ids, Molecule.DNA) == sequence


def test_saved_and_loaded_gives_the_same_ids(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "t")
    loaded = load_tokenizer(tmp_path / "t")
    assert loaded.fingerprint == tokenizer.fingerprint
    for molecule in (Molecule.DNA, Molecule.PROTEIN):
        np.testing.assert_array_equal(
            loaded.encode("ACGTNACCA", molecule).ids, tokenizer.encode("ACGTNACCA", molecule).ids
        )
    loaded.save(tmp_path / "t")  # into its own folder
    assert load_tokenizer(tmp_path / "t").fingerprint == tokenizer.fingerprint


def test_a_changed_folder_is_refused(tmp_path: Path) -> None:
    CharacterTokenizer().save(tmp_path)
    path = tmp_path / "tokenizer.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"ambiguity": "released"}))
    with pytest.raises(DataError, match="changed after it was saved"):
        load_tokenizer(tmp_path)
    path.write_text(json.dumps(content | {"format_version": 99}))
    with pytest.raises(DataError, match="format version 99"):
        load_tokenizer(tmp_path)
    path.write_text("{")
    with pytest.raises(DataError, match="not valid JSON"):
        load_tokenizer(tmp_path)


def test_fingerprints_differ_between_tokenizers(models: tuple[Path, Path]) -> None:
    tokenizers = [
        CharacterTokenizer(),
        CharacterTokenizer("released"),
        BPETokenizer(models[0]),
        BPETokenizer(*models),
        BPETokenizer(models[1], models[0]),
    ]
    assert len({tokenizer.fingerprint for tokenizer in tokenizers}) == len(tokenizers)


def test_what_cannot_be_resolved_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no tokenizer\.json there"):
        resolve_tokenizer(str(tmp_path))
    with pytest.raises(DataError, match="no SentencePiece model there"):
        resolve_tokenizer(str(tmp_path / "x.model"))
    (tmp_path / "x.model").write_text("nonsense")
    with pytest.raises(DataError, match="not a SentencePiece model"):
        resolve_tokenizer(str(tmp_path / "x.model"))


def test_a_model_without_type_tags_is_refused(tmp_path: Path) -> None:
    path = train_model(tmp_path / "n.model", modality=Modality.NUCLEIC, declared=["<EOS>"])
    with pytest.raises(DataError, match="no piece <DNA>"):
        BPETokenizer(path)


def test_a_single_model_reads_the_modalities_whose_tags_it_declares(tmp_path: Path) -> None:
    path = train_model(
        tmp_path / "p.model", modality=Modality.PROTEIN, declared=["<EOS>", "<protein>"]
    )
    tokenizer = BPETokenizer(path)
    assert tokenizer.modalities == (Modality.PROTEIN,)
    tokenizer.save(tmp_path / "saved")
    assert (tmp_path / "saved/protein.model").is_file()
    assert load_tokenizer(tmp_path / "saved").fingerprint == tokenizer.fingerprint
    for refused in (
        lambda: tokenizer.encode("ACGT", Molecule.DNA),
        lambda: tokenizer.encode_spelled([b"ACGT"], Modality.NUCLEIC),
        lambda: tokenizer.tag_id(Molecule.RNA),
        lambda: tokenizer.eos_id(Modality.NUCLEIC),
    ):
        with pytest.raises(DataError, match="for protein sequences alone cannot encode nucleic"):
            refused()
    declared = ["<EOS>", "<protein>", "<DNA>"]
    path = train_model(tmp_path / "some.model", modality=Modality.PROTEIN, declared=declared)
    with pytest.raises(DataError, match="no piece <mRNA>"):
        BPETokenizer(path)


def test_an_id_outside_the_vocabulary_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(DataError, match="outside"):
        tokenizer.decode([tokenizer.vocab_size], Molecule.DNA)


@pytest.mark.parametrize(
    ("names", "vocab_size"),
    [
        (("mixed_bpe",), 65_538),
        (("nucleotide_bpe", "peptide_bpe"), 131_074),
    ],
)
def test_published_models(real_data: Path, names: tuple[str, ...], vocab_size: int) -> None:
    files = [str(real_data / "tokenizers" / f"{name}.model") for name in names]
    tokenizer = resolve_tokenizer(",".join(files))
    assert tokenizer.vocab_size == vocab_size
    assert tokenizer.dtype == np.uint32
    assert (tokenizer.pad_id, tokenizer.mask_id) == (vocab_size - 2, vocab_size - 1)
    offset = 65_536 if len(names) == 2 else 0
    assert tokenizer.eos_id(Modality.NUCLEIC) == 3
    assert tokenizer.eos_id(Modality.PROTEIN) == 3 + offset
    assert tokenizer.tag_id(Molecule.DNA) == 4
    assert tokenizer.tag_id(Molecule.PROTEIN) == 18 + offset
    for sequence, molecule in (
        ("ACGTNNACGTTTGACA" * 9, Molecule.DNA),
        ("MKVLAAW", Molecule.PROTEIN),
    ):
        encoding = tokenizer.encode(sequence, molecule)
        assert tokenizer.decode(encoding.ids, molecule) == sequence
        assert encoding.spans[-1, 1] == len(sequence)
