"""Heads, tasks and data that do not belong together: one line each, and nothing trained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from biote.cli import main


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One task of every kind of label in small."""
    folder = tmp_path_factory.mktemp("fitting")
    for name in ("gue/GUE/prom/prom_core_tata", "tape/proteinnet", "proteinglue"):
        (folder / name).mkdir(parents=True)
    for number, split in enumerate(("train", "valid", "test")):
        dna = "".join(f"{'ACG'[number] * (i + 4)},{i % 2}\n" for i in range(4))
        path = folder / "gue/GUE/prom/prom_core_tata" / f"{split.replace('valid', 'dev')}.csv"
        path.write_text("sequence,label\n" + dna)
        protein = "".join(f"{'MKV'[number]}{'ACDE'[i]},01\n" for i in range(4))
        (folder / "proteinglue" / f"{split}-ss3.csv").write_text("sequence,ss3\n" + protein)
        (folder / "proteinglue" / f"{split}-ppi.csv").write_text("sequence,interface\n" + protein)
        numbers = "".join(f"{'MKV'[number]}{'ACDE'[i]},{i}.5\n" for i in range(4))
        (folder / "tape" / f"stability.{split}.csv").write_text("seq,label\n" + numbers)
        entry = {
            "id": "a", "primary": "MKVACDEFGHIKLMNP"[number:], "valid_mask": [True] * (16 - number),
            "tertiary": [[float(i), 0.0, 0.0] for i in range(16 - number)],
        }  # fmt: skip
        (folder / "tape/proteinnet" / f"proteinnet_{split}.json").write_text(json.dumps([entry]))
    return folder


@pytest.mark.parametrize(
    ("config", "options", "said"),
    [
        ("gue", ["--model.head", "ResidueHead"], "predicts per token, ClassificationTask needs"),
        ("gue", ["--model.head", "ResNetContactHead"], "predicts contacts, the data has 2"),
        ("proteinglue", ["--model.head", "SequenceHead"], "predicts per group, ResidueClassif"),
        ("tape_contacts", ["--model.head", "ResidueHead"], "ContactMapTask needs one predict"),
        ("tape_stability", ["--model.head", "ResNetContactHead"], "RegressionTask needs one"),
        ("gue", ["--model", "RegressionTask", "--checkpoint.monitor", "val_mae"],
         "GueDataModule has no numbers to predict"),
        ("tape_stability", ["--model", "ClassificationTask", "--checkpoint.monitor", "val_mcc"],
         "ClassificationTask needs two or more classes"),
        ("proteinglue", ["--model", "ResidueBinaryTask", "--checkpoint.monitor", "val_auroc"],
         "labels of residues that are classes, ResidueBinaryTask predicts binary"),
        ("gue", ["--model", "ResidueClassificationTask", "--model.head", "ResidueHead",
                 "--checkpoint.monitor", "val_accuracy"],
         "GueDataModule has no labels of residues"),
        ("proteinglue", ["--model", "ClassificationTask", "--model.head", "SequenceHead"],
         "ProteinGlueDataModule has no classes"),
        ("tape_contacts", ["--model", "RegressionTask", "--model.head", "SequenceHead",
                           "--checkpoint.monitor", "val_mae"],
         "ContactMapDataModule has no numbers to predict"),
        ("gue", ["--model", "ContactMapTask", "--model.head", "ResNetContactHead",
                 "--checkpoint.monitor", "val_auprc"],
         "ResNetContactHead predicts contacts, the data has 2 outputs"),
        ("proteinglue", ["--data.task", "ppi"], "ResidueClassificationTask needs two or more"),
        ("gue", ["--checkpoint.monitor", "val_auprc"], "computes no 'val_auprc'; give one of"),
        ("gue", ["--model.head", "SequenceHed"], "SequenceHed"),
    ],
    ids=lambda value: "-".join(value[1::2]) if isinstance(value, list) else "",
)  # fmt: skip
def test_what_does_not_fit_is_one_line(
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    config: str,
    options: list[str],
    said: str,
) -> None:
    encoder = '{"width": 16, "layers": 1, "heads": 2, "context": 64}'
    given = ["--config", f"benchmark/{config}.yaml", "--data.root", str(data)]
    given += ["--data.tokenizer", "character", "--data.context", "64"]
    given += ["--model.encoder_checkpoint", "null", "--model.encoder", encoder]
    run = ["--trainer.default_root_dir", str(tmp_path / "run"), "--trainer.accelerator", "cpu"]
    assert main(["fit", *given, *options, *run, "--trainer.max_steps", "1"]) == 2
    lines = capsys.readouterr().err.splitlines()
    (error,) = [line for line in lines if line.startswith("biote: error")]
    assert said in error
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_another_head_of_the_same_kind_is_one_option(data: Path, tmp_path: Path) -> None:
    encoder = '{"width": 16, "layers": 1, "heads": 2, "context": 64}'
    for config, head in (("gue", "MLPHead"), ("tape_stability", "SequenceHead")):
        options = ["--config", f"benchmark/{config}.yaml", "--model.head", head]
        options += ["--data.root", str(data), "--data.tokenizer", "character"]
        options += ["--model.encoder_checkpoint", "null", "--model.encoder", encoder]
        options += ["--data.context", "64", "--trainer.default_root_dir", str(tmp_path / config)]
        assert main(["fit", *options, "--trainer.fast_dev_run", "true"]) == 0
