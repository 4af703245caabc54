from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biote.contrastive_batch import Negatives, Side
from biote.datamodules.clip.datamodule import ClipDataModule
from biote.datamodules.clip.negatives import draw_others
from biote.datamodules.clip.sequences import composition_features
from biote.datamodules.clip.splitting import choose_groups, pair_groups
from biote.datamodules.clip.table import read_columns, read_sequences
from biote.errors import ConfigError, DataError
from biote.splits.homology import all_scores

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def make(pairs: list[tuple[str, str]], **columns: Any) -> Path:
        n = len(pairs)
        content = {
            "pair_id": [f"p{i}" for i in range(n)],
            "record_id": ["r"] * n,
            "organism": ["o"] * n,
            "taxonomy_id": [None] * n,
            "molecule": ["DNA"] * n,
            "strand": [1] * n,
            "start": [1000 * i for i in range(n)],
            "end": [1000 * i + len(pair[0]) for i, pair in enumerate(pairs)],
            "gene_sequence": [pair[0] for pair in pairs],
            "protein_sequence": [pair[1] for pair in pairs],
        } | columns
        path = tmp_path / "pairs.parquet"
        pq.write_table(pa.table(content), path, row_group_size=7)
        return path

    return make


def random_pairs(number: int, *, seed: int = 0) -> list[tuple[str, str]]:
    rng = np.random.default_rng(seed)
    return [
        (
            "".join(rng.choice(list("ACGT"), 90 + 3 * (i % 5))),
            "".join(rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), 30 + i % 5)),
        )
        for i in range(number)
    ]


def module(path: Path, **options: Any) -> ClipDataModule:
    settings: dict[str, Any] = {
        "batch_size": 4,
        "split": "random",
        "split_file": path.parent / "split.parquet",
    }
    return ClipDataModule(path, "character", **(settings | options))


def test_repeats_are_left_out_and_twins_found(write: Write) -> None:
    path = write([("ACGT", "MK"), ("ACGT", "MK"), ("ACGT", "MV"), ("TTTT", "MV"), ("GGGG", "MW")])
    columns = read_columns(path)
    assert columns.ids == ("p0", "p2", "p3", "p4")
    assert columns.repeated == 1
    assert columns.twins.tolist() == [0, 0, 0, 1]
    assert columns.genes.tolist() == [0, 0, 1, 2]
    assert columns.proteins.tolist() == [0, 1, 1, 2]


def test_an_mrna_with_the_letters_of_a_gene_is_its_twin_with_a_state_of_its_own(
    write: Write,
) -> None:
    path = write([("ACGT", "MK"), ("ACGT", "MV")], molecule=["DNA", "mRNA"])
    columns = read_columns(path)
    assert columns.genes.tolist() == [0, 1]
    assert columns.twins.tolist() == [0, 0]


def test_distinct_sequences_are_streamed_in_order_from_any_place(write: Write) -> None:
    pairs = random_pairs(30)
    pairs[20] = pairs[3][0], pairs[20][1]
    columns = read_columns(write(pairs))
    genes = list(dict.fromkeys(gene for gene, _ in pairs))
    for start, stop in ((0, 29), (5, 23), (28, 29), (4, 4)):
        found = list(read_sequences(columns, Side.GENE, start=start, stop=stop))
        assert [number for number, _, _ in found] == list(range(start, stop))
        assert [letters for _, _, letters in found] == genes[start:stop]


def test_a_table_that_changed_is_noticed(write: Write) -> None:
    pairs = random_pairs(5)
    columns = read_columns(write(pairs))
    write(pairs[::-1])
    with pytest.raises(DataError, match="changed"):
        list(read_sequences(columns, Side.GENE, start=0, stop=5))


def test_windows_cover_every_token_once(write: Write) -> None:
    pairs = random_pairs(9)
    data = module(write(pairs), context=20)
    source = data.sequences(Side.PROTEIN)
    letters = {i: "" for i in range(9)}
    for batch in source.windows(0, 9, tokens=50):
        assert max(batch.lengths) <= 20
        assert batch.n_tokens <= 50
        ends = batch.cu_seqlens.tolist()
        for i, sequence in enumerate(batch.sequences.tolist()):
            ids = batch.ids[ends[i] : ends[i + 1]].tolist()
            assert ids[0] == 48
            closes = ids[-1] == data.tokenizer.eos_id(data_modality())
            inner = ids[1:-1] if closes else ids[1:]
            letters[sequence] += data.tokenizer.decode(inner, data_molecule())
            assert closes == (len(letters[sequence]) == len(pairs[sequence][1]))
    assert [letters[i] for i in range(9)] == [protein for _, protein in pairs]


