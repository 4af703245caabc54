from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from biote.datamodules.jaspar import JasparDataModule
from biote.datamodules.jaspar.database import read_database
from biote.datamodules.jaspar.factors import select_factors
from biote.datamodules.jaspar.homology import similarity, training_proteins
from biote.datamodules.jaspar.variants import make_variants
from biote.errors import ConfigError, DataError
from biote.molecules import Molecule, reverse_complement
from biote.splits.homology import all_scores

SEQUENCES = {
    "P1": "MKRHWCPVCGKAHRKTHFGE",
    "P2": "MLLEEDDSTNQWYVVGAAPL",
    "P3": "MQQQNNSTGHHKRRRWFYCD",
    "P4": "MVVVLLAAGGIIPPEEDDKK",
}
COUNTS = {"SITE": "AACGT", "OTHER": "GGGTC", "SHORT": "A"}


def block(matrix: str, name: str, site: str) -> str:
    lines = [f">{matrix}\t{name}"]
    for base in "ACGT":
        counts = " ".join("17" if letter == base else "1" for letter in site)
        lines.append(f"{base} [ {counts} ]")
    return "\n".join(lines) + "\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two taxa: versions, a dimer, a protein without sequence, one sequence twice."""
    root = tmp_path / "data" / "jaspar"
    root.mkdir(parents=True)
    one = [
        ("MA1.1", "ONE", "CCCCC"), ("MA1.2", "ONE", "AACGT"), ("MA1.10", "ONE", "AACCC"),
        ("MA2.1", "TWO", "GGGTC"), ("MA9.1", "ONE::TWO", "AACGTGGGTC"),
    ]  # fmt: skip
    two = [("MA3.1", "THREE", "TTGCA")]
    links: dict[str, dict[str, list[Any]]] = {
        "one": {
            "P1": [["MA1.1", "MA1.2", "MA1.10", "MA9.1"], SEQUENCES["P1"]],
            "P2": [["MA2.1", "MA9.1"], SEQUENCES["P2"]],
            "P5": [["MA2.1"], ""],
            "P6": [["MA2.1"], SEQUENCES["P2"]],
        },
        "two": {"P3": [["MA3.1"], SEQUENCES["P3"]], "P4": [["MA3.1"], SEQUENCES["P4"]]},
    }
    domains = {
        "one": {"P1": [["zf", "", 1, 2, 0.0]], "P2": [["hd", "", 1, 2, 0.0]], "P5": []},
        "two": {"P3": [["zf", "", 1, 2, 0.0], ["hd", "", 3, 4, 0.0]], "P4": []},
    }
    for taxon, profiles in (("one", one), ("two", two)):
        (root / f"{taxon}.jaspar").write_text("".join(block(*p) for p in profiles))
        names = {matrix: name for matrix, name, _ in profiles}
        (root / f"{taxon}.profiles.json").write_text(json.dumps(names))
        (root / f"{taxon}.uniprot.json").write_text(json.dumps(links[taxon]))
        (root / f"{taxon}.pfam.json").write_text(json.dumps(domains[taxon]))
    return tmp_path / "data"


def module(root: Path, **options: Any) -> JasparDataModule:
    defaults: dict[str, Any] = {
        "trained_on": None, "scores_file": root / "scores.parquet", "batch_size": 4,
    }  # fmt: skip
    return JasparDataModule(root, "character", **{**defaults, **options})


def test_the_latest_version_of_each_profile_is_taken_and_the_rest_counted(folder: Path) -> None:
    selected = select_factors(read_database(folder / "jaspar"))
    assert [(f.protein, f.profile.id) for f in selected.kept] == [
        ("P1", "MA1.10"), ("P2", "MA2.1"), ("P3", "MA3.1"), ("P4", "MA3.1"),
    ]  # fmt: skip
    assert selected.dropped == {
        "older versions of a protein's profile": 2,
        "proteins without a sequence": 1,
        "further accessions of a sequence and profile": 1,
        "profiles of dimers": 1,
    }
    assert [f.family for f in selected.kept] == ["zf", "hd", "hd+zf", "no domain (P4)"]


