from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import biote.corpora.windows
from biote.corpora.prepare import prepare
from biote.corpora.shards import Corpus
from biote.corpora.windows import Split, WindowIndex, open_windows, shared_validation
from biote.errors import ConfigError, DataError
from biote.molecules import Molecule
from biote.splits import sequence_digest
from biote.tokenization import CharacterTokenizer

MakeCorpus = Callable[..., Corpus]
SPLITS: tuple[Split, ...] = get_args(Split)
SEQUENCES = {f"r{i}": "ACGTN"[i % 5] * (1 + i) + "GA" for i in range(60)}


def everything(index: WindowIndex) -> dict[int, list[tuple[int, int, bool]]]:
    """Start, stop and end token of every window of an index, by unit."""
    places = index.locate(np.arange(len(index)))
    found: dict[int, list[tuple[int, int, bool]]] = {}
    for unit, *window in zip(
        places.units.tolist(),
        places.starts.tolist(),
        places.stops.tolist(),
        places.closes.tolist(),
        strict=True,
    ):
        found.setdefault(unit, []).append((window[0], window[1], window[2]))
    return found


def assert_partition(corpus: Corpus, context: int) -> None:
    """Every token of every unit is in exactly one window of exactly one split."""
    train, validation = (
        everything(open_windows(corpus, context=context, split=split)) for split in SPLITS
    )
    assert not train.keys() & validation.keys()
    assert sorted([*train, *validation]) == list(range(corpus.n_units))
    units = np.arange(corpus.n_units)
    ends = corpus.ends_record(units)
    for unit, length in enumerate(corpus.lengths(units).tolist()):
        windows = {**train, **validation}[unit]
        assert [window[0] for window in windows] == [0, *(window[1] for window in windows[:-1])]
        assert windows[-1][1] == length
        assert all(0 < stop - start <= context - 2 for start, stop, _ in windows)
        assert [window[2] for window in windows] == [False] * (len(windows) - 1) + [ends[unit]]


