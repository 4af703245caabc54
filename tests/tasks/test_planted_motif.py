"""A motif planted in binding energies is found in JASPAR, and nothing where these are shuffled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from lightning import Trainer

from biote.datamodules.jaspar import JasparDataModule
from biote.datamodules.pronab import PronabDataModule
from biote.modules.config import EncoderConfig
from biote.modules.heads import DeltaGHead
from biote.modules.mup import FineTuningOptimizer
from biote.molecules import reverse_complement
from biote.synthetic.jaspar import (
    SyntheticFactor,
    SyntheticJaspar,
    SyntheticProfile,
    draw_counts,
    write_jaspar,
)
from biote.synthetic.pronab import BindingData, BindingProtein, Measurement, write_pronab
from biote.synthetic.recognition import BASES, best_site, binding_energy, with_domain
from biote.tasks.regression import RegressionTask
from biote.tasks.results import ResultsWriter
from biote.tasks.specificity import (
    FACTOR_MEAN,
    MATCHED,
    MINUS_CONTROL,
    WITHIN_SPEARMAN,
    differences,
    specificity_table,
)

MakeTrainer = Callable[..., Trainer]
EPOCHS = 16
CODE = "NRTNRTQK"
SITE = best_site(CODE)


def write_data(folder: Path, *, shuffled: bool, proteins: int = 24, rows: int = 24) -> None:
    """Proteins that bind one site, measured on mutants of it; factors of the same code."""
    rng = np.random.default_rng(0)
    scaffolds = [draw_scaffold(rng) for _ in range(proteins)]
    drawn: list[BindingProtein] = []
    for number, scaffold in enumerate(scaffolds):
        measurements = []
        for _ in range(rows):
            letters = list(SITE)
            for place in rng.permutation(len(SITE))[: int(rng.integers(0, 6))]:
                letters[place] = BASES[int(rng.integers(4))]
            first = "".join(letters)
            second = reverse_complement(first)
            energy = round(binding_energy(CODE, [first, second]) + float(rng.normal(0, 0.1)), 2)
            measurements.append(Measurement(first, "DNA", 0.0, energy, second))
        protein = with_domain(scaffold, CODE, rng=rng)
        drawn.append(BindingProtein(f"P{number}", "name", "source", protein, tuple(measurements)))
    if shuffled:
        energies = [m.delta_g_kcal_mol for p in drawn for m in p.measurements]
        left = iter(rng.permutation(energies).tolist())
        drawn = [
            BindingProtein(
                p.accession, p.name, p.source, p.sequence,
                tuple(
                    Measurement(m.first, m.kind, m.kd_molar, next(left), m.second)
                    for m in p.measurements
                ),
            )
            for p in drawn
        ]  # fmt: skip
    write_pronab(folder / "pronab" / "pronab_no_mutations.json", BindingData(tuple(drawn), {}))
    profiles = tuple(
        SyntheticProfile(f"SY{i}.1", f"F{i}", draw_counts(CODE, 400, rng=rng)) for i in range(12)
    )
    factors = tuple(
        SyntheticFactor(
            f"F{i}", with_domain(draw_scaffold(rng), CODE, rng=rng), (profile.id,), (f"D{i % 6}",)
        )
        for i, profile in enumerate(profiles)
    )
    write_jaspar(folder / "jaspar", SyntheticJaspar(profiles, factors))


def draw_scaffold(rng: np.random.Generator) -> str:
    """What stands around the domain, of one length."""
    return "M" + "".join(rng.choice(list("AEGLSV"), 11))


@pytest.mark.parametrize("shuffled", [False, pytest.param(True, marks=pytest.mark.full)])
def test_a_planted_motif_is_found_and_nothing_among_shuffled_energies(
    shuffled: bool, tmp_path: Path, make_trainer: MakeTrainer
) -> None:
    write_data(tmp_path, shuffled=shuffled)
    trained = PronabDataModule(
        tmp_path, "character", batch_size=32, fold=0, folds=6, validation="none", context=96,
        fold_file=tmp_path / "folds.parquet",
    )  # fmt: skip
    task = RegressionTask(
        EncoderConfig(width=32, layers=2, heads=4, context=96),
        head=DeltaGHead,
        optimizer=FineTuningOptimizer(lr_head=0.005, lr_embedding=0.02, lr_body=4e-4),
        n_outputs=1,
        vocab_size=trained.vocab_size,
    )
    trainer = make_trainer(max_epochs=EPOCHS)
    trainer.fit(task, datamodule=trained)
    trainer.save_checkpoint(tmp_path / "fold.ckpt")
    make_trainer().test(task, datamodule=trained, verbose=False)
    pcc = {score.metric: score.value for score in task.scores}["pcc"]
    tested = JasparDataModule(
        tmp_path, "character", trained_on=None, scores_file=tmp_path / "scores.parquet",
        batch_size=64, probabilities=(0.25,), controls=("shuffled",), context=96,
    )  # fmt: skip
    folder = tmp_path / "jaspar_test"
    make_trainer(ResultsWriter(model="m"), folder=folder).test(
        task, datamodule=tested, ckpt_path=tmp_path / "fold.ckpt", verbose=False
    )
    predictions = pl.read_parquet(folder / "predictions.parquet")
    table = specificity_table(differences(tested.variants.frame(), predictions))
    whole = table.filter(pl.col("stratum") == "all")

    def value(statistic: str, control: str = MATCHED) -> float:
        chosen = (pl.col("statistic") == statistic) & (pl.col("control") == control)
        return float(whole.filter(chosen)["value"].item())

    if shuffled:
        assert abs(pcc) < 0.4
        assert abs(value(FACTOR_MEAN)) < 0.25
        assert abs(value(MINUS_CONTROL, "shuffled")) < 0.25
        return
    assert pcc > 0.8
    # What the code says of the same mutants.
    frame = tested.variants.frame().filter(pl.col("control") == MATCHED)
    site_of = dict(frame.select("row_id", "site").iter_rows())
    truth = [
        energy_of(site) - energy_of(site_of[reference])
        for reference, site in frame.drop_nulls("probability")
        .select("reference_id", "site")
        .iter_rows()
    ]
    assert value(FACTOR_MEAN) == pytest.approx(np.mean(truth), rel=0.3)
    assert value(WITHIN_SPEARMAN) > 0.6
    # A site of the same bases in another order is no site, so mutating it costs nothing.
    assert value(MINUS_CONTROL, "shuffled") > 1.0
    significant = whole.filter(
        (pl.col("statistic") == FACTOR_MEAN) & (pl.col("control") == MATCHED)
    ).row(0, named=True)
    assert significant["low"] > 0
    assert significant["p_sign_flip"] == 1 / 2**6


def energy_of(site: str) -> float:
    """Binding energy of a site and its reverse complement."""
    return binding_energy(CODE, [site, reverse_complement(site)])