def test_partners_of_a_dimer_are_concatenated_by_choice(folder: Path) -> None:
    selected = select_factors(read_database(folder / "jaspar"), dimers="concatenate")
    dimer = selected.kept[-1]
    assert (dimer.protein, dimer.profile.id, dimer.family) == ("P1+P2", "MA9.1", "hd+zf")
    assert dimer.sequences == (SEQUENCES["P1"], SEQUENCES["P2"])
    data = module(folder, dimers="concatenate", controls=())
    row = next(row for row in data.rows("test") if row.id.startswith("P1+P2"))
    molecules = [molecule for _, molecule in row.parts]
    assert molecules == [Molecule.PROTEIN, Molecule.PROTEIN, Molecule.DNA, Molecule.DNA]


def test_rows_are_consensus_mutants_and_controls(folder: Path) -> None:
    data = module(folder, probabilities=(0.05, 0.5))
    frame = data.variants.frame()
    rows = {row.id: row for row in data.rows("test")}
    assert list(rows) == frame.get_column("row_id").to_list()
    assert all(np.isnan(row.target).all() for row in rows.values())
    consensus = {"P1": "AACCC", "P2": "GGGTC", "P3": "TTGCA", "P4": "TTGCA"}
    protein_of = dict(SEQUENCES)
    for line in frame.iter_rows(named=True):
        chain, first, second = (sequence for sequence, _ in rows[line["row_id"]].parts)
        assert chain == protein_of[line["bound_protein"]]
        assert (first, second) == (line["site"], reverse_complement(line["site"]))
        reference = rows[line["reference_id"]].parts[1][0]
        changed = [i for i, (a, b) in enumerate(zip(reference, first, strict=True)) if a != b]
        assert changed == line["changed"]
        assert bool(changed) == (line["probability"] is not None)
        if line["control"] == "shuffled":
            assert sorted(reference) == sorted(consensus[line["protein"]])
            assert reference != consensus[line["protein"]]
        else:
            assert reference == consensus[line["protein"]]
            assert line["log_odds_change_bits"] <= 0
        assert (line["bound_protein"] != line["protein"]) == (line["control"] == "other_family")
    counts = frame.group_by("protein", "control").len().sort("protein", "control").rows()
    # P3 shares a domain with both others and P4 has none: neither has one of another family.
    assert counts == [
        ("P1", "matched", 17), ("P1", "other_family", 17), ("P1", "shuffled", 17),
        ("P2", "matched", 17), ("P2", "other_family", 17), ("P2", "shuffled", 17),
        ("P3", "matched", 17), ("P3", "shuffled", 17),
        ("P4", "matched", 17), ("P4", "shuffled", 17),
    ]  # fmt: skip
    assert data.variants.missing == {"factors without one of another family": 2}
    mutants = frame.filter(pl.col("control") == "matched")
    other = frame.filter(pl.col("control") == "other_family")
    for protein in ("P1", "P2"):
        sites = [
            f.filter(pl.col("protein") == protein).get_column("site") for f in (mutants, other)
        ]
        assert sites[0].to_list() == sites[1].to_list()


