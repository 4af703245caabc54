"""Every shipped YAML is parsed, and the complete ones run through a step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from biote.cli import main
from biote.commands.parsing import find_shipped, shipped_configs
from biote.synthetic.dataset import write_all

CONFIGS = sorted(path.relative_to(shipped_configs()) for path in shipped_configs().rglob("*.yaml"))
COMPLETE = [path for path in CONFIGS if path.parent.name in ("", "demo", "benchmark")]
EVALUATE_ONLY = {"jaspar", "jaspar_quick"}
BASE_OF = {
    "attention_probe": "benchmark/attention_probe.yaml",
    "shared_map": "benchmark/clip.yaml",
    "two_maps": "benchmark/clip.yaml",
}
"""What fragments that fit one task alone are laid over."""

FRAGMENTS = {"head": "--model.head", "encoder": "--model.encoder"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_all(folder, seed=0, size="tiny")
    for name, source in (("nucleic", "genbank"), ("protein", "fasta")):
        output = folder / "corpora" / name
        options = ["--validation-fraction", "0.1", "--output", str(output)]
        assert main(["prepare", str(folder / source), *options]) == 0
    rows = [f"{i},MKV{'ACDEF'[i % 5] * (i + 1)},ACGT,{i % 7}" for i in range(20)]
    (folder / "table.csv").write_text("\n".join(["id,protein,dna,label", *rows]) + "\n")
    write_maps(folder / "maps.parquet")
    write_published(folder)
    write_residues(folder)
    assert main(["corpus", "pairs", str(folder / "genbank"), "--output",
                 str(folder / "pairs.parquet")]) == 0  # fmt: skip
    return folder


def write_maps(path: Path) -> None:
    """Proteins with coordinates on a zigzag, for the contact maps."""
    length = 30
    places = [[i * 1.5, (i % 3) * 2.0, 0.0] for i in range(length)]
    pl.DataFrame(
        {
            "id": [f"P{i}" for i in range(6)],
            "sequence": ["ACDEFG"[i] * length for i in range(6)],
            "coordinates": [[x for place in places for x in place]] * 6,
        }
    ).write_parquet(path)


def write_published(folder: Path) -> None:
    """Small files in the layout of the benchmarks with a published split."""
    gue = folder / "gue" / "GUE" / "prom" / "prom_core_tata"
    gue.mkdir(parents=True)
    for number, split in enumerate(("train", "dev", "test")):
        rows = [f"{'ACGT'[number]}{'ACGT'[i % 4] * (i + 5)},{i % 2}" for i in range(12)]
        (gue / f"{split}.csv").write_text("\n".join(["sequence,label", *rows]) + "\n")
    (folder / "tape").mkdir(exist_ok=True)
    for number, split in enumerate(("train", "valid", "test")):
        for task in ("stability", "fluorescence", "remote_homology"):
            label = "{0}" if task == "remote_homology" else "{0}.5"
            rows = [f"{'MKL'[number]}{'ACDE'[i % 4] * (i + 5)},{label.format(i)}" for i in range(9)]
            path = folder / "tape" / f"{task}.{split}.csv"
            path.write_text("\n".join(["seq,label", *rows]) + "\n")


def write_residues(folder: Path) -> None:
    """Small files of the benchmarks with labels of residues."""
    proteins = [f"MK{'ACDEFGHIKL'[i % 10] * (i + 4)}" for i in range(20)]
    tape, labels, glue = (folder / n for n in ("tape", "residue_labels", "proteinglue"))
    (tape / "secondary_structure").mkdir(parents=True)
    for path in (labels, glue):
        path.mkdir()
    for number, split in enumerate(("train", "valid", "cb513")):
        of_split = proteins[number * 6 : number * 6 + 6]
        states = [[i % 3 for i in range(len(protein))] for protein in of_split]
        (tape / "secondary_structure" / f"secondary_structure_{split}.json").write_text(
            json.dumps(
                [
                    {"primary": protein, "ss3": state, "ss8": state}
                    for protein, state in zip(of_split, states, strict=True)
                ]
            )
        )
        rows = [
            f"{protein},{''.join(map(str, state))}"
            for protein, state in zip(of_split, states, strict=True)
        ]
        name = {"valid": "val", "cb513": "test"}.get(split, split)
        (glue / f"{name}-ss3.csv").write_text("\n".join(["sequence,ss3", *rows]) + "\n")
    for name in ("Train_573", "Test_129"):
        chains = proteins * (10 if name == "Train_573" else 1)
        records = [f">{i}\n{p}\n{('01' * len(p))[: len(p)]}\n" for i, p in enumerate(chains)]
        (labels / f"DNA_{name}.fa").write_text("".join(records))
    rows = [f"{protein},{('HEC' * 9)[: len(protein)]}" for protein in proteins]
    (folder / "residue_table.csv").write_text("\n".join(["sequence,structure", *rows]) + "\n")
    pl.DataFrame(
        {
            "id": [str(i) for i in range(len(proteins))],
            "protein": proteins,
            "nucleic": [[{"sequence": "ACGT", "molecule": "DNA"}]] * len(proteins),
            "distance": [[3.0 + i for i in range(len(protein))] for protein in proteins],
        }
    ).write_parquet(folder / "contacts.parquet")


FILES = {
    "TableDataModule": "table.csv",
    "ResidueTableDataModule": "residue_table.csv",
    "ContactsDataModule": "contacts.parquet",
    "ContactMapDataModule": "maps.parquet",
}
"""What data modules that take a file are given."""


def options_for(config: Path, data: Path, run: Path) -> list[str]:
    """What a user has to say beside the YAML: where data are, and a small encoder."""
    options = ["--config", str(config), "--trainer.default_root_dir", str(run)]
    content = yaml.safe_load((shipped_configs() / config).read_text())
    arguments = content["data"]["init_args"]
    encoder = '{"width": 16, "layers": 1, "heads": 2, "context": 2048}'
    if "corpora" in arguments:
        folders = [{"folder": str(data / "corpora" / name)} for name in ("nucleic", "protein")]
        options += ["--data.corpora", json.dumps(folders)]
    elif content["data"]["class_path"] == "ClipDataModule":
        options += ["--data.root", str(data / "pairs.parquet"), "--data.train_fraction", "0.3"]
        options += ["--data.split_file", str(run / "split.parquet"), "--data.context", "256"]
        options += ["--model.states_folder", str(run / "states")]
        options += ["--data.tokenizer", "character", "--model.encoder_checkpoint", "null"]
        if "protein_encoder_checkpoint" in content["model"]["init_args"]:
            options += ["--model.protein_encoder_checkpoint", "null"]
            options += ["--model.protein_encoder", encoder]
    elif config.stem in EVALUATE_ONLY:
        options += ["--data.root", str(data), "--data.trained_on", str(data)]
        options += ["--data.scores_file", str(run / "similarity.parquet")]
        options += ["--data.tokenizer", "character", "--model.encoder_checkpoint", "null"]
    else:
        options += ["--data.root", str(data / FILES.get(content["data"]["class_path"], ""))]
        if "fold_file" in arguments:
            options += ["--data.fold_file", str(run / "folds.parquet"), "--data.folds", "3"]
        options += ["--data.tokenizer", "character", "--model.encoder_checkpoint", "null"]
    if "nucleic_encoder" in content["model"]["init_args"]:
        options += [
            "--model.nucleic_encoder",
            f'{{"encoder": {encoder}, "encoder_checkpoint": null}}',
        ]
        options += ["--data.nucleic_tokenizer", "character"]
    return [*options, "--model.encoder", encoder]


@pytest.mark.parametrize("config", COMPLETE, ids=str)
def test_complete_configs_print_and_run(
    config: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["fit", "--config", str(config), "--print_config"])
    assert ended.value.code == 0
    assert yaml.safe_load(capsys.readouterr().out)["model"]["class_path"].startswith("biote.")
    options = [*options_for(config, data, tmp_path), "--trainer.fast_dev_run", "true"]
    if config.stem in EVALUATE_ONLY:
        assert main(["fit", *options]) == 2
        assert "no rows to train" in capsys.readouterr().err
    else:
        assert main(["fit", *options]) == 0


@pytest.mark.parametrize("config", [path for path in CONFIGS if path not in COMPLETE], ids=str)
def test_fragments_fit_a_complete_config(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    option = FRAGMENTS.get(config.parts[0], "--config")
    bases = {"encoder": "demo/pretrain.yaml", "variant": "small.yaml",
             "benchmark": f"benchmark/{config.parent.name}.yaml"}  # fmt: skip
    base = bases.get(config.parts[0], "demo/delta_g.yaml")
    base = BASE_OF.get(config.stem, base)
    with pytest.raises(SystemExit) as ended:
        main(["fit", "--config", base, option, str(config), "--print_config"])
    assert ended.value.code == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    content = yaml.safe_load((shipped_configs() / config).read_text())
    if config.parts[0] == "head":
        head = printed["model"]["init_args"]["head"]
        assert head["class_path"].endswith(content["class_path"])
    elif config.parts[0] == "encoder":
        encoder = printed["model"]["init_args"]["encoder"]
        assert {key: encoder[key] for key in content} == content
    else:
        assert _holds(printed, content)


def _holds(printed: Any, content: Any) -> bool:
    """Whether all of a YAML is in what is printed, beside the defaults."""
    if isinstance(content, dict):
        return all(_holds(printed[key], value) for key, value in content.items())
    if isinstance(content, list):
        return all(map(_holds, printed, content))
    # Classes are named in full where they are printed.
    return bool(printed == content) or (
        str(printed).startswith("biote.") and str(printed).endswith(f".{content}")
    )


def test_a_file_in_the_working_directory_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shipped = shipped_configs() / "demo" / "pretrain.yaml"
    assert find_shipped("demo/pretrain.yaml") == str(shipped)
    assert find_shipped("--config=demo/pretrain.yaml") == f"--config={shipped}"
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "pretrain.yaml").write_text("")
    assert find_shipped("demo/pretrain.yaml") == "demo/pretrain.yaml"
    assert find_shipped("nosuch.yaml") == "nosuch.yaml"