def data_molecule() -> Any:
    from biote.molecules import Molecule

    return Molecule.PROTEIN


def data_modality() -> Any:
    return data_molecule().modality


def test_composition_counts_kmers_by_hand() -> None:
    features = composition_features("ACGNA", Side.GENE)
    assert features[:4].tolist() == [0.5, 0.0, 0.25, 0.25]  # A T C G
    assert np.isclose(features[4:20].sum(), 1)
    assert features[4:20].nonzero()[0].tolist() == [2, 11]  # AC, CG; none with N
    assert features[-1] == np.float32(np.log(5))


@given(
    groups=st.lists(st.sampled_from("abcdefgh"), min_size=4, max_size=60),
    fraction=st.floats(0.05, 0.9),
    seed=st.integers(0, 5),
)
def test_whole_groups_are_taken_and_never_too_many(
    groups: list[str], fraction: float, seed: int
) -> None:
    taken = choose_groups(groups, fraction, seed=seed)
    sides = {(group, side) for group, side in zip(groups, taken, strict=True)}
    assert len(sides) == len(set(groups))
    assert sum(taken) <= round(len(groups) * fraction)


def test_a_random_split_keeps_twins_together(write: Write) -> None:
    pairs = random_pairs(40)
    for i in range(0, 40, 4):
        pairs[i + 1] = pairs[i][0], pairs[i + 1][1]
        pairs[i + 2] = pairs[i + 2][0], pairs[i + 1][1]
    for seed in range(5):
        path = write(pairs)
        data = module(
            path, train_fraction=0.4, split_seed=seed, split_file=path.parent / f"{seed}.parquet"
        )
        side = {pair: bool(t) for pair, t in zip(data.columns.ids, data.trained, strict=True)}
        for i in range(0, 40, 4):
            assert side[f"p{i}"] == side[f"p{i + 1}"] == side[f"p{i + 2}"]
        assert 0 < sum(side.values()) <= 16


def test_clusters_join_similar_proteins_and_overlapping_genes(write: Write) -> None:
    rng = np.random.default_rng(0)
    protein = "".join(rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), 80))
    similar = protein[:40] + "W" + protein[41:]
    pairs = [*random_pairs(4), ("ACGTAC", protein), ("GGCCAA", similar)]
    starts = [0, 40, 5000, 9000, 20000, 30000]
    path = write(pairs, start=starts, end=[start + 90 for start in starts])
    columns = read_columns(path)
    groups = pair_groups(columns, "cluster", similar_above=1.5)
    assert groups == ["p0", "p0", "p2", "p3", "p4", "p4"]
    assert len(set(pair_groups(columns, "random", similar_above=1.5))) == 6
    other_strand = read_columns(
        write(pairs, start=starts, end=[s + 90 for s in starts], strand=[1, -1, 1, 1, 1, 1])
    )
    assert pair_groups(other_strand, "cluster", similar_above=1.5)[1] == "p1"


def test_similar_proteins_without_common_kmers_are_on_one_side(write: Write) -> None:
    # Two in three residues are the same, every third one is similar: no four in a row are equal.
    like = dict(zip("ADEFGHIKLMNPQRSTVWY", "SEDYANVRMIDSENTSIYF", strict=True))
    rng = np.random.default_rng(0)
    pairs, partners = random_pairs(20), []
    for i in range(0, 20, 2):
        first = "".join(rng.choice(list(like), 60))
        second = "".join(like[c] if at % 3 == 2 else c for at, c in enumerate(first))
        pairs[i], pairs[i + 1] = (pairs[i][0], first), (pairs[i + 1][0], second)
        partners.append((first, second))
    assert all(score > 1.5 for score in (all_scores(list(two))[0, 1] for two in partners))
    path = write(pairs)
    assert len(set(pair_groups(read_columns(path), "cluster", similar_above=1.5))) == 20
    for seed in range(4):
        data = module(
            path, split="cluster", train_fraction=0.4, split_seed=seed,
            split_file=path.parent / f"{seed}.parquet",
        )  # fmt: skip
        side = {pair: bool(t) for pair, t in zip(data.columns.ids, data.trained, strict=True)}
        assert 0 < sum(side.values()) <= 8
        for i in range(0, 20, 2):
            assert side[f"p{i}"] == side[f"p{i + 1}"]


