"""From fold models to a table of specificity and a scan, by the commands a user types."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from biote.baselines.trees import TREES
from biote.baselines.trivial import RIDGE, trivial_baselines
from biote.batch import PackedBatch
from biote.cli import main
from biote.commands.binding_model import BindingModel
from biote.commands.site_scan import placed_logo, read_protein, read_site, scan_matrix, scan_site
from biote.datamodules import PronabDataModule
from biote.datamodules.groups import GroupEncoder, Parts
from biote.datamodules.jaspar.database import read_database
from biote.datamodules.jaspar.profiles import Profile
from biote.datamodules.packing import pack
from biote.errors import DataError
from biote.molecules import Molecule, reverse_complement
from biote.report.scan import scan_figure
from biote.synthetic.dataset import write_all
from biote.synthetic.recognition import best_site, binding_energy, find_recognition_residues
from biote.tasks.loading import load_task
from biote.tasks.regression import RegressionTask
from biote.tasks.specificity import FACTOR_MEAN, MATCHED, MINUS_CONTROL

ENCODER = '{"width": 16, "layers": 1, "heads": 2, "context": 1024}'


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_all(folder, seed=0, size="tiny")
    return folder


@pytest.fixture(scope="module")
def crossval(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two of three fold models of ProNAB, a few steps each."""
    folder = tmp_path_factory.mktemp("crossval")
    options = [
        "--config", "benchmark/pronab.yaml", "--data.root", str(data),
        "--data.fold_file", str(folder / "folds.parquet"), "--data.folds", "3",
        "--data.tokenizer", "character", "--data.batch_size", "16", "--baselines", "false",
        "--model.encoder_checkpoint", "null", "--model.encoder", ENCODER,
        "--trainer.max_epochs", "1", "--folds", "0,1", "--output", str(folder),
    ]  # fmt: skip
    assert main(["crossval", *options]) == 0
    return folder


def common(data: Path) -> list[str]:
    return ["--data.root", str(data), "--data.scores_file", str(data / "scores.parquet")]


