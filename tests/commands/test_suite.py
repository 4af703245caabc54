from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef, roc_auc_score

from biote.cli import main
from biote.commands.lightning_cli import BioteCLI
from biote.modules.config import EncoderConfig
from biote.modules.encoder import Encoder
from biote.modules.weights import save_encoder
from biote.report.scalars import read_scalars
from biote.tokenization import CharacterTokenizer

TASK = "prom/prom_core_tata"
MISLEADING = "tf/1"
"""Its dev labels are swapped: the more is learnt, the worse validation becomes."""
SHORT = """
trainer:
  max_steps: 48
  val_check_interval: 12
  accelerator: cpu
  log_every_n_steps: 1
  enable_model_summary: false
model:
  init_args:
    head: {class_path: SequenceHead, init_args: {pooling: mean}}
    optimizer: {lr_head: 0.05, lr_embedding: 0.05, lr_body: 0.001}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an encoder, a task of GUE and a dev-only one."""
    folder = tmp_path_factory.mktemp("suite")
    tokenizer = CharacterTokenizer()
    for name, seed in (("encoder", 0), ("other", 1)):
        sizes = EncoderConfig(width=16, layers=1, heads=2, context=64)
        save_encoder(
            folder / name,
            encoder=Encoder(sizes, tokenizer.vocab_size, seed=seed),
            readout=None,
            tokenizer_fingerprint=tokenizer.fingerprint,
            extra={"trained_tokens": 1_000} if name == "encoder" else {},
        )
        tokenizer.save(folder / name)
    rng = np.random.default_rng(0)
    for task in (TASK, "EMP/H3", MISLEADING):
        where = folder / "data" / "gue" / "GUE" / task
        where.mkdir(parents=True)
        for split, rows in (("train", 96), ("dev", 40), ("test", 61)):
            labels = rng.integers(2, size=rows)
            misleads = task == MISLEADING and split == "dev"
            letters = [list("ACGT" + "GC" * int(label != misleads)) for label in labels]
            lines = [
                f"{''.join(rng.choice(own, 20))},{label}"
                for own, label in zip(letters, labels, strict=True)
            ]
            (where / f"{split}.csv").write_text("\n".join(["sequence,label", *lines]) + "\n")
    (folder / "data" / "gue" / "GUE" / "EMP" / "H3" / "train.csv").unlink()
    (folder / "short.yaml").write_text(SHORT)
    return folder


def suite(place: Path, *options: str, encoder: str = "encoder") -> int:
    return main(
        ["suite", "gue", "--encoder", str(place / encoder), "--data", str(place / "data"),
         "--output", str(place / "out"), "--config", str(place / "short.yaml"), *options]
    )  # fmt: skip


@pytest.fixture(scope="module")
def two_seeds(place: Path) -> Path:
    """Output of two seeds without control."""
    options = ["--tasks", TASK, "tf/0", "--seeds", "0", "1", "--control", "false"]
    assert suite(place, *options) == 0
    return place / "out"


def results(output: Path, run: str) -> pl.DataFrame:
    return pl.read_parquet(output / "prom_prom_core_tata" / run / "results.parquet")


def test_the_table_is_mean_and_deviation_of_the_runs(two_seeds: Path) -> None:
    values = [
        results(two_seeds, f"encoder/seed{seed}").filter(metric="mcc")["value"].item()
        for seed in (0, 1)
    ]
    assert values[0] != values[1]
    row = (
        pl.read_csv(two_seeds / "suite.csv").filter(model="pre-trained encoder").row(0, named=True)
    )
    assert (row["task"], row["metric"], row["n"], row["seeds"]) == (TASK, "mcc", 61, 2)
    assert row["mean"] == pytest.approx(fmean(values))
    assert row["sd"] == pytest.approx(stdev(values))
    text = (two_seeds / "suite.md").read_text()
    assert f"{fmean(values):.3f} ± {stdev(values):.3f}" in text
    assert "majority class" in text
    assert "k-mer logistic regression" in text
    assert "Mean over 1 of 7 categories (core promoters (1 of 3))" in text


def test_what_is_absent_is_listed_with_its_command(two_seeds: Path) -> None:
    text = (two_seeds / "suite.md").read_text()
    assert "| tf/0 | mcc | absent |" in text
    assert "biote download gue --output" in text


def test_metrics_are_scikit_learns_on_the_written_predictions(two_seeds: Path) -> None:
    run = two_seeds / "prom_prom_core_tata" / "encoder" / "seed1"
    written = pl.read_parquet(run / "predictions.parquet").filter(output=1)
    target = written["target"].to_numpy().astype(int)
    probability = written["prediction"].to_numpy()
    chosen = probability > 0.5
    found = dict(results(two_seeds, "encoder/seed1").select("metric", "value").iter_rows())
    assert found == pytest.approx(
        {
            "mcc": matthews_corrcoef(target, chosen),
            "accuracy": accuracy_score(target, chosen),
            "f1_macro": f1_score(target, chosen, average="macro"),
            "f1_weighted": f1_score(target, chosen, average="weighted"),
            "auroc": roc_auc_score(target, probability),
        },
        abs=1e-5,
    )


