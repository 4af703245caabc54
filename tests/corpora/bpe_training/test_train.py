from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from biote.corpora.bpe_training import train as module
from biote.corpora.bpe_training.folder import TRAINING_FILE
from biote.corpora.bpe_training.model import Compression, measure, train_model
from biote.corpora.bpe_training.train import TrainingReport, TrainingSettings, train_tokenizer
from biote.corpora.manifest import LEDGER_FILE
from biote.corpora.prepare import prepare
from biote.errors import BioteError, ConfigError, DataError
from biote.molecules import MOLECULES, NUCLEIC_MOLECULES, Modality, Molecule
from biote.tokenization import BPETokenizer, CharacterTokenizer, load_tokenizer, resolve_tokenizer


def settings(
    *,
    characters: int = 10**6,
    pieces: int = 150,
    modalities: tuple[Modality, ...] = tuple(Modality),
    molecule: Molecule | None = None,
    seed: int = 0,
) -> TrainingSettings:
    return TrainingSettings(
        characters=characters,
        pieces=pieces,
        memory_bytes=10**9,
        modalities=modalities,
        molecule=molecule,
        seed=seed,
    )


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_folder_is_a_tokenizer_that_says_where_it_came_from(
    dna: Path, proteins: Path, tmp_path: Path
) -> None:
    with proteins.open("a") as stream:
        stream.write(">bad\nM-L\n")
    output = tmp_path / "new/tokenizer"
    report = train_tokenizer([dna, proteins], output, settings=settings())
    assert {path.name for path in output.iterdir()} == {
        "nucleic.model",
        "protein.model",
        "tokenizer.json",
        TRAINING_FILE,
        LEDGER_FILE,
    }
    assert [path.name for path in output.parent.iterdir()] == ["tokenizer"]
    tokenizer = load_tokenizer(output)
    assert resolve_tokenizer(str(output)).fingerprint == tokenizer.fingerprint
    assert tokenizer.vocab_size == 300
    assert (tokenizer.unk_id, tokenizer.pad_id, tokenizer.mask_id) == (0, 1, 2)
    assert tokenizer.eos_id(Modality.NUCLEIC) == 3
    assert tokenizer.eos_id(Modality.PROTEIN) == 150 + 3
    assert len({tokenizer.tag_id(m) for m in MOLECULES}) == len(MOLECULES)

    origin = json.loads((output / TRAINING_FILE).read_text())
    assert origin["tokenizer_fingerprint"] == tokenizer.fingerprint
    assert origin["bad_records"] == report.bad_records == 1
    assert json.loads((output / LEDGER_FILE).read_text())["record"] == "bad"
    assert (origin["characters_asked"], origin["characters_room"], origin["seed"]) == (
        10**6,
        10**6,
        0,
    )
    for source, path in zip(origin["sources"], (dna, proteins), strict=True):
        assert source["file"] == str(path)
        assert source["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    for modality, seen, pieces in (("nucleic", 21_500, 12), ("protein", 20_000, 50)):
        model = origin["models"][modality]
        held = (output / model["file"]).read_bytes()
        assert model["sha256"] == hashlib.sha256(held).hexdigest()
        assert (model["characters_seen"], model["pieces_seen"]) == (seen, pieces)
        assert (model["characters_sampled"], model["pieces_sampled"]) == (seen, pieces)
        assert model["options"]["vocab_size"] == 150
        assert 0 < model["held_out"]["characters"] <= max(4_000, 0.01 * seen)
        compression = report.compression[Modality(modality)]
        assert compression.unknown_tokens == 0
        assert compression.characters_per_token > 1.5


def test_the_same_sources_and_seed_give_the_same_folder(
    dna: Path, proteins: Path, tmp_path: Path
) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train_tokenizer(
            [dna, proteins], tmp_path / name, settings=settings(characters=10_000, seed=seed)
        )
    assert content(tmp_path / "a") == content(tmp_path / "b")
    models = [(tmp_path / name / "protein.model").read_bytes() for name in "ac"]
    assert models[0] != models[1]


def test_files_and_the_corpus_made_of_them_give_the_same_models(
    dna: Path, proteins: Path, tmp_path: Path
) -> None:
    prepare([dna, proteins], tmp_path / "corpus", tokenizer=CharacterTokenizer())
    train_tokenizer([dna, proteins], tmp_path / "a", settings=settings(characters=12_000))
    train_tokenizer([tmp_path / "corpus"], tmp_path / "b", settings=settings(characters=12_000))
    tokenizers = [load_tokenizer(tmp_path / name) for name in "ab"]
    assert tokenizers[0].fingerprint == tokenizers[1].fingerprint
    [source] = json.loads((tmp_path / "b" / TRAINING_FILE).read_text())["sources"]
    corpus = json.loads((tmp_path / "corpus/corpus.json").read_text())
    assert source["corpus"] == str(tmp_path / "corpus")
    assert source["tokenizer_fingerprint"] == corpus["tokenizer_fingerprint"]


def test_the_sample_stays_within_the_memory_whatever_is_asked_for(
    dna: Path, proteins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = settings(characters=10**11)
    assert asked.room < 10**9 / 100  # bytes of memory for a character
    monkeypatch.setattr(module, "characters_held", lambda memory, pieces: 9_000)
    report = train_tokenizer([dna, proteins], tmp_path / "out", settings=asked)
    for sample in report.samples.values():
        assert sample.characters_seen >= 20_000
        assert 5_000 < sample.characters_sampled <= 9_000
    origin = json.loads((tmp_path / "out" / TRAINING_FILE).read_text())
    assert (origin["characters_asked"], origin["characters_room"]) == (10**11, 9_000)


def test_what_measures_the_models_does_not_train_them(
    dna: Path, proteins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: dict[Modality, list[bytes]] = {}
    measured: list[list[bytes]] = []

    def train(sample: Sequence[bytes], modality: Modality, *, pieces: int) -> bytes:
        trained[modality] = list(sample)
        return train_model(sample, modality, pieces=pieces)

    def watch(model: bytes, held_out: Sequence[bytes]) -> Compression:
        measured.append(list(held_out))
        return measure(model, held_out)

    monkeypatch.setattr(module, "train_model", train)
    monkeypatch.setattr(module, "measure", watch)
    train_tokenizer([dna, proteins], tmp_path / "out", settings=settings())
    for path, sample, held_out in zip((dna, proteins), trained.values(), measured, strict=True):
        assert held_out
        assert not set(held_out) & set(sample)
        pieces = Counter(piece for piece in [*held_out, *sample])
        lines = path.read_text().splitlines()[1::2]
        expected = [line[i : i + 4_000] for line in lines for i in range(0, len(line), 4_000)]
        assert pieces == Counter(piece.encode() for piece in expected)


def one_modality(sources: list[Path], output: Path, modality: Modality) -> TrainingReport:
    return train_tokenizer(sources, output, settings=settings(modalities=(modality,)))


def test_a_tokenizer_of_one_modality_refuses_the_other(
    dna: Path, proteins: Path, tmp_path: Path
) -> None:
    report = one_modality([dna, proteins], tmp_path / "p", Modality.PROTEIN)
    assert report.left_out == {Modality.NUCLEIC: 21_500}
    one_modality([dna], tmp_path / "n", Modality.NUCLEIC)
    for name, modality, text in (
        ("p", Modality.PROTEIN, "MHELHXU"),
        ("n", Modality.NUCLEIC, "TATAATN"),
    ):
        tokenizer = load_tokenizer(tmp_path / name)
        assert isinstance(tokenizer, BPETokenizer)
        assert tokenizer.modalities == (modality,)
        assert tokenizer.vocab_size == 150
        assert {path.name for path in (tmp_path / name).glob("*.model")} == {f"{modality}.model"}
        molecule = Molecule.PROTEIN if name == "p" else Molecule.TRNA
        assert tokenizer.decode(tokenizer.encode_ids(text, molecule), molecule) == text
        other = Molecule.DNA if name == "p" else Molecule.PROTEIN
        alone = f"a tokenizer for {modality} sequences alone cannot encode {other.modality}"
        with pytest.raises(DataError, match=alone):
            tokenizer.encode("ACG", other)
        with pytest.raises(DataError, match=alone):
            tokenizer.tag_id(other)
        with pytest.raises(DataError, match=alone):
            tokenizer.eos_id(other.modality)
    nucleic = load_tokenizer(tmp_path / "n")
    assert len({nucleic.tag_id(m) for m in NUCLEIC_MOLECULES}) == len(NUCLEIC_MOLECULES)


def test_a_missing_modality_is_one_line_that_names_the_way_out(
    proteins: Path, tmp_path: Path
) -> None:
    counts = "50 usable records of 0 nucleic and 20,000 protein characters, no bad records"
    mend = "add nucleic sequences, or train on the others alone: --modality protein, or say .*"
    missing = rf"p\.faa: no nucleic sequence: {counts}; {mend}--molecule$"
    with pytest.raises(DataError, match=missing):
        train_tokenizer([proteins], tmp_path / "out", settings=settings())
    with pytest.raises(DataError, match=missing):
        one_modality([proteins], tmp_path / "out", Modality.NUCLEIC)
    short = tmp_path / "one.fa"
    short.write_text(">a\nACGT\n")
    with pytest.raises(DataError, match="only one piece of a nucleic sequence"):
        train_tokenizer([short, proteins], tmp_path / "out", settings=settings())
    train_tokenizer(
        [proteins, short],
        tmp_path / "out",
        settings=settings(modalities=(Modality.PROTEIN,), molecule=Molecule.PROTEIN),
    )
    origin = json.loads((tmp_path / "out" / TRAINING_FILE).read_text())
    assert origin["models"]["protein"]["pieces_seen"] == 51  # ACGT read as a protein
    assert origin["molecule"] == "protein"


def test_sources_without_a_usable_record_are_one_line_with_the_first_fault(
    tmp_path: Path, proteins: Path
) -> None:
    bad = tmp_path / "b.fna"
    bad.write_text(">x\nAC-GT\n>y\n\n" + ">z\nACGT1\n" * 5)
    more = [proteins, *(tmp_path / f"{n}.fa" for n in range(3))]
    for path in more[1:]:
        path.write_text("")
    told: list[str] = []
    with pytest.raises(DataError) as caught:
        train_tokenizer(
            [bad, *more],
            tmp_path / "out",
            settings=settings(),
            on_source=lambda source: told.append(str(source)),
        )
    assert caught.value.what == (
        "no nucleic sequence: 50 usable records of 0 nucleic and 20,000 protein characters, "
        f"10 bad records, the first {more[1]}:1: no record in the file"
    )
    assert str(caught.value).startswith(f"{more[1]}, {more[2]}, {more[3]} and 2 more: no nucleic")
    assert len(told) == 5
    with pytest.raises(
        DataError, match=r"7 bad records, the first .*b\.fna:1 x: character outside"
    ):
        train_tokenizer([bad], tmp_path / "out", settings=settings())


def test_nothing_is_left_of_a_training_that_failed(
    dna: Path, proteins: Path, tmp_path: Path
) -> None:
    before = sorted(tmp_path.iterdir())
    with pytest.raises(DataError, match="give at most"):
        train_tokenizer([dna, proteins], tmp_path / "out", settings=settings(pieces=60_000))
    with pytest.raises(DataError, match="no such file"):
        train_tokenizer([dna, tmp_path / "nowhere"], tmp_path / "out", settings=settings())
    assert sorted(tmp_path.iterdir()) == before


def test_what_is_in_the_folder_is_replaced_only_when_asked_and_only_a_tokenizer(
    dna: Path, proteins: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    output.mkdir()
    train_tokenizer([dna, proteins], output, settings=settings())  # an empty folder
    first = content(output)
    with pytest.raises(DataError, match=r"holds a tokenizer already; .*--overwrite"):
        train_tokenizer([dna, proteins], output, settings=settings(seed=1))
    with pytest.raises(DataError, match="give at most"):
        train_tokenizer([dna, proteins], output, settings=settings(pieces=60_000), overwrite=True)
    assert content(output) == first
    train_tokenizer([dna, proteins], output, settings=settings(pieces=160), overwrite=True)
    assert load_tokenizer(output).vocab_size == 320
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []

    prepare([dna], tmp_path / "corpus", tokenizer=CharacterTokenizer())
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/thesis.txt").write_text("")
    for folder in ("corpus", "notes"):
        with pytest.raises(DataError, match="holds something else than a tokenizer"):
            train_tokenizer([dna, proteins], tmp_path / folder, settings=settings(), overwrite=True)
    with pytest.raises(DataError, match="is a file"):
        train_tokenizer([dna, proteins], dna, settings=settings(), overwrite=True)


def test_settings_that_cannot_work_are_refused() -> None:
    with pytest.raises(ConfigError, match="--characters: 100 characters are too few"):
        settings(characters=100)
    with pytest.raises(ConfigError, match="--pieces: 10 pieces"):
        settings(pieces=10)
    with pytest.raises(BioteError, match="--memory-gb"):
        TrainingSettings(characters=10**6, pieces=200, memory_bytes=1)
