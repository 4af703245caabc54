from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
import torch
import yaml

from biote.cli import main
from biote.commands.dispatch import COMMANDS, GROUPS, TRAINER_COMMANDS
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


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert isinstance(state, dict)
    return state


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


@pytest.mark.parametrize(
    ("group", "command"), [(group, command) for group in GROUPS for command in GROUPS[group]]
)
def test_every_command_of_a_group_has_help(
    group: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([group, command, "--help"])
    assert ended.value.code == 0
    assert f"usage: biote {group} {command}" in capsys.readouterr().out


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_needs_one_of_its_commands(group: str, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([group], [group, "no-such-command"]):
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert next(iter(GROUPS[group])) in error


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
    assert "better by" in printed
    logs = list((pretrained / "lightning_logs").iterdir())
    assert len(logs) == 1, "an evaluation leaves no point in the curves of the run"


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
    assert error.startswith(
        "biote: error: model.head: ResidueHead predicts per token, RegressionTask needs one "
        "prediction per group; heads that fit: "
    )
    assert "MLPHead" in error
    assert "ResidueHead" not in error.partition("fit: ")[2]
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
            "give one of AttentionProbeHead, DeltaGHead, MLPHead",
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


def test_a_run_folder_with_a_run_in_it_is_not_mixed_with_another(
    data: Path, pretrained: Path, tuned: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", *fine_tuning(data, pretrained, tuned)]) == 2
    assert "holds an earlier run; name another folder" in capsys.readouterr().err


def test_a_continued_run_is_tested_by_its_best_weights(
    data: Path, pretrained: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # REFERENCE 6, 5: after a resume, best must not have become last.
    assert main(["fit", *fine_tuning(data, pretrained, tmp_path)]) == 0
    config = tmp_path / "config.yaml"
    resume = ["--ckpt_path", "last", "--trainer.max_epochs", "3"]
    assert main(["fit", "--config", str(config), *resume]) == 0
    assert yaml.safe_load(config.read_text())["ckpt_path"] is None
    caplog.clear()
    with caplog.at_level("INFO", logger="biote"):
        assert main(["test", "--config", str(config), "--baselines", "false"]) == 0
    assert f"Weights: {tmp_path / 'checkpoints' / 'best.ckpt'}" in caplog.text


def test_the_control_is_trained_as_the_tested_model_was(
    data: Path, pretrained: Path, tmp_path: Path
) -> None:
    # REFERENCE 6, 16: what is given at the test must not change how its control is trained.
    options = [*fine_tuning(data, pretrained, tmp_path), "--model.optimizer.lr_head", "0.003"]
    assert main(["fit", *options]) == 0
    other = ["--trainer.max_epochs", "7", "--model.optimizer.lr_head", "0.1"]
    assert main(["test", *fine_tuning(data, pretrained, tmp_path), *other]) == 0
    control = yaml.safe_load((tmp_path / "random_encoder" / "config.yaml").read_text())
    assert control["trainer"]["max_epochs"] == 2
    assert control["model"]["init_args"]["optimizer"]["lr_head"] == 0.003
    assert control["model"]["init_args"]["encoder_weights"] == "random"
    results = pl.read_parquet(tmp_path / "results.parquet")
    assert results.filter(pl.col("model") == "random encoder")["config_hash"].n_unique() == 1


def test_a_longer_budget_continues_a_finished_pretraining(
    corpora: str, pretrained: Path, tmp_path: Path
) -> None:
    # REFERENCE 6, 10: the data go on where they stood, and end with the new budget.
    checkpoint = pretrained / "checkpoints" / "last.ckpt"
    options = [*pretraining(corpora, tmp_path), "--ckpt_path", str(checkpoint)]
    assert main(["fit", *options, "--data.tokens", "30000"]) == 0
    before, after = (
        torch.load(path, weights_only=True)["PretrainingDataModule"]["cursor"]
        for path in (checkpoint, tmp_path / "checkpoints" / "last.ckpt")
    )
    assert before[1] >= 20_000
    assert after[1] >= 30_000
    first, last = (weights(c) for c in (checkpoint, tmp_path / "checkpoints" / "last.ckpt"))
    assert not torch.equal(first["readout.weight"], last["readout.weight"])


@pytest.mark.parametrize(
    ("change", "key"), [("data.seed", "9"), ("data.context", "64")], ids=["seed", "context"]
)
def test_a_resume_in_another_order_is_refused(
    change: str, key: str, pretrained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = str(pretrained / "config.yaml")
    assert main(["fit", "--config", config, "--ckpt_path", "last", f"--{change}", key]) == 2
    assert f"{change}: the checkpoint was trained with" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--checkpoint.monitor", "val_mea"], "checkpoint.monitor: RegressionTask computes no"),
        (["--data.validation", "none"], "checkpoint.monitor: there is no validation row"),
        (["--trainer.max_epochs", "-1"], "trainer.max_epochs: the run has no end"),
        (["--trainer.precision", "bf16-true"], "trainer.precision: bf16-true would round"),
        (["--trainer.accelerator", "gpu"], "No supported gpu backend"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_it_is(
    options: list[str],
    expected: str,
    data: Path,
    pretrained: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if "gpu" in options and torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    assert main(["fit", *fine_tuning(data, pretrained, tmp_path), *options]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if "biote: error" in line]
    assert len(errors) == 1
    assert expected in errors[0]


def test_a_damaged_checkpoint_and_a_bad_run_folder_are_one_line(
    tuned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = (tuned / "checkpoints" / "best.ckpt").read_bytes()
    config = str(tuned / "config.yaml")
    for content in (b"no checkpoint", whole[: len(whole) // 2]):
        (tmp_path / "bad.ckpt").write_bytes(content)
        options = ["--ckpt_path", str(tmp_path / "bad.ckpt")]
        assert main(["test", "--config", config, *options]) == 2
        assert "is no checkpoint, or was cut off" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    options = ["--trainer.default_root_dir", str(tmp_path / "file" / "run")]
    assert main(["fit", "--config", config, *options]) == 2
    assert "cannot be made" in capsys.readouterr().err
