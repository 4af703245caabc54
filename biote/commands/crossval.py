"""Cross-validation: train and test every fold of a benchmark, and join the results.

Options of its own stand beside those of ``biote fit``, which are handed on. The same command goes
on with what was interrupted; on a cluster, ``--folds 3`` is one job of many.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    import jsonargparse

logger = logging.getLogger(__name__)

_OWN_KEYS: Final = {
    "--data.fold": "--folds",
    "--data.init_args.fold": "--folds",
    "--trainer.default_root_dir": "--output",
    "--ckpt_path": "nothing: an interrupted fold goes on by itself",
}


def add_arguments(parser: jsonargparse.ArgumentParser) -> None:
    """Declare the command's arguments.

    Args:
        parser: Parser of the command.
    """
    parser.add_argument(
        "--folds",
        type=str,
        default="all",
        help="test folds to run, '0,1,2' say; all by default. Every other option is one of biote "
        "fit: --config benchmark/pronab.yaml --data.root DIR ...",
    )
    parser.add_argument(
        "--seeds",
        type=int,
        nargs="+",
        default=None,
        help="seeds of weights and order of rows; each fold is run with each, and a row for the "
        "mean of their predictions is added",
    )
    parser.add_argument(
        "--output",
        type=Path | None,
        default=None,
        help="folder of the folds (fold-0, fold-1, ...) and of the joined tables; by default "
        "'crossval' beside trainer.default_root_dir",
    )
    parser.add_argument(
        "--join",
        action="store_true",
        help="run nothing and join the folds of --folds that are done",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="run a fold anew that was run with another configuration",
    )
    parser.add_argument(
        "--trees",
        type=bool,
        default=True,
        help="whether gradient-boosted trees on k-mers are a baseline (needs biote[baselines])",
    )
    parser.add_argument(
        "--tree_kmers",
        type=Literal[2, 3],
        default=2,
        help="longest k-mer of proteins that the trees look at: 3 makes a fold of ProNAB take "
        "minutes, and is a model of its own name in the table",
    )


def run(arguments: jsonargparse.Namespace, options: Sequence[str]) -> None:
    """Run the folds that are not done, then join if all are there.

    Args:
        arguments: Parsed arguments of `add_arguments`.
        options: Options of ``biote fit``.

    Raises:
        BioteError: If something the user gave cannot be used.
    """
    from lightning.pytorch.utilities import rank_zero_only

    from biote.baselines.trees import require_trees
    from biote.commands.fold_runs import done_folds, fold_run, run_fold
    from biote.commands.joined_folds import join_folds
    from biote.commands.lightning_cli import RequestedRun
    from biote.commands.training import quiet
    from biote.errors import ConfigError
    from biote.tasks.stopping import Stopped

    for option in options:
        name = option.partition("=")[0]
        if name in _OWN_KEYS:
            raise ConfigError("crossval sets it itself", where=name, mend=f"give {_OWN_KEYS[name]}")
    quiet()
    config = RequestedRun(list(options)).config["fit"]
    count = config.data.init_args.get("folds")
    if count is None or config.data.init_args.get("split_column") is not None:
        raise ConfigError(
            f"{config.data.class_path.rpartition('.')[2]} is not divided into folds here",
            where="data",
            mend="use a datamodule with folds and a fold_file",
        )
    folds = _chosen(arguments.folds, count)
    output = arguments.output or Path(config.trainer.default_root_dir).parent / "crossval"
    seeds: list[int | None] = list(arguments.seeds or [None])
    trees = arguments.trees and bool(config.baselines) and _predicts_rows(config.data.class_path)
    if trees and not arguments.join:
        require_trees()
    if not arguments.join:
        for fold in folds:
            for seed in seeds:
                try:
                    run_fold(
                        fold_run(output, fold, seed),
                        options,
                        overwrite=arguments.overwrite,
                        trees=trees,
                        tree_kmers=arguments.tree_kmers,
                    )
                except Stopped as stopped:
                    logger.info("%s. The same command goes on.", stopped)
                    return
    if getattr(rank_zero_only, "rank", 0):  # Lightning has set it
        return  # of several processes the first joins
    wanted = folds if arguments.join else list(range(count))
    done = {(one.run.fold, one.run.seed): one for one in done_folds(output)}
    missing = [(f, s) for f in wanted for s in seeds if (f, s) not in done]
    if missing:
        names = ", ".join(fold_run(output, *one).folder.name for one in missing)
        if arguments.join:
            raise ConfigError(
                f"not done: {names}",
                where=str(output),
                mend="run them, or name with --folds (and --seeds) what is to be joined",
            )
        logger.info("Not joined yet, to be done: %s.", names)
        return
    join_folds(output, [done[f, s] for f in wanted for s in seeds], name=output.resolve().name)


def _predicts_rows(data_class: str) -> bool:
    """Whether a datamodule has a number or a class for every row, which trees can predict.

    Args:
        data_class: Path of the class.
    """
    module, _, name = data_class.rpartition(".")
    kind = getattr(getattr(importlib.import_module(module), name), "target_kind", None)
    return kind in ("regression", "classification")


def _chosen(text: str, count: int) -> list[int]:
    """Numbers of folds from ``all`` or ``0,1,2``.

    Raises:
        ConfigError: If one is no number or not among the folds.
    """
    from biote.errors import ConfigError

    if text == "all":
        return list(range(count))
    try:
        folds = sorted({int(part) for part in text.split(",")})
    except ValueError:
        folds = [-1]
    if not 0 <= folds[0] <= folds[-1] < count:
        raise ConfigError(
            f"{text!r} are not among the {count} folds",
            where="--folds",
            mend=f"give numbers from 0 to {count - 1} with commas between, or 'all'",
        )
    return folds
