from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from biote.cli import main
from biote.commands.dispatch import COMMANDS, TRAINER_COMMANDS
from biote.synthetic.dataset import write_all
from biote.version import __version__

TINY_ENCODER = '{"width": 16, "layers": 2, "heads": 2, "context": 512}'


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_all(folder, seed=0, size="tiny")
    return folder


@pytest.fixture(scope="module")
def corpora(data: Path) -> str:
    """Corpora of nucleic acids and proteins, as the value of --data.corpora."""
    sources = []
    for name, folder in (("nucleic", "genbank"), ("protein", "fasta")):
        output = data / "corpora" / name
        options = ["--validation-fraction", "0.1", "--output", str(output)]
        assert main(["prepare", str(data / folder), *options]) == 0
        sources.append({"folder": str(output), "weight": 0.5})
    return json.dumps(sources)


def pretraining(corpora: str, run: Path) -> list[str]:
    return [
        "--config", "demo/pretrain.yaml",
        "--model.encoder", TINY_ENCODER,
        "--data.corpora", corpora,
        "--data.tokens", "20000",
        "--data.tokens_per_step", "2048",
        "--data.validation_tokens", "2000",
        "--trainer.val_check_interval", "5",
        "--trainer.log_every_n_steps", "1",
        "--trainer.default_root_dir", str(run),
        "--trainer.enable_progress_bar", "false",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def pretrained(corpora: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pre-training run."""
    run = tmp_path_factory.mktemp("pretrain")
    assert main(["fit", *pretraining(corpora, run)]) == 0
    return run


def fine_tuning(data: Path, pretrained: Path, run: Path) -> list[str]:
    return [
        "--config", "demo/delta_g.yaml",
        "--model.encoder_checkpoint", str(pretrained / "encoder"),
        "--data.root", str(data),
        "--data.folds", "3",
        "--data.fold_file", str(run / "folds.parquet"),
        "--trainer.max_epochs", "2",
        "--trainer.default_root_dir", str(run),
        "--trainer.enable_progress_bar", "false",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def tuned(data: Path, pretrained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fine-tuning run."""
    run = tmp_path_factory.mktemp("delta_g")
    assert main(["fit", *fine_tuning(data, pretrained, run)]) == 0
    return run


def test_help_names_every_command_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from biote.cli import main; main(['--help']); "
        "heavy = {'torch', 'lightning', 'polars', 'pyarrow', 'jsonargparse', 'numpy'}; "
        "sys.exit(f'imported {heavy & set(sys.modules)}' if heavy & set(sys.modules) else 0)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    for command in [*TRAINER_COMMANDS, *COMMANDS]:
        assert f"  {command} " in result.stdout


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"biote {__version__}\n"


@pytest.mark.parametrize("command", [*TRAINER_COMMANDS, *COMMANDS])
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert "usage: biote" in capsys.readouterr().out


def test_pretraining_leaves_a_run_and_an_encoder(pretrained: Path) -> None:
    for name in ("config.yaml", "checkpoints/best.ckpt", "checkpoints/last.ckpt"):
        assert (pretrained / name).is_file(), name
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        assert (pretrained / "encoder" / name).is_file(), name


def test_validate_prints_figures_beside_the_unigram_guess(
    pretrained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = str(pretrained / "config.yaml")
    assert main(["validate", "--config", config, "--trainer.enable_progress_bar", "false"]) == 0
    printed = capsys.readouterr().out
    assert "nucleic" in printed
    assert "protein" in printed
    assert "±" in printed
    assert "unigram" in printed


def test_a_saved_config_repeats_the_first_losses_exactly(pretrained: Path, tmp_path: Path) -> None:
    from biote.report.scalars import read_scalars

    run = tmp_path / "again"
    options = ["--config", str(pretrained / "config.yaml"), "--trainer.default_root_dir", str(run)]
    options += ["--checkpoint.dirpath", str(run / "checkpoints")]
    assert main(["fit", *options]) == 0
    first, again = (read_scalars(folder, "train_loss") for folder in (pretrained, run))
    assert len(first) > 5
    assert first == again


def test_fine_tuning_is_tested_beside_its_baselines(
    tuned: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = str(tuned / "config.yaml")
    assert main(["test", "--config", config]) == 0
    printed = capsys.readouterr().out
    models = {"pre-trained encoder", "random encoder", "train mean", "ridge 1-3-mers"}
    for model in models:
        assert model in printed
    results = pl.read_parquet(tuned / "results.parquet")
    assert set(results["model"]) == models
    assert set(results["metric"]) == {"pcc", "mae", "spearman"}
    assert results.filter(pl.col("metric") == "mae")["unit"].unique().to_list() == ["kcal/mol"]
    assert results["fold"].unique().to_list() == [0]
    assert results["config_hash"].str.len_chars().min() == 64
    predictions = pl.read_parquet(tuned / "predictions.parquet")
    per_model = predictions.group_by("model").agg(pl.col("row_id").sort())
    rows = {tuple(ids) for ids in per_model["row_id"].to_list()}
    assert len(rows) == 1  # every model was scored on the same rows
    tested = predictions.filter(pl.col("model") == "pre-trained encoder")
    mae = (tested["target"] - tested["prediction"]).abs().mean()
    row = results.filter((pl.col("model") == "pre-trained encoder") & (pl.col("metric") == "mae"))
    assert row["value"][0] == pytest.approx(mae, rel=1e-5)
    assert row["n"][0] == len(tested)
    # A second test replaces its rows, and does not train the control again.
    trained = (tuned / "random_encoder" / "checkpoints" / "best.ckpt").stat().st_mtime_ns
    assert main(["test", "--config", config]) == 0
    assert (
        pl.read_parquet(tuned / "results.parquet")
        .sort("model", "metric")
        .equals(results.sort("model", "metric"))
    )
    assert (tuned / "random_encoder" / "checkpoints" / "best.ckpt").stat().st_mtime_ns == trained


@pytest.mark.parametrize("head", ["delta_g", "sequence", "mlp"])
def test_a_suitable_head_is_swapped_in_by_one_line(
    head: str, data: Path, pretrained: Path, tmp_path: Path
) -> None:
    options = [*fine_tuning(data, pretrained, tmp_path), "--model.head", f"head/{head}.yaml"]
    assert main(["fit", *options, "--trainer.fast_dev_run", "true"]) == 0


def test_an_unsuitable_head_is_refused_in_one_line_that_names_what_fits(
    data: Path, pretrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [*fine_tuning(data, pretrained, tmp_path), "--model.head", "head/residue.yaml"]
    assert main(["fit", *options]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error == (
        "biote: error: model.head: ResidueHead predicts per token, RegressionTask needs one "
        "prediction per group; heads that fit: DeltaGHead, MLPHead, SequenceHead"
    )
    assert not (tmp_path / "checkpoints").exists()


def test_predict_writes_what_test_would_score(tuned: Path, tmp_path: Path) -> None:
    config = str(tuned / "config.yaml")
    assert main(["test", "--config", config, "--baselines", "false"]) == 0
    tested = pl.read_parquet(tuned / "predictions.parquet")
    options = ["--trainer.default_root_dir", str(tmp_path)]
    checkpoint = str(tuned / "checkpoints" / "best.ckpt")
    assert main(["predict", "--config", config, *options, "--ckpt_path", checkpoint]) == 0
    predicted = pl.read_parquet(tmp_path / "predictions.parquet").sort("row_id")
    expected = tested.filter(pl.col("model") == "pre-trained encoder").sort("row_id")
    assert predicted.equals(expected)


def test_pretraining_is_tested_per_modality(pretrained: Path) -> None:
    assert main(["test", "--config", str(pretrained / "config.yaml")]) == 0
    results = pl.read_parquet(pretrained / "results.parquet")
    assert results["split"].unique().to_list() == ["validation"]
    metrics = set(results["metric"])
    for modality in ("nucleic", "protein"):
        assert {f"cross_entropy_{modality}", f"unigram_cross_entropy_{modality}"} <= metrics


def test_an_untrained_model_is_never_tested(
    data: Path, pretrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["test", *fine_tuning(data, pretrained, tmp_path)]) == 2
    assert "no checkpoint" in capsys.readouterr().err


def test_a_model_is_not_tested_on_rows_it_was_trained_on(
    tuned: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = str(tuned / "config.yaml")
    assert main(["test", "--config", config, "--data.fold", "1"]) == 2
    assert "trained on another split" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["ft"], "no command 'ft'; did you mean fit?"),
        (["fit", "--config", "nosuch.yaml"], "config: no file"),
        (["fit"], "missing: model; give it on the command line or in a YAML"),
        (
            ["fit", "--config", "demo/delta_g.yaml", "--trainer.nosuch", "1"],
            "no such key trainer.nosuch",
        ),
        (
            ["fit", "--config", "demo/delta_g.yaml", "--model.nosuch", "1"],
            "model: no such key nosuch",
        ),
        (
            ["fit", "--config", "demo/delta_g.yaml", "--data.batch_size", "many"],
            "data.batch_size: 'many' is not accepted; give int",
        ),
        (
            ["fit", "--config", "demo/delta_g.yaml", "--data.duplicates", "x"],
            "data.duplicates: 'x' is not accepted; give one of keep, drop, mean, median",
        ),
        (
            ["fit", "--config", "demo/delta_g.yaml", "--model.head", "NoHead"],
            "give one of DeltaGHead",
        ),
        (["fit", "--config", "demo/delta_g.yaml", "--data", "NoData"], "PronabDataModule"),
        (
            ["fit", "--config", "demo/pretrain.yaml", "--model.encoder.heads", "7"],
            "model.encoder.heads: 7 cannot be used",
        ),
        (["prepare", "--output", "x"], "missing: sources"),
        (["prepare", "/nowhere", "--output", "x"], "/nowhere: no such file or folder"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    arguments: list[str],
    expected: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    corpora: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    if "demo/pretrain.yaml" in arguments:
        arguments = [*arguments, "--data.corpora", corpora]
    assert main(arguments) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if "biote: error" in line]
    assert len(errors) == 1
    assert expected in errors[0]


def test_the_installed_command_exits_with_2_and_debug_shows_the_cause(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "biote", "fit", "--config", "nosuch.yaml"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    result = subprocess.run(
        [*command, "--debug"], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert result.returncode != 0
    assert "Traceback" in result.stderr


def test_bad_yaml_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.yaml").write_text("model: [1\n")
    assert main(["fit", "--config", str(tmp_path / "bad.yaml")]) == 2
    assert "the YAML cannot be read" in capsys.readouterr().err