def test_fold_models_are_tested_and_joined(
    data: Path, crossval: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["specificity", "--crossval", str(crossval), *common(data)]
    options = [*command, "--data.probabilities", "[0.1]", "--output", str(tmp_path)]
    assert main(options) == 2
    assert "folds not done: 2" in capsys.readouterr().err
    options += ["--folds", "0,1"]
    assert main(options) == 0
    assert "matched - shuffled" in capsys.readouterr().out
    table = pl.read_parquet(tmp_path / "specificity.parquet")
    of_matched = table.filter(
        pl.col("statistic") == FACTOR_MEAN, pl.col("control") == MATCHED, pl.col("stratum") == "all"
    )
    assert of_matched["model"].to_list() == ["random encoder", RIDGE, TREES]
    mean = of_matched.row(0, named=True)
    assert mean["folds"] == 2
    # The same number from the predictions, by hand.
    predictions = pl.read_parquet(tmp_path / "predictions.parquet").filter(
        pl.col("model") == "random encoder"
    )
    variants = pl.read_parquet(tmp_path / "variants.parquet")
    of = {(f, r): p for f, r, p in predictions.select("fold", "row_id", "prediction").iter_rows()}
    differences: dict[str, list[float]] = {}
    for row in variants.filter(pl.col("control") == "matched").iter_rows(named=True):
        if row["probability"] is not None:
            for fold in range(2):
                ddg = of[fold, row["row_id"]] - of[fold, row["reference_id"]]
                differences.setdefault(row["protein"], []).append(ddg)
    expected = np.mean([np.mean(of_protein) for of_protein in differences.values()])
    assert mean["value"] == pytest.approx(expected)
    results = pl.read_parquet(tmp_path / "results.parquet")
    rows = results.filter(pl.col("metric") == "ddg_mean_p0.1")
    assert set(rows["model"]) == {"random encoder", RIDGE, TREES}
    row = rows.filter(pl.col("model") == "random encoder").row(0, named=True)
    assert (row["value"], row["unit"], row["fold"]) == (mean["value"], "kcal/mol", None)
    assert (tmp_path / "specificity.png").stat().st_size > 10_000
    # What is done is not done again; another request is.
    written = (tmp_path / "fold-0" / "predictions.parquet").stat().st_mtime_ns
    assert main(options) == 0
    assert (tmp_path / "fold-0" / "predictions.parquet").stat().st_mtime_ns == written
    assert main([*options, "--data.mutants", "2", "--trees", "false"]) == 0
    assert (tmp_path / "fold-0" / "predictions.parquet").stat().st_mtime_ns > written


def test_kmer_models_are_fitted_on_the_training_rows_of_each_fold(
    data: Path, crossval: Path, tmp_path: Path
) -> None:
    options = ["--trees", "false", "--output", str(tmp_path), "--folds", "0,1", *common(data)]
    assert main(["specificity", "--crossval", str(crossval), *options]) == 0
    predictions = pl.read_parquet(tmp_path / "predictions.parquet")
    assert set(predictions["model"]) == {"random encoder", RIDGE}
    variants = pl.read_parquet(tmp_path / "variants.parquet")
    database = read_database(data / "jaspar")
    sites: list[tuple[tuple[str, Molecule], ...]] = [
        (
            (database.proteins[protein].sequence, Molecule.PROTEIN),
            (site, Molecule.DNA),
            (reverse_complement(site), Molecule.DNA),
        )
        for protein, site in variants.select("bound_protein", "site").iter_rows()
    ]
    for fold in range(2):
        trained = PronabDataModule(
            data, "character", batch_size=16, fold=fold, fold_file=crossval / "folds.parquet",
            folds=3,
        ).rows("train")  # fmt: skip
        expected = trivial_baselines(
            [row.parts for row in trained],
            np.array([row.target for row in trained]),
            sites,
            train_groups=[row.group for row in trained],
            kind="regression",
            n_classes=1,
        )[RIDGE]
        own = predictions.filter((pl.col("model") == RIDGE) & (pl.col("fold") == fold))
        given = variants.join(own, on="row_id", maintain_order="left")["prediction"]
        np.testing.assert_allclose(given.to_numpy(), expected[:, 0], atol=1e-5)
    # It adds up protein and strands: a protein of another family changes nothing.
    table = pl.read_parquet(tmp_path / "specificity.parquet")
    paired = table.filter(
        (pl.col("model") == RIDGE)
        & (pl.col("control") == "other_family")
        & (pl.col("statistic") == MINUS_CONTROL)
    )
    assert paired["value"].to_list() == [0.0] * 4  # at every probability
    assert paired["p_wilcoxon"].to_list() == [1.0] * 4


def test_kmer_models_need_the_rows_that_the_model_was_trained_on(
    data: Path, crossval: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = torch.load(crossval / "fold-0" / "checkpoints" / "best.ckpt", weights_only=False)
    content["PronabDataModule"]["split"] = "another"
    shutil.copytree(crossval / "fold-0", tmp_path / "other" / "fold-0")
    torch.save(content, tmp_path / "other" / "fold-0" / "checkpoints" / "best.ckpt")
    command = ["specificity", "--crossval", str(tmp_path / "other"), "--folds", "0", *common(data)]
    assert main([*command, "--output", str(tmp_path / "a")]) == 2
    assert "trained on another split of the data" in capsys.readouterr().err
    options = ["--output", str(tmp_path / "b"), "--baselines", "false"]
    assert main([*command, *options]) == 0
    table = pl.read_parquet(tmp_path / "b" / "specificity.parquet")
    assert set(table["model"]) == {"random encoder"}


def test_predictions_are_in_the_units_of_the_training_data(
    data: Path, crossval: Path, tmp_path: Path
) -> None:
    checkpoint = crossval / "fold-0" / "checkpoints" / "best.ckpt"
    options = [
        "--config", "benchmark/jaspar.yaml", *common(data), "--data.trained_on", "null",
        "--data.tokenizer", "character", "--model.encoder_checkpoint", "null",
        "--model.encoder", ENCODER, "--trainer.default_root_dir", str(tmp_path),
    ]  # fmt: skip
    assert main(["test", *options, "--ckpt_path", str(checkpoint)]) == 0
    predictions = pl.read_parquet(tmp_path / "predictions.parquet")
    trained = PronabDataModule(
        data, "character", batch_size=16, fold=0, fold_file=crossval / "folds.parquet", folds=3,
        context=1024,
    )  # fmt: skip
    task = load_task(checkpoint).task
    assert isinstance(task, RegressionTask)
    for buffer, expected in zip(
        (task.target_mean, task.target_std), trained.target_statistics, strict=True
    ):
        assert float(buffer) == pytest.approx(float(expected[0]), rel=1e-5)
    # The same model without a trainer gives the same numbers.
    variants = pl.read_parquet(tmp_path / "variants.parquet")
    database = read_database(data / "jaspar")
    shown = variants.head(5).join(predictions, on="row_id", maintain_order="left")
    rows: list[Parts] = [
        (
            (database.proteins[protein].sequence, Molecule.PROTEIN),
            (site, Molecule.DNA),
            (reverse_complement(site), Molecule.DNA),
        )
        for protein, site in shown.select("bound_protein", "site").iter_rows()
    ]
    alone = BindingModel(checkpoint).delta_g_kcal_mol(rows)
    np.testing.assert_allclose(alone, shown.get_column("prediction").to_numpy(), atol=1e-4)
    # REFERENCE 6, 11: and by hand from the trained weights, with the 1024 / D of the training.
    weights = torch.load(checkpoint, weights_only=False)["state_dict"]
    groups = GroupEncoder(trained.tokenizer, context=1024)
    assert task.encoder is not None
    by_hand = []
    for row in rows:
        ids, codes = groups.group(row, row="row")
        with torch.no_grad():
            state = task.encoder(PackedBatch(**pack([ids], [codes])))[0]  # (D,)
        output = weights["head.readout.weight"] @ state + weights["head.readout.bias"]
        scaled = output * 1024 / len(state)
        by_hand.append(float(scaled * weights["target_std"] + weights["target_mean"]))
    np.testing.assert_allclose(alone, by_hand, atol=1e-4)


def test_another_head_or_an_untrained_model_is_refused(
    data: Path, crossval: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = crossval / "fold-0" / "checkpoints" / "best.ckpt"
    options = [
        "--config", "benchmark/jaspar.yaml", *common(data), "--data.trained_on", "null",
        "--data.tokenizer", "character", "--model.encoder_checkpoint", "null",
        "--trainer.default_root_dir", str(tmp_path), "--model.encoder",
    ]  # fmt: skip
    wider = ENCODER.replace("16", "32")
    assert main(["test", *options, wider, "--ckpt_path", str(checkpoint)]) == 2
    assert "it was trained with encoder" in capsys.readouterr().err
    assert main(["test", *options, ENCODER]) == 2
    assert "no checkpoint" in capsys.readouterr().err


def test_options_that_the_command_sets_itself_are_refused(
    data: Path, crossval: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["specificity", "--crossval", str(crossval), "--output", str(tmp_path), *common(data)]
    assert main([*command, "--data.fold", "1"]) == 2
    assert "give --folds" in capsys.readouterr().err
    assert main([*command, "--folds", "0,7"]) == 2
    assert "folds there: 0, 1" in capsys.readouterr().err
    assert main(["specificity", "--crossval", str(tmp_path)]) == 2
    assert "give the output folder of biote crossval" in capsys.readouterr().err


def test_pairs_of_a_table_are_scored_by_the_mean_of_all_fold_models(
    crossval: Path, tmp_path: Path
) -> None:
    checkpoints = [str(crossval / f"fold-{k}" / "checkpoints" / "best.ckpt") for k in range(2)]
    table = tmp_path / "pairs.csv"
    table.write_text(
        "name,protein,site,second\na,MKRHWCPVCGK,ACGTTGCA,\nb,mkvlaw,GGGTC,TTTAA\n"
        f"c,{'MKRHWCPVCGKALNDS' * 200},ACGT,\n"
    )
    options = [
        "score", "--table", str(table), "--sequences", "protein=protein", "site=DNA", "second=DNA",
        "--output", str(tmp_path / "scored.parquet"),
    ]  # fmt: skip
    assert main([*options, "--checkpoint", *checkpoints]) == 0
    scored = pl.read_parquet(tmp_path / "scored.parquet")
    assert scored["name"].to_list() == ["a", "b", "c"]
    assert scored["trimmed"].to_list() == [False, False, True]
    rows: list[tuple[tuple[str, Molecule], ...]] = [
        (("MKRHWCPVCGK", Molecule.PROTEIN), ("ACGTTGCA", Molecule.DNA)),
        (("MKVLAW", Molecule.PROTEIN), ("GGGTC", Molecule.DNA), ("TTTAA", Molecule.DNA)),
    ]
    each = np.stack([BindingModel(Path(path)).delta_g_kcal_mol(rows) for path in checkpoints])
    np.testing.assert_allclose(scored["delta_g_kcal_mol"][:2], each.mean(0), atol=1e-5)
    np.testing.assert_allclose(scored["delta_g_sd_kcal_mol"][:2], each.std(0, ddof=1), atol=1e-5)
    # One model, both strands from one, CSV.
    one = [*options[:5], "site=DNA", "--double_stranded", "--output", str(tmp_path / "one.csv")]
    assert main([*one, "--checkpoint", checkpoints[0]]) == 0
    alone = pl.read_csv(tmp_path / "one.csv")
    both = [(*rows[0], ("TGCAACGT", Molecule.DNA))]
    expected = BindingModel(Path(checkpoints[0])).delta_g_kcal_mol(both)
    assert alone["delta_g_kcal_mol"][0] == pytest.approx(expected[0], abs=1e-5)
    assert alone["delta_g_sd_kcal_mol"].null_count() == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--sequences", "protein"], "'protein' names no molecule; write column=molecule"),
        (["--sequences", "gene=DNA"], "no column 'gene'; its columns are protein, strand"),
        (["--output", "scored.txt"], "--output: ending '.txt'; give .csv or .parquet"),
        (["--table", "nowhere.csv"], "--table: no file nowhere.csv"),
    ],
)
def test_pairs_that_cannot_be_scored_are_refused(
    crossval: Path, tmp_path: Path, change: list[str], message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    table = tmp_path / "pairs.csv"
    table.write_text("protein,strand\nMKV,ACGT\n")
    checkpoint = str(crossval / "fold-0" / "checkpoints" / "best.ckpt")
    options = ["score", "--checkpoint", checkpoint, "--table", str(table)]
    options += ["--output", str(tmp_path / "scored.csv"), *change]
    assert main(options) == 2
    assert message in capsys.readouterr().err


def test_a_scan_is_every_substitution(data: Path, crossval: Path, tmp_path: Path) -> None:
    checkpoints = [str(crossval / f"fold-{k}" / "checkpoints" / "best.ckpt") for k in range(2)]
    moved = tmp_path / "moved.ckpt"
    shutil.copyfile(checkpoints[1], moved)
    options = [
        "scan", "--checkpoint", checkpoints[0], str(moved), "--protein", "MKRHWCPVCGK",
        "--profile", "SY0001", "--jaspar", str(data), "--output", str(tmp_path / "scan"),
    ]  # fmt: skip
    assert main(options) == 0
    table = pl.read_parquet(tmp_path / "scan" / "scan.parquet")
    assert table.height == 3 * 8
    assert pl.read_csv(tmp_path / "scan" / "scan.csv").height == table.height
    site = "".join(dict(table.select("position", "reference").iter_rows()).values())
    protein = ("MKRHWCPVCGK", Molecule.PROTEIN)
    models = [BindingModel(Path(path)) for path in checkpoints]
    for line in table.sample(3, seed=0).iter_rows(named=True):
        i = line["position"] - 1
        mutant = site[:i] + line["base"] + site[i + 1 :]
        rows = [
            [protein, (s, Molecule.DNA), (reverse_complement(s), Molecule.DNA)]
            for s in (site, mutant)
        ]
        ddg = [float(np.diff(model.delta_g_kcal_mol(rows))[0]) for model in models]
        assert line["mutant"] == mutant
        assert line["ddg_kcal_mol"] == pytest.approx(np.mean(ddg), abs=1e-4)
        assert line["ddg_sd_kcal_mol"] == pytest.approx(np.std(ddg, ddof=1), abs=1e-4)
        assert line["log_odds_change_bits"] < 0
    assert (tmp_path / "scan" / "scan.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--site", "ACGN"], "other letters than A, C, G, T"),
        ([], "no site"),
        (["--profile", "SY0001"], "one is given without the other"),
        (["--site", "ACGT", "--protein", "no/such.fasta"], "no file no/such.fasta"),
        (["--site", "ACGT", "--tokenizer", "nowhere"], "nowhere"),
        (["--site", "ACGT", "--checkpoint", "nowhere.ckpt"], "no checkpoint nowhere.ckpt"),
    ],
)
def test_a_scan_that_cannot_be_made_is_refused(
    options: list[str], message: str, crossval: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    checkpoint = str(crossval / "fold-0" / "checkpoints" / "best.ckpt")
    command = ["scan", "--checkpoint", checkpoint, "--protein", "MKV", "--output", str(tmp_path)]
    assert main([*command, *options]) == 2
    assert message in capsys.readouterr().err


class Oracle:
    """Knows the recognition code."""

    def delta_g_kcal_mol(self, rows: list[Parts]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        return np.array(
            [
                binding_energy(
                    find_recognition_residues(row[0][0]), [strand for strand, _ in row[1:]]
                )
                for row in rows
            ]
        )

    def trimmed(self, row: Parts) -> bool:
        return False


def test_a_scan_finds_the_planted_motif_on_either_strand(data: Path, tmp_path: Path) -> None:
    database = read_database(data / "jaspar")
    protein = database.proteins[min(a for a, p in database.proteins.items() if p.sequence)]
    profile = database.profiles[max(m for m in protein.profiles if not m.startswith("SY9"))]
    motif = best_site(find_recognition_residues(protein.sequence))
    for site, first in (("TA" + motif + "A", 2), ("T" + reverse_complement(motif) + "AC", 1)):
        placed = placed_logo(profile, site)
        assert placed.logo.first == first
        table = scan_site([Oracle()], protein.sequence, site, placed=placed)  # type: ignore[list-item]
        ddg = scan_matrix(table, len(site))
        inside = slice(first, first + 8)
        assert np.nanmin(ddg) >= 0
        assert np.nanmax(ddg[:, inside]) > 0.4
        outside = np.delete(ddg, np.arange(first, first + 8), axis=1)
        assert np.nanmax(outside) == pytest.approx(0)
        # Frequencies lie along the site's strand: its own base is the most frequent.
        codes = ["ACGT".index(base) for base in site[inside]]
        assert placed.logo.frequencies.argmax(axis=0).tolist() == codes
        known = table.filter(pl.col("log_odds_change_bits").is_not_null())
        assert known.height == 24
        assert known.get_column("log_odds_change_bits").max() < 0  # type: ignore[operator]
        scan_figure(tmp_path / "x.png", site=site, ddg_kcal_mol=ddg, title="t", logo=placed.logo)


def test_a_site_shorter_than_the_profile_lies_within_it() -> None:
    counts = np.array([[9, 0, 0, 0], [0, 9, 0, 0], [0, 0, 9, 0], [0, 0, 0, 9]], np.float64)
    profile = Profile(base_id="MA1", version=1, name="X", counts=counts)  # ACGT
    assert placed_logo(profile, "GT").logo.first == -2
    wide = Profile(base_id="MA1", version=1, name="X", counts=counts[:, [0, 0, 1]])  # AAC
    placed = placed_logo(wide, "GT")  # the reverse complement of AC
    assert (placed.logo.first, placed.logo.title.endswith("reverse strand")) == (0, True)


def test_proteins_and_sites_are_read(tmp_path: Path) -> None:
    path = tmp_path / "one.fasta"
    path.write_text(">name more\nmkv\nR*\n")
    assert read_protein(str(path)) == ("name", "MKVR")
    assert read_protein("mkv") == ("mkv", "MKV")
    assert read_site("acgt") == "ACGT"
    with pytest.raises(DataError, match="U in the site"):
        read_site("ACGU")
    path.write_text(">a\nMKV\n>b\nMKL\n")
    with pytest.raises(DataError, match="2 proteins in"):
        read_protein(str(path))
    with pytest.raises(DataError, match="no base"):
        read_site("")
