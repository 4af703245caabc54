"""JASPAR with every fold model of a cross-validation, joined into one table and picture.

Options of its own stand beside those of ``biote test``, which are handed on. What the models are
is read from their checkpoints. The same command goes on where it was interrupted.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import jsonargparse

logger = logging.getLogger(__name__)

_CONFIG: Final = "benchmark/jaspar.yaml"
_OWN_KEYS: Final = {
    "--data.fold": "--folds",
    "--data.init_args.fold": "--folds",
    "--trainer.default_root_dir": "--output",
    "--ckpt_path": "--crossval",
}


def add_arguments(parser: jsonargparse.ArgumentParser) -> None:
    """Declare the command's arguments.

    Args:
        parser: Parser of the command.
    """
    parser.add_argument(
        "--crossval",
        type=Path,
        required=True,
        help="folder of biote crossval, with fold-0/checkpoints/best.ckpt and so on. Every other "
        f"option is one of biote test; without --config that is {_CONFIG}",
    )
    parser.add_argument(
        "--folds", type=str, default="all", help="fold models to test, '0,1,2' say; all by default"
    )
    parser.add_argument(
        "--control",
        type=bool,
        default=True,
        help="whether the encoders with random weights that crossval trained beside the folds are "
        "tested, too",
    )
    parser.add_argument(
        "--baselines",
        type=bool,
        default=True,
        help="whether a ridge regression on k-mers is fitted on the training rows of every fold "
        "and tested beside its model; it adds up protein and strands, so its differences are the "
        "same for every protein",
    )
    parser.add_argument(
        "--trees",
        type=bool,
        default=True,
        help="whether gradient-boosted trees on k-mers are, too (needs biote[baselines])",
    )
    parser.add_argument(
        "--output", type=Path, default=Path("runs/jaspar"), help="folder to write to"
    )


def run(arguments: jsonargparse.Namespace, options: Sequence[str]) -> None:
    """Test every fold model that was not tested yet, then join.

    Args:
        arguments: Parsed arguments of `add_arguments`.
        options: Options of ``biote test``.

    Raises:
        BioteError: If something the user gave cannot be used.
    """
    from biote.baselines.trees import require_trees
    from biote.commands.fold_models import (
        KmerModels,
        beside_one_of_each_fold,
        find_fold_models,
        join_tests,
        test_fold_model,
    )
    from biote.commands.parsing import find_shipped
    from biote.commands.specificity_rows import print_specificity, specificity_rows
    from biote.errors import ConfigError

    for option in options:
        name = option.partition("=")[0]
        if name in _OWN_KEYS:
            raise ConfigError(
                "specificity sets it itself", where=name, mend=f"give {_OWN_KEYS[name]}"
            )
    options = list(options)
    if not any(option.partition("=")[0] == "--config" for option in options):
        options = ["--config", find_shipped(_CONFIG), *options]
    models = find_fold_models(arguments.crossval, arguments.folds, control=arguments.control)
    logger.info("%d checkpoints below %s.", len(models), arguments.crossval)
    kmers = KmerModels(ridge=arguments.baselines, trees=arguments.baselines and arguments.trees)
    if kmers.trees:
        require_trees()
    folders = [
        test_fold_model(model, options, arguments.output, kmers=beside)
        for model, beside in zip(models, beside_one_of_each_fold(models, kmers), strict=True)
    ]
    examples = join_tests(models, folders, arguments.output)
    specificity_rows(arguments.output, examples)
    print_specificity(arguments.output)
    logger.info("Tables and picture written to %s.", arguments.output)
