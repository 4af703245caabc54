from __future__ import annotations

import numpy as np

from biote.baselines.trivial import trivial_baselines
from biote.molecules import Molecule
from biote.synthetic.genomes import draw_species
from biote.synthetic.pronab import draw_binding_data
from biote.synthetic.proteins import draw_families
from biote.synthetic.tables import binding_table, coding_table


def test_binding_rows_are_sound_measurements() -> None:
    rng = np.random.default_rng(0)
    data = draw_binding_data(draw_families(3, rng=rng), proteins=8, rows_per_protein=6, rng=rng)
    columns = binding_table(data, rows=20)
    assert {len(values) for values in columns.values()} == {20}
    assert all(columns["dna"])
    assert max(columns["delta_g_kcal_mol"]) < -0.005
    of = {protein.accession: protein for protein in data.proteins}
    for row_id, protein, dna in zip(columns["id"], columns["protein"], columns["dna"], strict=True):
        accession, number = row_id.split(":")
        assert of[accession].sequence == protein
        assert of[accession].measurements[int(number)].first == dna


def test_coding_windows_can_be_told_from_intergenic_ones() -> None:
    rng = np.random.default_rng(0)
    species = draw_species("S", "L", division="BCT", intron_rate=0.0, rng=rng)
    columns = coding_table(species, draw_families(6, rng=rng), rows=600, rng=rng)
    labels = np.array(columns["label"])
    train = np.array([split == "train" for split in columns["split"]])
    test = np.array([split == "test" for split in columns["split"]])
    assert train.sum() == 480
    assert set(labels[test]) == {0, 1}
    parts = [((dna, Molecule.DNA),) for dna in columns["dna"]]
    scores = trivial_baselines(
        [parts[i] for i in np.flatnonzero(train)],
        labels[train][:, None].astype(np.float64),
        [parts[i] for i in np.flatnonzero(test)],
        train_groups=[columns["id"][i] for i in np.flatnonzero(train)],
        kind="classification",
        n_classes=2,
    )
    right = scores["ridge 1-3-mers"].argmax(axis=1) == labels[test]
    assert right.mean() > 0.8
    assert (scores["majority class"].argmax(axis=1) == labels[test]).mean() < 0.7
