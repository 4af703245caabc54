from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.nn import functional

from biote.contrastive_batch import Negatives
from biote.tasks.clip import clip_loss
from biote.tasks.clip_metrics import HeldOutPairs, _compare, clip_scores


def make(n: int, *, noise: float, seed: int = 0) -> HeldOutPairs:
    generator = torch.Generator().manual_seed(seed)
    genes = torch.randn(n, 8, generator=generator)
    proteins = genes + noise * torch.randn(n, 8, generator=generator)
    lengths = torch.randint(50, 90, (n,), generator=generator)
    twins = torch.arange(n)
    protein_numbers = torch.arange(n)
    twins[1] = twins[0]  # pairs 0 and 1 have one protein
    protein_numbers[1] = protein_numbers[0]
    proteins[1] = proteins[0]
    return HeldOutPairs(
        genes=functional.normalize(genes, dim=1),
        proteins=functional.normalize(proteins, dim=1),
        protein_numbers=protein_numbers,
        gene_numbers=torch.arange(n),
        twins=twins,
        genomes=torch.randint(0, 3, (n,), generator=generator),
        gene_lengths=3 * lengths,
        protein_lengths=lengths,
        groups=twins // 2,
    )


def values(pairs: HeldOutPairs) -> dict[str, float]:
    return {score.metric: score.value for score in clip_scores(pairs)}


def brute_force(pairs: HeldOutPairs, kind: str) -> tuple[float, float]:
    """AUROC over all pairs by scikit-learn, and the mean rank of every query, by loops."""
    cosines = (pairs.genes @ pairs.proteins.T).numpy()
    n = len(cosines)

    def negative(i: int, j: int) -> bool:
        if pairs.twins[i] == pairs.twins[j]:
            return False
        if "genome" in kind and pairs.genomes[i] != pairs.genomes[j]:
            return False
        a, b = int(pairs.protein_lengths[i]), int(pairs.protein_lengths[j])
        return "length" not in kind or max(a, b) <= 1.1 * min(a, b)

    others = [cosines[i, j] for i in range(n) for j in range(n) if negative(i, j)]
    auroc = roc_auc_score([1] * n + [0] * len(others), [*cosines.diagonal(), *others])
    shares = []
    for matrix in (cosines, cosines.T):
        for i in range(n):
            beaten = [matrix[i, i] > matrix[i, j] for j in range(n) if negative(i, j)]
            shares += [np.mean(beaten)] if beaten else []
    return float(auroc), float(np.mean(shares))


@pytest.mark.parametrize(
    "kind", ["", "_within_genome", "_length_matched", "_within_genome_length_matched"]
)
def test_metrics_are_those_of_a_plain_computation(kind: str) -> None:
    pairs = make(60, noise=1.5)
    auroc, ranked = brute_force(pairs, kind)
    found = values(pairs)
    assert found[f"auroc{kind}"] == pytest.approx(auroc, abs=1e-4)
    assert found[f"ranked_above{kind}"] == pytest.approx(ranked, abs=1e-4)


def test_retrieval_is_that_of_a_plain_computation() -> None:
    pairs = make(60, noise=1.5)
    cosines = (pairs.genes @ pairs.proteins.T).numpy()
    hits = chance = 0.0
    for i in range(60):
        # The second pair of the shared protein is no candidate of its own, nor a wrong answer.
        rivals = [j for j in range(60) if j != 1 and pairs.twins[i] != pairs.twins[j]]
        better = sum(cosines[i, j] > cosines[i, i] for j in rivals)
        hits += better < 10
        chance += 10 / (len(rivals) + 1)
    found = values(pairs)
    assert found["recall_at_10_gene_to_protein"] == pytest.approx(hits / 60)
    assert found["chance_at_10_gene_to_protein"] == pytest.approx(chance / 60)
    assert found["recall_at_100_gene_to_protein"] == 1
    assert found["chance_at_100_gene_to_protein"] == 1


def test_perfect_features_find_everything_and_equal_ones_nothing() -> None:
    pairs = make(300, noise=0.0)
    perfect = HeldOutPairs(**{**vars(pairs), "genes": pairs.proteins})
    found = values(perfect)
    assert found["auroc"] == 1
    assert found["recall_at_1_gene_to_protein"] == 1
    same = torch.ones_like(perfect.genes) / 8**0.5
    collapsed = HeldOutPairs(**{**vars(perfect), "genes": same, "proteins": same})
    found = values(collapsed)
    assert found["auroc"] == found["ranked_above_within_genome"] == 0.5
    for k in (1, 10, 100):
        for way in ("gene_to_protein", "protein_to_gene"):
            assert found[f"recall_at_{k}_{way}"] == pytest.approx(found[f"chance_at_{k}_{way}"])