def test_a_column_decides_where_it_is_asked_to(write: Write) -> None:
    path = write(random_pairs(4), family=["x", "y", "x", "z"])
    columns = read_columns(path, group_column="family")
    assert pair_groups(columns, "column", similar_above=1.5) == ["p0", "p1", "p0", "p3"]
    with pytest.raises(ConfigError, match="group_column"):
        pair_groups(read_columns(path), "column", similar_above=1.5)
    with pytest.raises(DataError, match="no column kin"):
        read_columns(path, group_column="kin")


def test_a_split_file_is_made_once_and_refused_for_other_pairs(write: Write) -> None:
    path = write(random_pairs(40))
    first = module(path, train_fraction=0.3)
    again = module(path, train_fraction=0.3)
    assert (first.trained == again.trained).all()
    for change in ({"split": "cluster"}, {"train_fraction": 0.2}):
        with pytest.raises(DataError, match="made for rule"):
            _ = module(path, **({"train_fraction": 0.3} | change)).trained
    with pytest.raises(ConfigError, match="split_seed"):
        _ = module(path, train_fraction=0.3, split_seed=1).trained
    write(random_pairs(40, seed=1))
    with pytest.raises(DataError, match="data fingerprint"):
        _ = module(path, train_fraction=0.3).trained


def test_shuffled_partners_stay_on_their_side_and_nobody_keeps_its_own(write: Write) -> None:
    data = module(write(random_pairs(40)), train_fraction=0.3, partners="shuffled")
    assert sorted(data.partners) == list(range(40))
    assert (data.partners != np.arange(40)).all()
    assert (data.trained[data.partners] == data.trained).all()
    true = module(data.columns.path, train_fraction=0.3)
    assert true.split_fingerprint != data.split_fingerprint


def test_training_pairs_are_a_function_of_the_step_and_never_tested(write: Write) -> None:
    data = module(write(random_pairs(40)), train_fraction=0.3, epoch_steps=6)
    batches = list(data.train_dataloader())
    assert len(batches) == 6
    assert [b.row_ids for b in data.train_dataloader()] == [b.row_ids for b in batches]
    tested = {row for batch in data.test_dataloader() for row in batch.row_ids}
    assert len(tested) == 28
    for batch in batches:
        assert len(set(batch.row_ids)) == 4
        assert not tested & set(batch.row_ids)
        for i, row in enumerate(batch.row_ids):  # gene and protein of a row are the pair's own
            place = data.columns.ids.index(row)
            assert batch.genes[i] == data.columns.genes[place]
            assert batch.proteins[i] == data.columns.proteins[place]


def test_drawn_negatives_are_what_they_are_called() -> None:
    rng = np.random.default_rng(0)
    n = 300
    twins = rng.integers(0, 200, n)
    genomes = rng.integers(0, 4, n)
    proteins = rng.integers(50, 400, n)
    genes = 3 * proteins + rng.integers(0, 2, n) * 500
    others = draw_others(
        twins=twins, genomes=genomes, gene_lengths=genes, protein_lengths=proteins, seed=0
    )
    assert (others[:, :2] >= 0).all()
    assert (others[:, 3] >= 0).mean() > 0.5
    for column, kind in enumerate(Negatives):
        rows = np.flatnonzero(others[:, column] >= 0)
        other = others[rows, column]
        assert (twins[rows] != twins[other]).all()
        if "genome" in kind:
            assert (genomes[rows] == genomes[other]).all()
        if "length" in kind:
            for lengths in (genes, proteins):
                ratio = lengths[rows] / lengths[other]
                assert (np.maximum(ratio, 1 / ratio) <= 1.1 + 1e-9).all()
