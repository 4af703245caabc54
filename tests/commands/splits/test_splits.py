from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest

from biote.cli import main
from biote.datamodules.pronab import PronabDataModule
from biote.datamodules.rows import SPLITS
from biote.datamodules.table import SequenceColumn, TableDataModule
from biote.errors import DataError
from biote.molecules import STANDARD_RESIDUES
from biote.splits import ALWAYS_TRAIN, load_folds
from biote.splits.rules import RULES, Rule


def proteins() -> list[str]:
    """Fifteen unrelated proteins, then near copies of the first three."""
    draw = random.Random(0)
    unrelated = ["".join(draw.choices(STANDARD_RESIDUES, k=40 + i)) for i in range(15)]
    return unrelated + [f"{text[:20]}{text[22:]}" for text in unrelated[:3]]


@pytest.fixture
def pronab(tmp_path: Path) -> Path:
    path = tmp_path / "pronab.json"
    content = {
        f"P{i}": {
            "Sequence": protein,
            "binding data": [["ACGTAC", "DNA", 1e-6, -8.0 - j, ""] for j in range(1 + i % 3)],
        }
        for i, protein in enumerate(proteins())
    }
    path.write_text(json.dumps(content))
    return path


def splits(*arguments: object) -> int:
    return main(["splits", *map(str, arguments)])


def module(path: Path, fold_file: Path, **options: Any) -> PronabDataModule:
    return PronabDataModule(
        path, "character", batch_size=4, fold=1, fold_file=fold_file, folds=3, **options
    )