def test_trimming_leaves_every_mutant_another_input_than_its_consensus(folder: Path) -> None:
    # REFERENCE 6, 3 and 4: cut from the right, all of them would be one input.
    data = module(folder, probabilities=(0.05, 0.5), context=24)
    data.setup("test")
    tokenizer = data.tokenizer
    groups: dict[str, list[int]] = {}
    for batch in data.test_dataloader():
        assert max(batch.lengths) <= 24
        ids = torch.split(batch.ids, list(batch.lengths))
        groups |= {row: of.tolist() for row, of in zip(batch.row_ids, ids, strict=True)}
    for line in data.variants.frame().iter_rows(named=True):
        found, site = groups[line["row_id"]], line["site"]
        strands = [
            [
                tokenizer.tag_id(Molecule.DNA),
                *tokenizer.encode_ids(strand, Molecule.DNA, record="").tolist(),
                tokenizer.eos_id(Molecule.DNA.modality),
            ]
            for strand in (site, reverse_complement(site))
        ]
        assert found[-len(strands[0]) * 2 :] == [*strands[0], *strands[1]]
        assert len(found) == 24  # the protein of 20 residues has lost its end
        if line["probability"] is not None:
            assert found != groups[line["reference_id"]]
    of_site = (
        data.variants.frame().drop_nulls("probability").group_by("reference_id", "probability")
    )
    for _, mutants in of_site:
        assert mutants.get_column("site").n_unique() == mutants.height


def test_mutants_do_not_depend_on_which_factors_are_there(folder: Path) -> None:
    factors = select_factors(read_database(folder / "jaspar")).kept
    options: dict[str, Any] = {"probabilities": [0.25], "mutants": 8, "controls": ["shuffled"]}
    every = make_variants(factors, seed=3, **options).rows
    turned = make_variants(factors[::-1], seed=3, **options).rows
    some = make_variants(factors[1:2], seed=3, **options).rows
    assert sorted(map(repr, every)) == sorted(map(repr, turned))
    assert {row.id: row.parts for row in some}.items() <= {r.id: r.parts for r in every}.items()
    assert make_variants(factors, seed=4, **options).rows != every


