from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from biote.errors import DataError
from biote.tasks.specificity import (
    ALL_MUTANTS,
    FACTOR_MEAN,
    FOLD,
    FOLD_MEAN,
    MATCHED,
    MINUS_CONTROL,
    SHARE_POSITIVE,
    SPEARMAN,
    WITHIN_SPEARMAN,
    bootstrap_p,
    differences,
    family_bootstrap,
    mean_ranks,
    sign_flip_p,
    spearman,
    specificity_table,
    wilcoxon_greater,
)

NUMBERS = st.lists(st.integers(-20, 20).map(float), min_size=3, max_size=40)


@given(NUMBERS)
def test_ranks_and_correlations_are_those_of_scipy(numbers: list[float]) -> None:
    x = np.array(numbers)
    y = np.roll(x, 1) + (np.arange(len(x)) % 3).astype(np.float64)
    np.testing.assert_allclose(mean_ranks(x), stats.rankdata(x))
    ours = spearman(x, y)
    if len(set(x.tolist())) > 1 and len(set(y.tolist())) > 1:
        assert ours == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)
    else:
        assert math.isnan(ours)


@given(NUMBERS)
def test_the_signed_rank_test_is_that_of_scipy(numbers: list[float]) -> None:
    x = np.array(numbers)
    if not x.any():
        assert wilcoxon_greater(x) == 1.0
        return
    theirs = stats.wilcoxon(
        x, alternative="greater", method="approx", correction=False, zero_method="wilcox"
    ).pvalue
    assert wilcoxon_greater(x) == pytest.approx(theirs, rel=1e-9)


def test_the_bootstrap_of_single_families_is_that_of_scipy() -> None:
    values = np.random.default_rng(0).normal(0.3, 1.0, 60)
    ours = family_bootstrap(values, [str(i) for i in range(60)])
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(1)
    )
    low, high = np.quantile(ours, [0.025, 0.975])
    assert low == pytest.approx(theirs.confidence_interval.low, abs=0.02)
    assert high == pytest.approx(theirs.confidence_interval.high, abs=0.02)


def test_relatives_make_an_interval_wider_than_as_many_strangers() -> None:
    rng = np.random.default_rng(0)
    values = np.repeat(rng.normal(0, 1, 10), 10)
    families = [str(i // 10) for i in range(100)]
    strangers = [str(i) for i in range(100)]
    assert family_bootstrap(values, families).std() > 2 * family_bootstrap(values, strangers).std()


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=7))
def test_the_sign_flip_test_of_single_families_is_that_of_scipy(numbers: list[float]) -> None:
    values = np.round(np.array(numbers), 3)
    theirs = stats.permutation_test(
        (values,), np.mean, permutation_type="samples", alternative="greater", n_resamples=np.inf
    ).pvalue
    assert sign_flip_p(values, [str(i) for i in range(len(values))]) == pytest.approx(theirs)


def test_few_families_cannot_give_a_small_p() -> None:
    values, families = np.full(40, 1.0), [str(i % 3) for i in range(40)]
    assert sign_flip_p(values, families) == 1 / 8
    assert sign_flip_p(values, [str(i) for i in range(40)]) < 1e-3
    assert sign_flip_p(-values, families) == 1


def test_a_p_is_never_0() -> None:
    assert bootstrap_p(np.ones(99)) == pytest.approx(0.01)
    assert bootstrap_p(np.zeros(99)) == 1