@pytest.mark.parametrize("rule", RULES)
def test_a_run_takes_the_folds_of_its_rule_and_no_others(
    pronab: Path, tmp_path: Path, rule: Rule, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "folds.parquet"
    assert splits("make", pronab, "--rule", rule, "--folds", 3, "--output", output) == 0
    assert load_folds(output).hash in capsys.readouterr().out
    content = output.read_bytes()
    data = module(pronab, output, rule=rule)
    sides = {split: {row.parts[0][0] for row in data.rows(split)} for split in SPLITS}
    assert all(sides.values())
    assert output.read_bytes() == content
    if rule != "protein":
        # REFERENCE 6, 2: near copies stand on one side.
        for original, copy in zip(proteins(), proteins()[15:], strict=False):
            (side,) = [split for split in SPLITS if original in sides[split]]
            assert copy in sides[side]
            assert rule == "cluster" or side == "train"
        with pytest.raises(DataError, match=r"fold file: made for threshold 1\.5, not 2\.0; del"):
            module(pronab, output, rule=rule, threshold=2.0).rows("train")
    for other in RULES:
        if other != rule:
            with pytest.raises(DataError, match=f"fold file: made for rule {rule}, not {other}"):
                module(pronab, output, rule=other).rows("train")


def test_check_shows_scores_across_folds_and_refuses_leaks(
    pronab: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "cluster.parquet"
    assert splits("make", pronab, "--folds", 3, "--output", output) == 0
    assert splits("check", output) == 0
    assert "highest score" not in capsys.readouterr().out
    assert splits("check", output, "--align") == 0
    assert "highest score" in capsys.readouterr().out
    assert splits("check", output, "--align", "--threshold", -5) == 2
    assert "18 test proteins score above -5" in capsys.readouterr().err
    assert splits("check", output, "--threshold", 1) == 2
    assert "--threshold: scores need an alignment" in capsys.readouterr().err
    # As many folds as proteins: every near copy meets its original.
    plain = tmp_path / "protein.parquet"
    assert splits("make", pronab, "--rule", "protein", "--folds", 18, "--output", plain) == 0
    assert splits("check", plain, "--align") == 0
    capsys.readouterr()
    assert splits("check", plain, "--align", "--threshold", 1.5) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"biote: error: {plain}: 6 test proteins score above 1.5")


def test_an_edited_file_is_refused(
    pronab: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "folds.parquet"
    splits("make", pronab, "--folds", 3, "--output", output)
    table = pq.read_table(output)
    frame = pl.DataFrame(table.to_pydict()).cast({"fold": pl.Int32})
    first, copy = frame["cluster"][0], frame["cluster"].to_list()
    assert copy.count(first) == 2  # one row of the original, one of its near copy
    last = frame["row_id"].to_list().index("P15:0")
    moved = frame["fold"].to_list()
    moved[last] = (moved[last] + 1) % 3
    swapped = frame["protein"].to_list()
    swapped[0] = "M" * 30
    for changed, message in (
        (frame.with_columns(fold=pl.Series(moved, dtype=pl.Int32)), "cluster .* stands in fold"),
        (frame.with_columns(protein=pl.Series(swapped)), "changed after it was written"),
    ):
        arrow = changed.to_arrow().cast(table.schema.remove_metadata())
        pq.write_table(arrow.replace_schema_metadata(table.schema.metadata), output)
        assert splits("check", output) == 2
        capsys.readouterr()
        with pytest.raises(DataError, match=message):
            module(pronab, output, rule="cluster").rows("train")


def test_plot_draws_the_rules_together(
    pronab: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = []
    for rule in RULES:
        files.append(tmp_path / f"{rule}.parquet")
        splits("make", pronab, "--rule", rule, "--folds", 3, "--seed", 1, "--output", files[-1])
    capsys.readouterr()
    picture = tmp_path / "similarity.png"
    assert splits("plot", *files, "--output", picture) == 0
    shown = capsys.readouterr().out
    assert "rule paper: 0 of 12 test proteins" in shown
    assert "rule cluster: 0 of 18 test proteins" in shown
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert len(list((tmp_path / "alignment_scores").iterdir())) == 1


def test_make_reads_fasta(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "p.faa"
    source.write_text("".join(f">p{i}\n{p}\n" for i, p in enumerate(proteins())))
    output = tmp_path / "folds.parquet"
    assert splits("make", source, "--rule", "paper", "--folds", 3, "--output", output) == 0
    folds = load_folds(output)
    assert (folds.benchmark, folds.rule, folds.threshold) == ("p", "paper", 1.5)
    held = {row for row, fold in folds.fold_of.items() if fold == ALWAYS_TRAIN}
    assert held == {"p0", "p1", "p2", "p15", "p16", "p17"}
    content = output.read_bytes()
    assert splits("make", source, "--folds", 3, "--output", output) == 2
    assert "is there already" in capsys.readouterr().err
    assert output.read_bytes() == content
    assert splits("make", source, "--folds", 3, "--output", output, "--overwrite") == 0
    assert load_folds(output).rule == "cluster"
    source.write_text(">p0\nMKV\n>bad\nM1V\n")
    assert splits("make", source, "--folds", 3, "--output", tmp_path / "n.parquet") == 2
    assert "p.faa:3 bad: character '1'" in capsys.readouterr().err
    assert not list(tmp_path.glob("n.parquet*"))


@pytest.mark.parametrize("rule", ["paper", "cluster"])
def test_a_run_on_a_table_takes_the_folds(tmp_path: Path, rule: Any) -> None:
    frame = pl.DataFrame(
        {
            "name": [f"n{i}" for i in range(18)],
            "protein": proteins(),
            "dna": ["ACGT"] * 18,
            "label": [float(i) for i in range(18)],
        }
    )
    source, output = tmp_path / "t.csv", tmp_path / "folds.parquet"
    frame.write_csv(source)
    options = ["--rule", rule, "--folds", 3, "--output", output, "--id_column", "name"]
    columns = ["--sequences", "protein:protein", "dna:DNA", "--labels", "label"]
    assert splits("make", source, *options, *columns) == 0
    content = output.read_bytes()
    data = TableDataModule(
        source,
        "character",
        sequences=[
            SequenceColumn(column="protein", molecule="protein"),
            SequenceColumn(column="dna", molecule="DNA"),
        ],
        labels=["label"],
        kind="regression",
        batch_size=4,
        id_column="name",
        folds=3,
        rule=rule,
        fold_file=output,
    )
    side = {row.id: split for split in SPLITS for row in data.rows(split)}
    assert all(side[f"n{i}"] == side[f"n{i + 15}"] for i in range(3))
    assert output.read_bytes() == content
    # Sequences alone, without a label to train on.
    alone = tmp_path / "alone.parquet"
    options[options.index(output)] = alone
    assert splits("make", source, *options, "--sequences", "protein:protein") == 0
    assert load_folds(alone).clusters == load_folds(output).clusters


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.json"], "SOURCE: no file none.json"),
        (["t.txt"], "ending of 't.txt'"),
        (["t.csv"], "--sequences: a table needs its sequence columns"),
        (["t.csv", "--sequences", "dna"], "no molecule type in 'dna'; give NAME:MOLECULE"),
        (["t.csv", "--sequences", "dna:DNA"], "rule cluster compares proteins, of which row 0 has"),
        (["t.csv", "--sequences", "rna:RNA"], "no column 'rna'; its columns are dna"),
    ],
)
def test_what_cannot_be_used_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("t.txt").write_text("x")
    Path("t.csv").write_text("dna\nACGT\nACGA\n")
    assert splits("make", *arguments, "--folds", 2, "--output", "f.parquet") == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not Path("f.parquet").exists()