def test_relatives_of_training_proteins_are_dropped(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    relative = SEQUENCES["P3"][:-1] + "E"
    fasta = tmp_path / "train.fasta"
    fasta.write_text(f">a\n{relative}\n>b\n{'W' * 20}\n")
    with caplog.at_level(logging.INFO, logger="biote"):
        data = module(folder, trained_on=fasta)
        proteins = {row.parts[0][0] for row in data.rows("test")}
    assert SEQUENCES["P3"] not in proteins
    assert "1 proteins dropped, similar to one of" in caplog.text
    kept = sorted(proteins)
    scores = all_scores([relative, "W" * 20, *kept])[:2, 2:]
    assert (scores <= 1.5).all()


def test_scores_are_kept_and_only_new_proteins_aligned(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = tmp_path / "scores.parquet"
    references = [SEQUENCES["P1"]]
    with caplog.at_level(logging.INFO, logger="biote"):
        first = similarity([SEQUENCES["P1"], SEQUENCES["P2"]], references, cache=cache)
        again = similarity([SEQUENCES["P2"]], references, cache=cache)
        more = similarity(list(SEQUENCES.values()), references, cache=cache)
        other = similarity([SEQUENCES["P2"]], [SEQUENCES["P2"]], cache=cache)
    assert first[SEQUENCES["P1"]] > 5 > 1.5 > first[SEQUENCES["P2"]] == again[SEQUENCES["P2"]]
    assert more.items() >= first.items()
    assert other[SEQUENCES["P2"]] > 4  # scores against other references are not taken for these
    aligned = [r.getMessage() for r in caplog.records if r.getMessage().startswith("Aligning")]
    assert [message.split()[1] for message in aligned] == ["2", "2", "1"]


def test_fewer_proteins_are_some_of_the_others(folder: Path) -> None:
    every = {row.id for row in module(folder, controls=()).rows("test")}
    two = {row.id for row in module(folder, controls=(), proteins=2).rows("test")}
    one = {row.id for row in module(folder, controls=(), proteins=1).rows("test")}
    assert one < two < every


def test_there_is_nothing_to_train_on(folder: Path) -> None:
    data = module(folder)
    for stage in ("fit", "validate"):
        with pytest.raises(ConfigError, match="no rows to train"):
            data.setup(stage)
    data.setup("test")
    assert data.rows("train") == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"probabilities": (0.0,)}, r"data\.probabilities"),
        ({"probabilities": ()}, r"data\.probabilities"),
        ({"mutants": 0}, r"data\.mutants"),
        ({"proteins": 0}, r"data\.proteins"),
    ],
)
def test_settings_that_cannot_work_are_refused(
    folder: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        module(folder, **options)


def test_a_release_is_read_as_the_files_of_taxa_are(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What ``biote download jaspar jaspar-proteins`` fetches."""
    root = folder / "jaspar"
    by_taxon = read_database(root)
    texts = [path.read_text() for path in sorted(root.glob("*.jaspar"))]
    for path in (*root.glob("*.jaspar"), *root.glob("*.profiles.json")):
        path.unlink()
    release = root / "JASPAR2024_CORE_redundant_pfms_jaspar.txt"
    release.write_text("".join(texts))
    whole = read_database(root)
    assert whole.proteins == by_taxon.proteins
    assert whole.profiles.keys() == by_taxon.profiles.keys()
    chosen = [(f.protein, f.profile.id) for f in select_factors(whole).kept]
    assert chosen == [(f.protein, f.profile.id) for f in select_factors(by_taxon).kept]
    assert not caplog.records
    # A profile that the release does not hold is passed over, and said.
    release.write_text(texts[0])
    with caplog.at_level("WARNING"):
        part = read_database(root)
    assert "1 profiles of proteins are not in it" in caplog.text
    assert part.proteins["P3"].profiles == ()
    (root / "JASPAR2026_CORE_redundant_pfms_jaspar.txt").write_text(texts[0])
    with pytest.raises(DataError, match="profiles of several releases"):
        read_database(root)


def test_faulty_folders_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no <taxon>\.jaspar file"):
        read_database(tmp_path)
    root = folder / "jaspar"
    names = root / "one.profiles.json"
    good = names.read_text()
    names.write_text(good.replace("TWO", "TOO", 1))
    with pytest.raises(DataError, match=r"'(ONE::)?TOO' here and '(ONE::)?TWO'"):
        read_database(root)
    names.write_text(good)
    uniprot = root / "one.uniprot.json"
    content = uniprot.read_text()
    uniprot.write_text(content.replace("MA9.1", "MA8.1", 1))
    with pytest.raises(DataError, match=r"P1 is linked to MA8\.1, which is no profile"):
        read_database(root)
    uniprot.write_text(content.replace('"P1": [', '"P1": [3, '))
    with pytest.raises(DataError, match="entry P1 is not"):
        read_database(root)
    uniprot.unlink()
    with pytest.raises(DataError, match=r"no file one\.uniprot\.json"):
        read_database(root)


def test_training_proteins_are_those_of_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "pronab" / "pronab_no_mutations.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"A": {"Sequence": "MKV"}, "B": {"Sequence": ""}}))
    assert training_proteins(tmp_path) == training_proteins(path) == ["MKV"]
    path.write_text("[]")
    with pytest.raises(DataError, match="not a ProNAB file"):
        training_proteins(path)
    with pytest.raises(DataError, match=r"data\.trained_on: no file"):
        training_proteins(tmp_path / "nowhere.fasta")


def test_the_real_files(real_data: Path, tmp_path: Path) -> None:
    data = module(real_data, scores_file=tmp_path / "scores.parquet", proteins=50)
    selected = select_factors(read_database(real_data / "jaspar"))
    assert selected.dropped["proteins without a sequence"] == 8
    assert selected.dropped["profiles of dimers"] == 85
    proteins = {factor.protein for factor in selected.kept}
    assert len(proteins) == 2_151
    frame = data.variants.frame()
    assert frame.get_column("protein").n_unique() == 50
    mutants = frame.filter(pl.col("probability").is_not_null())
    per_site = mutants.group_by("protein", "profile", "control").len().get_column("len")
    assert set(per_site) == {8}
    matched = mutants.filter(pl.col("control") == "matched")
    assert matched.get_column("log_odds_change_bits").max() <= 0  # type: ignore[operator]
