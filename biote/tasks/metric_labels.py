"""How metrics are written in tables and pictures."""

from __future__ import annotations

import re
from typing import Final

_ACRONYMS: Final = {
    word: word.upper() for word in ("auprc", "auroc", "f1", "mae", "mcc", "mse", "pcc", "rmse")
} | {"spearman": "Spearman"}
_BEST_PAIRS: Final = re.compile(r"p_at_l(\d?)_")
_ANGSTROM: Final = re.compile(r"^(\d+)A$")


def metric_label(metric: str) -> str:
    """A metric as the field writes it: ``P@L/5 medium long``, ``AUROC 8 Å``, ``macro F1``.

    Args:
        metric: Name of the metric in results.
    """
    metric = _BEST_PAIRS.sub(lambda found: f"P@L{found[1] and '/' + found[1]}_", metric)
    words = metric.split("_")
    return " ".join(_ANGSTROM.sub(r"\1 Å", _ACRONYMS.get(word, word)) for word in words)
