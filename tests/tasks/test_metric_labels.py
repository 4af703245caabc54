from __future__ import annotations

import pytest

from biote.tasks.metric_labels import metric_label


@pytest.mark.parametrize(
    ("metric", "label"),
    [
        ("pcc", "PCC"),
        ("macro_f1", "macro F1"),
        ("within_protein_spearman", "within protein Spearman"),
        ("auroc_8A", "AUROC 8 Å"),
        ("p_at_l_long", "P@L long"),
        ("p_at_l5_medium_long", "P@L/5 medium long"),
        ("upper_bound_p_at_l5_medium_long", "upper bound P@L/5 medium long"),
        ("chance_at_10_gene_to_protein", "chance at 10 gene to protein"),
        ("best_mae", "best MAE"),
    ],
)
def test_metrics_are_written_as_the_field_does(metric: str, label: str) -> None:
    assert metric_label(metric) == label
