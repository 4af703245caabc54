"""Arguments of commands that predict with trained models of binding free energy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import jsonargparse


def add_model_arguments(parser: jsonargparse.ArgumentParser) -> None:
    """Declare which models predict, and their tokenizer.

    Args:
        parser: Parser of the command.
    """
    parser.add_argument(
        "--checkpoint",
        type=Path,
        nargs="+",
        required=True,
        help="checkpoints of a Delta G model, of one fold or of all folds; their mean is given",
    )
    parser.add_argument(
        "--tokenizer",
        type=str | None,
        default=None,
        help="'character' or a tokenizer, corpus or encoder folder; by default that of training",
    )