def test_random_features_are_at_chance() -> None:
    pairs = make(400, noise=1e4)
    found = values(pairs)
    assert abs(found["auroc"] - 0.5) < 0.05
    assert abs(found["recall_at_100_gene_to_protein"] - 0.25) < 0.07
    assert found["chance_at_100_gene_to_protein"] == pytest.approx(100 / 399, abs=1e-3)


@pytest.mark.parametrize("kind", ["", "_within_genome_length_matched"])
def test_the_influence_of_a_pair_is_what_one_more_of_it_would_change(kind: str) -> None:
    pairs = make(150, noise=1.5)
    base = values(pairs)[f"auroc{kind}"]
    negatives = Negatives.ANY if not kind else Negatives(kind[1:])
    found = _compare(pairs, (pairs.genes * pairs.proteins).sum(1), reverse=False)
    influence = found.influence[negatives]
    assert float(influence.sum()) == pytest.approx(0, abs=1e-9)
    moved = []
    for i in range(0, 150, 10):
        # Twice the same pair: the copy is a twin, so no negative of its original.
        more = pairs.take(torch.tensor([*range(150), i]))
        moved.append(values(more)[f"auroc{kind}"] - base)
    expected = influence[::10].numpy()
    assert np.abs(np.array(moved) - expected).max() < 0.06 * np.abs(expected).max()


def test_intervals_are_those_of_a_bootstrap_over_whole_groups() -> None:
    pairs = make(90, noise=1.5)
    pairs = HeldOutPairs(**{**vars(pairs), "groups": torch.arange(90) // 3})
    found = values(pairs)
    rng = np.random.default_rng(1)
    replicates: dict[str, list[float]] = {"auroc": [], "auroc_within_genome": []}
    for _ in range(300):
        drawn = rng.integers(0, 30, 30)
        rows = torch.from_numpy((3 * drawn[:, None] + np.arange(3)).ravel())
        taken = pairs.take(rows)
        again = _compare(taken, (taken.genes * taken.proteins).sum(1), reverse=False).auroc
        replicates["auroc"].append(again[Negatives.ANY])
        replicates["auroc_within_genome"].append(again[Negatives.WITHIN_GENOME])
    for name, numbers in replicates.items():
        low, high = np.quantile(numbers, [0.025, 0.975])
        width = high - low
        assert found[f"{name}_low"] == pytest.approx(low, abs=0.2 * width)
        assert found[f"{name}_high"] == pytest.approx(high, abs=0.2 * width)
        assert found[f"{name}_low"] < found[name] < found[f"{name}_high"]
    # Of single pairs, a recall is a share of independent hits.
    single = HeldOutPairs(**{**vars(pairs), "groups": torch.arange(90)})
    recall = values(single)["recall_at_10_gene_to_protein"]
    half = 1.96 * (recall * (1 - recall) / 90) ** 0.5
    ends = [values(single)[f"recall_at_10_gene_to_protein_{end}"] for end in ("low", "high")]
    assert ends == pytest.approx([recall - half, recall + half], abs=0.35 * half)


def test_one_group_gives_no_interval_and_relatives_a_wider_one() -> None:
    pairs = make(120, noise=1.0)
    # Four copies of thirty pairs: no more evidence than thirty.
    copies = pairs.take(torch.arange(120) % 30)
    single = values(HeldOutPairs(**{**vars(copies), "groups": torch.arange(120)}))
    whole = values(HeldOutPairs(**{**vars(copies), "groups": torch.arange(120) % 30}))
    for name in ("auroc", "ranked_above", "recall_at_1_gene_to_protein"):
        wide, narrow = (v[f"{name}_high"] - v[f"{name}_low"] for v in (whole, single))
        assert wide > 1.5 * narrow
    one = values(HeldOutPairs(**{**vars(pairs), "groups": torch.zeros(120)}))
    assert np.isnan(one["auroc_low"])
    assert np.isnan(one["recall_at_1_gene_to_protein_high"])


def plain_loss(genes: Tensor, proteins: Tensor) -> float:
    logits = (genes @ proteins.T / 0.07).double().numpy()
    rows = np.log(np.exp(logits).sum(1)) - logits.diagonal()
    columns = np.log(np.exp(logits).sum(0)) - logits.diagonal()
    return float((rows.mean() + columns.mean()) / 2)


def test_the_loss_is_symmetric_cross_entropy_without_twins() -> None:
    pairs = make(6, noise=1.0)
    distinct = torch.arange(6)
    loss = clip_loss(pairs.genes, pairs.proteins, distinct, temperature=0.07)
    assert float(loss) == pytest.approx(plain_loss(pairs.genes, pairs.proteins), rel=1e-4)
    swapped = clip_loss(pairs.proteins, pairs.genes, distinct, temperature=0.07)
    assert torch.isclose(loss, swapped)
    assert clip_loss(pairs.genes, pairs.proteins, pairs.twins, temperature=0.07) < loss