def test_the_best_weights_on_validation_are_tested(place: Path, tmp_path: Path) -> None:
    # REFERENCE 6, 5: "best" weights that were kept by reference are the last ones.
    options = ["--tasks", MISLEADING, "--control", "false", "--output", str(tmp_path)]
    assert suite(place, *options) == 0
    run = tmp_path / "tf_1" / "encoder" / "seed0"
    curve = [value for _, value in read_scalars(run, "val_mcc")]
    assert len(curve) == 4
    assert max(curve) > curve[-1] + 0.1
    again = ["--config", str(run / "config.yaml")]
    best, last = (
        BioteCLI("validate", [*again, "--ckpt_path", name]).trainer.callback_metrics["val_mcc"]
        for name in ("best", "last")
    )
    assert float(best) == pytest.approx(max(curve), abs=1e-5)
    assert float(last) == pytest.approx(curve[-1], abs=1e-5)
    of_last = BioteCLI("test", [*again, "--ckpt_path", "last", "--results.model", "last"]).rows
    tested = pl.read_parquet(run / "results.parquet").filter(metric="mcc")
    written = dict(tested.select("model", "value").iter_rows())
    assert written["last"] == next(row.value for row in of_last if row.metric == "mcc")
    assert written["last"] != written["pre-trained encoder"]


def test_it_goes_on_and_does_nothing_twice(place: Path, two_seeds: Path) -> None:
    done = sorted(two_seeds.glob("*/encoder/*/checkpoints/best.ckpt"))
    before = [path.stat().st_mtime_ns for path in done]
    assert suite(place, "--tasks", TASK, "--seeds", "0") == 0  # adds the control
    assert [path.stat().st_mtime_ns for path in done] == before
    assert set(results(two_seeds, "random/seed0")["model"]) == {"random encoder"}
    point = json.loads((two_seeds / "performance.json").read_text())
    assert point["parameters"] == 10 * 16 * 16 + 3 * 2 * 16 + 49 * 16  # matrices, norms, readout
    assert point["flops"] == 6 * point["parameters"] * 1_000
    assert (two_seeds / "performance_per_flop.png").is_file()
    # Trained on dev it is no score of the suite: named so, and in no average.
    assert suite(place, "--tasks", "EMP/H3", "--train-on-dev", "--control", "false") == 0
    text = (two_seeds / "suite.md").read_text()
    assert "EMP/H3 (trained on dev)" in text
    assert "Mean over 1 of 7 categories (core promoters (1 of 3))" in text


def test_another_encoder_needs_another_output(
    place: Path, two_seeds: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert suite(place, encoder="other") == 2
    assert "holds a suite with another encoder; name another folder" in capsys.readouterr().err


def test_another_protocol_needs_another_output(
    place: Path, two_seeds: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Seeds of two protocols must not meet in one mean.
    assert suite(place, "--patience", "1") == 2
    assert "holds a suite with another patience; name another folder" in capsys.readouterr().err
    more = place / "more.yaml"
    more.write_text("trainer: {max_steps: 24}\n")
    assert suite(place, "--config", str(place / "short.yaml"), str(more)) == 2
    assert "holds a suite with another config;" in capsys.readouterr().err
    assert suite(place, "--config", "nowhere.yaml") == 2
    assert "--config: " in capsys.readouterr().err


def test_a_moved_folder_and_a_comment_change_no_run(place: Path, two_seeds: Path) -> None:
    moved = two_seeds.rename(place / "moved")
    short = place / "short.yaml"
    try:
        short.write_text(f"# As short as can be.\n{SHORT}")
        before = [path.stat().st_mtime_ns for path in sorted(moved.glob("*/*/*/done.json"))]
        options = ["--tasks", TASK, "--seeds", "0", "1", "--control", "false"]
        assert suite(place, *options, "--output", str(moved)) == 0
        after = [path.stat().st_mtime_ns for path in sorted(moved.glob("*/*/*/done.json"))]
        assert len(before) >= 2
        assert after == before
    finally:
        short.write_text(SHORT)
        moved.rename(two_seeds)


def test_an_unknown_task_and_suite_are_refused(
    place: Path, two_seeds: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert suite(place, "--tasks", "tf/9") == 2
    assert "no task 'tf/9'; tasks: EMP/H3" in capsys.readouterr().err
    assert main(["suite", "glue", "--encoder", "e", "--data", "d", "--output", "o"]) == 2
    assert "no suite 'glue'; suites: gue, tape, proteinglue" in capsys.readouterr().err


def test_early_stopping(place: Path, tmp_path: Path) -> None:
    options = ["--tasks", TASK, "--control", "false", "--patience", "1", "--output", str(tmp_path)]
    assert suite(place, *options) == 0
    run = tmp_path / "prom_prom_core_tata" / "encoder" / "seed0"
    curve = [value for _, value in read_scalars(run, "val_mcc")]
    assert len(curve) < 4
    assert curve[-1] <= max(curve[:-1])
