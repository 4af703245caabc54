"""Attention probes of two encoders, from fine-tuning to the comparison."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from sklearn import metrics as sk

from biote.cli import main
from biote.commands.fold_runs import DONE_FILE, REQUEST_FILE
from biote.modules.config import EncoderConfig
from biote.modules.encoder import Encoder
from biote.modules.weights import load_encoder_config, save_encoder, weights_fingerprint
from biote.tokenization import CharacterTokenizer

RESIDUES = list("ARNDCQEGHILKMFPSTWYV")
PROTEINS = 8
QUIET = ["--trainer.enable_model_summary", "false", "--trainer.logger", "false"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Complexes, two of whose proteins are measured in a file like ProNAB, one in part."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    proteins = ["".join(rng.choice(RESIDUES, 36)) for _ in range(PROTEINS)]
    proteins[5] = proteins[4][:-1] + "A"  # a cluster of two
    pl.DataFrame(
        {
            "id": [f"x{i}" for i in range(PROTEINS)],
            "protein": proteins,
            "nucleic": [[{"sequence": "ACGT", "molecule": "DNA"}]] * PROTEINS,
            "distance": [rng.uniform(2, 14, 36).tolist() for _ in proteins],
        }
    ).write_parquet(folder / "contacts.parquet")
    other = "".join(rng.choice(RESIDUES, 150))
    seen = [proteins[0], other + proteins[1], *("".join(rng.choice(RESIDUES, 40)) for _ in "ab")]
    content = {
        f"P{i}": {
            "Sequence": sequence,
            "binding data": [["ACGT" * j, "DNA", 1e-6, -6.0 - i - j, ""] for j in range(1, 4)],
        }
        for i, sequence in enumerate(seen)
    }
    (folder / "pronab.json").write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="module")
def base_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoder")
    tokenizer = CharacterTokenizer()
    encoder = Encoder(
        EncoderConfig(width=16, layers=2, heads=2, context=256), tokenizer.vocab_size, seed=5
    )
    save_encoder(
        folder, encoder=encoder, readout=None,
        tokenizer_fingerprint=tokenizer.fingerprint, extra={},
    )  # fmt: skip
    tokenizer.save(folder)
    return folder


@pytest.fixture(scope="module")
def tuned_encoder(data: Path, base_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What fine-tuning on all of ProNAB leaves."""
    run = tmp_path_factory.mktemp("tuned")
    options = [
        "fit", "--config", "benchmark/pronab_all.yaml", "--data.root", str(data / "pronab.json"),
        "--model.encoder_checkpoint", str(base_encoder), "--trainer.max_epochs", "2",
        "--data.batch_size", "4", "--data.context", "256",
        "--trainer.default_root_dir", str(run), *QUIET,
    ]  # fmt: skip
    assert main(options) == 0
    assert weights_fingerprint(run / "encoder") != weights_fingerprint(base_encoder)
    stored, before = load_encoder_config(run / "encoder"), load_encoder_config(base_encoder)
    assert stored.encoder == before.encoder
    assert stored.tokenizer_fingerprint == before.tokenizer_fingerprint
    return run / "encoder"