@given(
    lengths=st.lists(st.integers(1, 70), min_size=1, max_size=20),
    context=st.integers(3, 40),
    chunk=st.integers(1, 30),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
def test_windows_partition_every_unit(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], context: int, chunk: int
) -> None:
    folder = tmp_path_factory.mktemp("corpus")
    fasta = folder / "x.fa"
    fasta.write_text("".join(f">r{i}\n{'ACGT'[i % 4] * n}\n" for i, n in enumerate(lengths)))
    prepare(
        [fasta],
        folder / "corpus",
        tokenizer=CharacterTokenizer(),
        validation_fraction=0.3,
        shard_bytes=300,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(biote.corpora.windows, "_CHUNK_WINDOWS", chunk)
        patch.setattr(biote.corpora.windows, "_CHUNK_UNITS", 1 + chunk // 4)
        assert_partition(Corpus(folder / "corpus"), context)


def test_every_token_of_a_long_record_is_in_exactly_one_window(make_corpus: MakeCorpus) -> None:
    letters = np.random.default_rng(0).choice(list("ACGT"), 1_030_001)
    corpus = make_corpus({"long": "".join(letters), "short": "ACGT", "other": "AAC"})
    context = 2048
    assert_partition(corpus, context)
    seen = []
    for split in SPLITS:
        index = open_windows(corpus, context=context, split=split)
        places = index.locate(np.arange(len(index)))
        assert places.lengths.max() <= context
        for unit, start, stop in zip(places.units, places.starts, places.stops, strict=True):
            if corpus.record_id(unit) == "long":
                seen.append((int(unit), int(start), corpus.tokens(unit, start, stop)))
    tokens = np.concatenate([window for *_, window in sorted(seen, key=lambda w: w[:2])])
    assert np.array_equal(tokens, CharacterTokenizer().encode_ids("".join(letters), Molecule.DNA))


def test_window_lengths_count_tag_and_end_token(make_corpus: MakeCorpus) -> None:
    corpus = make_corpus({"a": "ACGTACG", "b": "ACG"}, fraction=0.0)
    places = open_windows(corpus, context=5, split="train").locate(np.array([0, 1, 2, 3]))
    assert places.units.tolist() == [0, 0, 0, 1]
    assert places.lengths.tolist() == [4, 4, 3, 5]
    assert places.closes.tolist() == [False, False, True, True]


def held_out(corpus: Corpus) -> frozenset[int]:
    """Digests of all validation units of a corpus."""
    digests = corpus.digests(np.arange(corpus.n_units))
    return frozenset(digests[corpus.info.validation.is_validation(digests)].tolist())


def test_validation_units_are_in_no_training_window_of_any_corpus_of_a_mixture(
    make_corpus: MakeCorpus,
) -> None:
    # mRNA and rRNA share a sequence with DNA that the DNA corpus alone would train on.
    shared = min(
        SEQUENCES.values(),
        key=lambda s: (sequence_digest(s.encode()) < 2**62, sequence_digest(s.encode())),
    )
    dna = make_corpus(SEQUENCES, name="dna", fraction=0.1)
    few = {"x": shared, "y": "A" * 300, "z": "T" * 300}
    rna = make_corpus(few, name="rna", molecule=Molecule.MRNA, fraction=0.5)
    rule = shared_validation([dna, rna])
    for corpus in (dna, rna):
        for split in SPLITS:
            index = open_windows(
                corpus,
                context=16,
                split=split,
                extra_validation=rule.extra_digests,
                min_threshold=rule.threshold,
            )
            units = np.unique(index.locate(np.arange(len(index))).units)
            digests = set(corpus.digests(units).tolist())
            union = held_out(dna) | held_out(rna)
            if split == "train":
                assert not digests & union
            else:
                assert union & set(corpus.digests(np.arange(corpus.n_units)).tolist()) <= digests


def test_extra_digests_move_a_unit_to_validation(make_corpus: MakeCorpus) -> None:
    corpus = make_corpus(SEQUENCES, fraction=0.1)
    digests = corpus.digests(np.arange(corpus.n_units))
    unit = int(np.argmax(digests))
    extra = frozenset([int(digests[unit])])
    before = everything(open_windows(corpus, context=9, split="train"))
    train = everything(open_windows(corpus, context=9, split="train", extra_validation=extra))
    held = everything(open_windows(corpus, context=9, split="validation", extra_validation=extra))
    assert before.keys() - train.keys() == {unit}
    assert held[unit] == before[unit]


def test_a_sidecar_is_made_once_and_again_for_another_corpus(make_corpus: MakeCorpus) -> None:
    corpus = make_corpus(SEQUENCES)
    first = open_windows(corpus, context=9, split="train")
    stamp = first.path.stat().st_mtime_ns
    assert first.path.parent == corpus.folder / "windows"
    assert first.path.name.startswith("9-train-")
    assert open_windows(corpus, context=9, split="train").path.stat().st_mtime_ns == stamp
    other = make_corpus(SEQUENCES | {"r0": "TTT"}, name="other")
    assert open_windows(other, context=9, split="train").path.name != first.path.name
    assert [path.name for path in first.path.parent.iterdir()] == [first.path.name]


def test_no_validation_windows(make_corpus: MakeCorpus) -> None:
    corpus = make_corpus(SEQUENCES, fraction=0.0)
    index = open_windows(corpus, context=9, split="validation")
    assert len(index) == 0
    assert len(index.locate(np.empty(0, np.int64)).units) == 0


def test_an_index_survives_pickling(make_corpus: MakeCorpus) -> None:
    index = open_windows(make_corpus(SEQUENCES), context=9, split="train")
    again = pickle.loads(pickle.dumps(index))
    assert everything(again) == everything(index)
    assert len(pickle.dumps(index)) < 1000


@pytest.mark.parametrize("window", [-1, 10**9])
def test_numbers_of_no_window_are_refused(make_corpus: MakeCorpus, window: int) -> None:
    index = open_windows(make_corpus(SEQUENCES), context=9, split="train")
    with pytest.raises(IndexError):
        index.locate(np.array([0, window]))


def anonymous_kb() -> int:
    """Memory of this process that no file stands behind, in kB."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0])


def test_a_billion_windows_cost_no_memory(make_corpus: MakeCorpus, tmp_path: Path) -> None:
    corpus = make_corpus({f"r{i}": "ACGTACGTAC" for i in range(1000)}, fraction=0.0)
    path = tmp_path / "sparse.u64"
    n = 10**9
    with path.open("wb") as out:
        for window, unit, ordinal in ((0, 7, 1), (n // 2, 998, 2), (n - 1, 999, 0)):
            out.seek(8 * window)
            out.write((unit << 24 | ordinal).to_bytes(8, "little"))
    before = anonymous_kb()
    index = WindowIndex(corpus, path, context=5)
    assert len(index) == n
    places = index.locate(np.array([n - 1, 0, n // 2]))
    assert places.units.tolist() == [999, 7, 998]
    assert places.starts.tolist() == [0, 3, 6]
    assert places.stops.tolist() == [3, 6, 9]
    far = np.random.default_rng(0).integers(0, n, 10_000)
    assert len(index.locate(far).units) == 10_000
    assert anonymous_kb() - before < 50_000  # the sidecar has 8 million kB


def test_wrong_contexts_are_refused(make_corpus: MakeCorpus) -> None:
    with pytest.raises(ConfigError, match="give at least 3"):
        open_windows(make_corpus(SEQUENCES), context=2, split="train")


def test_files_that_are_no_sidecar_of_the_corpus_are_refused(
    make_corpus: MakeCorpus, tmp_path: Path
) -> None:
    corpus = make_corpus(SEQUENCES)
    path = tmp_path / "x.u64"
    path.write_bytes(bytes(7))
    with pytest.raises(DataError, match="no whole number of windows"):
        WindowIndex(corpus, path, context=9)
    path.write_bytes((10**6 << 24).to_bytes(8, "little"))
    with pytest.raises(DataError, match="another corpus"):
        WindowIndex(corpus, path, context=9)


def test_a_folder_that_cannot_be_written_is_one_line(make_corpus: MakeCorpus) -> None:
    corpus = make_corpus(SEQUENCES)
    (corpus.folder / "windows").write_text("in the way")
    with pytest.raises(DataError, match="window index cannot be written"):
        open_windows(corpus, context=9, split="train")