def made(
    ddg_of: npt.NDArray[np.float64] | None = None,
    *,
    factors: int = 30,
    mutants: int = 6,
    folds: int = 3,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Variants of matched and shuffled sites; predictions with the wanted differences."""
    rng = np.random.default_rng(0)
    variants, predictions = [], []
    for factor in range(factors):
        for control in (MATCHED, "shuffled"):
            reference = f"f{factor}:{control}"
            for k in range(-1, mutants):
                consensus = k < 0
                variants.append(
                    {
                        "row_id": reference if consensus else f"{reference}:{k}",
                        "reference_id": reference,
                        "control": control,
                        "protein": f"f{factor}",
                        "family": f"fam{factor % 7}",
                        "profile": f"MA{factor}.1",
                        "probability": None if consensus else 0.05,
                        "log_odds_change_bits": 0.0 if consensus else -float(k + 1),
                        "information_bits": None if consensus else 0.4 * k,
                    }
                )
                for fold in range(folds):
                    base = -8.0 - factor
                    effect = 0.0
                    if not consensus and control == MATCHED and ddg_of is not None:
                        effect = float(ddg_of[k]) + 0.1 * fold
                    elif not consensus and ddg_of is not None:
                        effect = float(rng.normal(0, 0.01))
                    predictions.append(
                        {"model": "m", "fold": fold, "row_id": variants[-1]["row_id"],
                         "prediction": base + effect}
                    )  # fmt: skip
    return (
        pl.DataFrame(
            variants, schema_overrides={"probability": pl.Float64}, infer_schema_length=None
        ),
        pl.DataFrame(predictions),
    )


def value(table: pl.DataFrame, statistic: str, **where: object) -> dict[str, float]:
    wanted = {"control": MATCHED, "stratum": ALL_MUTANTS, "statistic": statistic, **where}
    lines = table.filter(*(pl.col(name) == item for name, item in wanted.items()))
    assert lines.height == 1, lines
    return dict(lines.row(0, named=True))


def test_the_sign_is_positive_where_the_mutant_binds_less() -> None:
    variants, predictions = made(np.arange(1.0, 7.0))
    ddg = differences(variants, predictions)
    assert ddg.height == 30 * 2 * 6 * 3
    matched = ddg.filter(pl.col("control") == MATCHED)
    assert matched.get_column("ddg_kcal_mol").min() == pytest.approx(1.0)
    table = specificity_table(ddg)
    # Effects 1 to 6 and 0.1 more a fold: 3.5, 3.6, 3.7.
    assert [value(table, FOLD, fold=fold)["value"] for fold in range(3)] == pytest.approx(
        [3.5, 3.6, 3.7]
    )
    over_folds = value(table, FOLD_MEAN)
    assert over_folds["value"] == pytest.approx(3.6)
    assert over_folds["error"] == pytest.approx(0.1 / math.sqrt(3))
    mean = value(table, FACTOR_MEAN)
    assert mean["value"] == pytest.approx(3.6)
    assert (mean["factors"], mean["families"], mean["mutants"], mean["folds"]) == (30, 7, 180, 3)
    assert mean["p_bootstrap"] < 1e-3
    assert mean["p_wilcoxon"] < 1e-3
    assert value(table, SHARE_POSITIVE)["value"] == 1
    assert value(table, SPEARMAN)["value"] > 0.98  # rounding breaks ties between factors
    assert value(table, WITHIN_SPEARMAN)["value"] == pytest.approx(1)
    assert value(table, FACTOR_MEAN, control="shuffled")["p_bootstrap"] > 0.01
    paired = value(table, MINUS_CONTROL, control="shuffled")
    assert paired["value"] == pytest.approx(3.6, abs=0.02)
    assert paired["p_bootstrap"] < 1e-3


def test_strata_hold_the_mutants_of_their_information() -> None:
    variants, predictions = made(np.arange(1.0, 7.0))
    table = specificity_table(differences(variants, predictions))
    means = {
        name: value(table, FACTOR_MEAN, stratum=name)["value"] - 0.1
        for name in ("0.0-0.5", "0.5-1.0", "1.0-1.5", "1.5-2.0")
    }
    # Information 0, 0.4 | 0.8 | 1.2 | 1.6, 2.0 bits of the mutants with effects 1 to 6.
    assert means == pytest.approx({"0.0-0.5": 1.5, "0.5-1.0": 3, "1.0-1.5": 4, "1.5-2.0": 5.5})


def test_a_blind_model_shows_nothing() -> None:
    variants, predictions = made(None)
    table = specificity_table(differences(variants, predictions))
    mean = value(table, FACTOR_MEAN)
    assert (mean["value"], mean["p_bootstrap"], mean["p_wilcoxon"]) == (0, 1, 1)
    assert value(table, SHARE_POSITIVE)["value"] == 0
    assert math.isnan(value(table, SPEARMAN)["value"])
    assert value(table, WITHIN_SPEARMAN)["value"] == 0


def test_a_protein_counts_once_whatever_its_mutants_and_profiles() -> None:
    variants, predictions = made(np.full(6, 1.0), factors=2, folds=1)
    # Half of the mutants of one factor are gone: the mean over factors stays.
    gone = [f"f0:{MATCHED}:{k}" for k in range(3)]
    predictions = predictions.with_columns(
        pl.col("prediction") + 4.0 * pl.col("row_id").str.starts_with(f"f1:{MATCHED}:")
    )
    some = differences(
        variants.filter(~pl.col("row_id").is_in(gone)),
        predictions.filter(~pl.col("row_id").is_in(gone)),
    )
    assert value(specificity_table(some), FACTOR_MEAN)["value"] == pytest.approx(3.0)


def test_predictions_of_other_rows_are_refused() -> None:
    variants, predictions = made(None, factors=3, folds=2)
    with pytest.raises(DataError, match="fold 1 did not predict each row once"):
        differences(variants, predictions.head(-1))
    twice = pl.concat([predictions, predictions.head(1)])
    with pytest.raises(DataError, match="fold 0 did not predict each row once"):
        differences(variants, twice)
    with pytest.raises(DataError, match="predicts no number"):
        differences(variants, predictions.with_columns(prediction=pl.lit(math.nan)))


def test_the_order_of_rows_and_folds_changes_nothing() -> None:
    variants, predictions = made(np.arange(1.0, 7.0), factors=8)
    table = specificity_table(differences(variants, predictions))
    turned = specificity_table(
        differences(variants.reverse(), predictions.sample(fraction=1, shuffle=True, seed=1))
    )
    keys = ["control", "stratum", "statistic", "fold"]
    a, b = table.sort(keys), turned.sort(keys)
    for name in ("value", "low", "high", "p_wilcoxon"):
        np.testing.assert_allclose(a[name].to_numpy(), b[name].to_numpy(), atol=1e-9)
