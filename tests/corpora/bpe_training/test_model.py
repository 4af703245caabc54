from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable

import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st

from biote.corpora.bpe_training.model import check_pieces, measure, model_options, train_model
from biote.corpora.bpe_training.pieces import PIECE_CHARACTERS
from biote.errors import ConfigError, DataError
from biote.molecules import MOLECULES, NUCLEOTIDES, RESIDUES, Modality

Sequences = Callable[[Modality, int, int], str]
Samples = dict[Modality, list[bytes]]
Models = dict[Modality, bytes]


@pytest.fixture(scope="module")
def samples(make_sequence: Sequences) -> Samples:
    return {
        m: [make_sequence(m, PIECE_CHARACTERS, seed).encode() for seed in range(5)]
        for m in Modality
    }


@pytest.fixture(scope="module")
def models(samples: Samples) -> Models:
    return {m: train_model(sample, m, pieces=200) for m, sample in samples.items()}


def loaded(model: bytes) -> sentencepiece.SentencePieceProcessor:
    return sentencepiece.SentencePieceProcessor(model_proto=model)


def pieces_of(model: sentencepiece.SentencePieceProcessor) -> list[str]:
    return [str(model.id_to_piece(i)) for i in range(model.vocab_size())]


@pytest.mark.parametrize("modality", Modality)
def test_declared_symbols_come_first_and_letters_last(modality: Modality, models: Models) -> None:
    model = loaded(models[modality])
    tags = [m.tag for m in MOLECULES if m.modality is modality]
    pieces = pieces_of(model)
    declared = ["<unk>", "<pad>", "<mask>", "<EOS>", *tags]
    assert pieces[: len(declared)] == declared
    assert len(pieces) == len(set(pieces)) == 200
    letters = NUCLEOTIDES if modality is Modality.NUCLEIC else RESIDUES
    assert set(pieces[-len(letters) :]) == set(letters)
    learned = pieces[len(declared) :]
    assert all(set(piece) <= set(letters) for piece in learned)
    assert max(map(len, learned)) > 2


@given(nucleic=st.text(NUCLEOTIDES, max_size=100), protein=st.text(RESIDUES, max_size=100))
def test_canonical_sequences_come_back_whatever_the_sample_held(
    models: Models, nucleic: str, protein: str
) -> None:
    """The sample has no N, X, B, Z, U and O."""
    for modality, text in ((Modality.NUCLEIC, nucleic), (Modality.PROTEIN, protein)):
        model = loaded(models[modality])
        ids = model.encode(text)
        assert model.decode(ids) == text
        assert model.unk_id() not in ids
        assert "".join(model.id_to_piece(i) for i in ids) == text  # no dummy prefix
        assert not any(model.id_to_piece(i).startswith("<") for i in ids)


def test_letters_alone_change_nothing_that_is_learned(samples: Samples, models: Models) -> None:
    with_n = [*samples[Modality.NUCLEIC], b"N"]
    assert train_model(with_n, Modality.NUCLEIC, pieces=200) == models[Modality.NUCLEIC]


def test_pieces_of_full_length_are_not_skipped(samples: Samples) -> None:
    longest = samples[Modality.NUCLEIC]
    assert {len(piece) for piece in longest} == {PIECE_CHARACTERS}
    assert b"TATAAT" in train_model(longest, Modality.NUCLEIC, pieces=60)
    with pytest.raises(AssertionError, match="skipped"):
        train_model([longest[0] + b"A"], Modality.NUCLEIC, pieces=60)


def test_another_process_learns_the_same_bytes(samples: Samples, models: Models) -> None:
    code = (
        "import sys; from biote.molecules import Modality;"
        "from biote.corpora.bpe_training.model import train_model;"
        "sample = sys.stdin.buffer.read().split();"
        "sys.stdout.buffer.write(train_model(sample, Modality.PROTEIN, pieces=200))"
    )
    text = b"\n".join(samples[Modality.PROTEIN])
    written = subprocess.run(
        [sys.executable, "-c", code], input=text, stdout=subprocess.PIPE, check=True
    ).stdout
    assert written == models[Modality.PROTEIN]


def test_threads_change_nothing_that_is_learned(samples: Samples, models: Models) -> None:
    written = io.BytesIO()
    letters = [letter.encode() for letter in RESIDUES]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([*letters, *samples[Modality.PROTEIN]]),
        model_writer=written,
        minloglevel=2,
        **model_options(Modality.PROTEIN, 200) | {"num_threads": 4},
    )
    other = pieces_of(loaded(written.getvalue()))
    assert other == pieces_of(loaded(models[Modality.PROTEIN]))


def test_too_many_pieces_says_how_many_there_can_be() -> None:
    few = [b"ACGTTGCA" * 4, b"GGCCTTAA" * 4]
    with pytest.raises(DataError, match=r"64 nucleic characters give at most \d+ pieces") as error:
        train_model(few, Modality.NUCLEIC, pieces=2048)
    most = int(str(error.value).rsplit("--pieces ")[1])
    assert train_model(few, Modality.NUCLEIC, pieces=most)
    with pytest.raises(DataError):
        train_model(few, Modality.NUCLEIC, pieces=most + 1)


@pytest.mark.parametrize("modality", Modality)
def test_the_fewest_pieces_that_are_allowed_can_be_trained(
    modality: Modality, samples: Samples
) -> None:
    with pytest.raises(ConfigError, match=r"--pieces: 5 pieces .* give at least") as error:
        check_pieces(modality, 5)
    fewest = int(str(error.value).rsplit(" ")[-1])
    check_pieces(modality, fewest)
    with pytest.raises(ConfigError):
        check_pieces(modality, fewest - 1)
    assert train_model(samples[modality], modality, pieces=fewest)


def test_compression_counts_letters_tokens_and_unknowns(models: Models) -> None:
    held_out = [b"TATAATTATAAT", b"NNN"]
    found = measure(models[Modality.NUCLEIC], held_out)
    model = loaded(models[Modality.NUCLEIC])
    assert found.characters == 15
    assert found.tokens == sum(len(model.encode(text.decode())) for text in held_out)
    assert found.characters_per_token == 15 / found.tokens
    assert found.unknown_tokens == 0
    with pytest.raises(DataError, match="does not come back"):
        measure(models[Modality.NUCLEIC], [b"ACJT"])