def crossval(data: Path, encoder: Path, output: Path, *given: str) -> list[str]:
    return [
        "crossval", "--config", "benchmark/attention_probe_quick.yaml",
        "--data.root", str(data / "contacts.parquet"), "--model.encoder_checkpoint", str(encoder),
        "--data.folds", "2", "--data.fold_file", str(data / "folds.parquet"),
        "--trainer.max_steps", "2", "--checkpoint.every_n_train_steps", "2",
        "--output", str(output), *QUIET, *given,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def runs(
    data: Path, base_encoder: Path, tuned_encoder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    assert main(crossval(data, base_encoder, folder / "base")) == 0
    assert main(crossval(data, tuned_encoder, folder / "tuned", "--baselines", "false")) == 0
    return folder


def compare(runs: Path, *given: str) -> list[str]:
    return ["probe", "compare", str(runs / "base"), str(runs / "tuned"), *given]


def test_crossval_joins_residues(runs: Path) -> None:
    joined = pl.read_parquet(runs / "base" / "predictions.parquet")
    own = joined.filter(pl.col("model") == "pre-trained encoder")
    assert own.height == PROTEINS * 36 * 3
    assert own.select("row_id", "position", "output").n_unique() == own.height
    table = pl.read_parquet(runs / "base" / "crossval.parquet")
    assert {"pre-trained encoder", "random encoder", "train mean"} <= set(table["model"])
    for fold in (0, 1):
        facts = pl.read_parquet(runs / "base" / f"fold-{fold}" / "rows.parquet")
        tested = set(facts.filter(pl.col("split") == "test")["row_id"])
        assert set(own.filter(pl.col("fold") == fold)["row_id"]) == tested


def test_the_comparison_is_of_the_written_residues(
    runs: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--exclude-similar-to", str(data / "pronab.json"), "--output", str(tmp_path)]
    assert main(compare(runs, *given)) == 0
    assert "tuned - base" in capsys.readouterr().out
    table = pl.read_parquet(tmp_path / "comparison.parquet")
    # x0 is in ProNAB; x1 is the end of a longer protein, which a global alignment does not see.
    sizes = dict(table.select("rows", "complexes").unique().iter_rows())
    assert sizes == {"all complexes": 8, "no similar protein": 7, "no similar part": 6}
    units = dict(table.select("rows", "units").unique().iter_rows())
    assert units == {"all complexes": 7, "no similar protein": 6, "no similar part": 5}
    predictions = {
        name: pl.read_parquet(runs / name / "predictions.parquet").filter(
            pl.col("model") == "pre-trained encoder"
        )
        for name in ("base", "tuned")
    }
    left_out = {"all complexes": [], "no similar protein": ["x0"], "no similar part": ["x0", "x1"]}
    for rows, gone in left_out.items():
        for output, label in enumerate(("8A", "6A", "4A")):
            values = {}
            for name, frame in predictions.items():
                own = frame.filter((pl.col("output") == output) & ~pl.col("row_id").is_in(gone))
                truth = own["target"].to_numpy().astype(int)
                values[name] = {
                    "auroc": sk.roc_auc_score(truth, own["prediction"]),
                    "auprc": sk.average_precision_score(truth, own["prediction"]),
                    "f1": sk.f1_score(truth, own["prediction"] > 0.5, zero_division=0),
                }
            lines = table.filter((pl.col("rows") == rows) & (pl.col("label") == label))
            for metric in ("auroc", "auprc", "f1"):
                of = lines.filter(pl.col("metric") == metric)
                for name in ("base", "tuned"):
                    plain = of.filter((pl.col("model") == name) & pl.col("minus").is_null())
                    assert plain.item(0, "value") == pytest.approx(values[name][metric], abs=1e-6)
                minus = of.filter((pl.col("minus") == "base") & (pl.col("model") == "tuned")).row(
                    0, named=True
                )
                wanted = values["tuned"][metric] - values["base"][metric]
                assert minus["value"] == pytest.approx(wanted, abs=1e-6)
                assert minus["low"] <= minus["high"]
    results = pl.read_parquet(tmp_path / "results.parquet")
    own = results.filter(
        (pl.col("metric") == "auroc_8A_minus_base_pooled") & (pl.col("split") == "test")
    )
    # The base's control stands beside the tuned encoder.
    assert own["model"].sort().to_list() == ["random encoder", "tuned"]
    assert set(own["n"]) == {PROTEINS * 36}
    assert (tmp_path / "comparison.png").read_bytes().startswith(b"\x89PNG")


def error_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(arguments) == 2
    return capsys.readouterr().err.strip().splitlines()[-1]


def changed(runs: Path, folder: Path) -> Path:
    """A copy in which ``tuned`` can be tampered with."""
    for name in ("base", "tuned"):
        shutil.copytree(runs / name, folder / name)
    return folder


def test_other_folds_and_seeds_are_refused(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = changed(runs, tmp_path)
    given = compare(folder, "--output", str(tmp_path / "out"))
    shutil.move(folder / "tuned" / "fold-1", tmp_path / "away")
    assert "fold 1, seed None is there in one of them only" in error_of(given, capsys)
    shutil.move(tmp_path / "away", folder / "tuned" / "fold-1")
    for fold in (0, 1):
        path = folder / "tuned" / f"fold-{fold}" / DONE_FILE
        path.write_text(json.dumps(json.loads(path.read_text()) | {"seed": 3}))
    assert "fold 0, seed 3 is there" in error_of(given, capsys)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (("data", "fold_seed"), 7, "data.init_args.fold_seed 0 and 7"),
        (("data", "seed"), 7, "data.init_args.seed 0 and 7"),
        (("model", "init_seed"), 7, "model.init_args.init_seed 0 and 7"),
    ],
)
def test_other_settings_are_refused(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    key: tuple[str, str], value: int, message: str,
) -> None:  # fmt: skip
    folder = changed(runs, tmp_path)
    path = folder / "tuned" / "fold-0" / REQUEST_FILE
    content = yaml.safe_load(path.read_text())
    content[key[0]]["init_args"][key[1]] = value
    path.write_text(yaml.safe_dump(content))
    given = compare(folder, "--output", str(tmp_path / "out"))
    assert f"fold 0 was run with {message}" in error_of(given, capsys)


def test_other_rows_in_training_or_test_are_refused(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = changed(runs, tmp_path)
    given = compare(folder, "--output", str(tmp_path / "out"))
    path = folder / "tuned" / "fold-1" / "rows.parquet"
    facts = pl.read_parquet(path)
    facts.filter(pl.col("row_id") != "x2").write_parquet(path)
    assert "fold 1 has other rows in training or test" in error_of(given, capsys)
    facts.write_parquet(path)
    path = folder / "tuned" / "fold-1" / "predictions.parquet"
    written = pl.read_parquet(path)
    flipped = pl.when(pl.col("position") == 4).then(1 - pl.col("target"))
    written.with_columns(flipped.otherwise("target").alias("target")).write_parquet(path)
    assert "other residues were scored, or with other targets" in error_of(given, capsys)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--names", "one"], "--names: one for 2 runs"),
        (["--fold-file", "nosuch.parquet"], "--fold-file: no file nosuch.parquet"),
        (["--exclude-similar-to", "nosuch.json"], "--exclude-similar-to: no file nosuch.json"),
    ],
)
def test_mistakes_are_one_line(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    arguments: list[str], message: str,
) -> None:  # fmt: skip
    given = [*arguments, "--output", str(tmp_path / "out")]
    assert message in error_of(compare(runs, *given), capsys)


def test_a_last_step_that_is_not_saved_is_refused(
    data: Path, base_encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = crossval(data, base_encoder, tmp_path / "run", "--trainer.max_steps", "3")
    assert "which leaves out the last of 3; give a divisor" in error_of(given, capsys)
