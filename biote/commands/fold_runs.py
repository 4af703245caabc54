"""One fold of a cross-validation: trained, tested, compared, and remembered as done."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl
import yaml

from biote.atomic import atomic_path, write_text_atomic
from biote.baselines.trees import LONGEST_OF_PROTEIN
from biote.commands.comparison import tree_rows
from biote.commands.lightning_cli import BioteCLI, RequestedRun
from biote.commands.runs import AUTO, CHECKPOINTS
from biote.commands.training import compared_rows, launch
from biote.datamodules.ablation import ABLATIONS, AblationSettings
from biote.datamodules.base import LabelledDataModule
from biote.errors import ConfigError, DataError
from biote.modules.weights import load_encoder_config
from biote.tasks.results import PREDICTIONS_FILE, RESULTS_FILE

logger = logging.getLogger(__name__)

ROWS_FILE: Final = "rows.parquet"
DONE_FILE: Final = "crossval.json"
REQUEST_FILE: Final = "requested.yaml"
_FOLDER: Final = re.compile(r"fold-(\d+)(?:-seed-(\d+))?")
_FORMAT: Final = 1


@dataclass(frozen=True)
class FoldRun:
    """Where one fold with one seed is run."""

    folder: Path
    fold: int
    seed: int | None
    """Null leaves the seeds to the configuration."""


@dataclass(frozen=True)
class DoneFold:
    """A fold that is trained, tested and compared."""

    run: FoldRun
    protocol: str
    """SHA-256 over what all folds of a cross-validation share of their configuration."""

    target_kind: str
    """regression or classification."""

    folds: int
    """Number of folds the rows are dealt into."""

    rule: str | None
    """Rule by which they are dealt, where the benchmark has a choice."""

    outputs: tuple[str, ...] = ()
    """What each output is called, where outputs have names."""


def fold_run(output: Path, fold: int, seed: int | None) -> FoldRun:
    """The run of a fold and its folder, ``fold-K`` or ``fold-K-seed-S``.

    Args:
        output: Folder of the cross-validation.
        fold: Test fold.
        seed: Seed of weights and order of rows, or null.
    """
    name = f"fold-{fold}" if seed is None else f"fold-{fold}-seed-{seed}"
    return FoldRun(output / name, fold, seed)


def run_fold(
    run: FoldRun, options: Sequence[str], *, overwrite: bool, trees: bool, tree_kmers: int
) -> bool:
    """Train and test a fold, or go on with it; nothing is done twice.

    Args:
        run: Fold, seed and folder.
        options: Options of ``biote fit`` that all folds share.
        overwrite: Whether a fold that was run with another configuration is run anew.
        trees: Whether gradient-boosted trees are a baseline.
        tree_kmers: Longest k-mer of proteins that these look at.

    Returns:
        Whether something was left to do.

    Raises:
        ConfigError: If the folder holds a fold of another configuration.
        Stopped: If a signal ended the training, which has saved itself.
    """
    own = _options(run, options)
    requested = RequestedRun(own)
    # The default says nothing of k-mers.
    baseline = tree_kmers if trees and tree_kmers != LONGEST_OF_PROTEIN else trees
    weights = _starting_weights(requested.training_config)
    text = f"# trees: {baseline}; starts from: {' '.join(weights)}\n{requested.training_config}"
    anew = _check_request(run, text, overwrite=overwrite)
    if (run.folder / DONE_FILE).is_file():
        logger.info("%s: done.", run.folder)
        return False
    logger.info("%s: fold %d%s.", run.folder, run.fold, _seed_text(run))
    start = [f"--overwrite={str(anew).lower()}", f"--ckpt_path={AUTO}"]
    launch("fit", [*own, *start])
    tested = launch("test", own)
    alone = tested.trainer.is_global_zero
    if alone:
        rows = compared_rows(tested)
        if trees:
            assert isinstance(tested.datamodule, LabelledDataModule)
            tree_rows(tested.datamodule, rows[0], run.folder, protein_k_max=tree_kmers)
    _test_ablations(tested)  # of several processes each has its share of the rows
    if alone:
        _finish(run, tested, _protocol(requested.training_config, trees=baseline, weights=weights))
    return True


def done_folds(output: Path) -> list[DoneFold]:
    """The folds below a folder that are done, by number of fold and seed.

    Args:
        output: Folder of the cross-validation.

    Raises:
        DataError: If what says so cannot be read.
    """
    found: list[DoneFold] = []
    for path in sorted(output.glob(f"fold-*/{DONE_FILE}")):
        if _FOLDER.fullmatch(path.parent.name) is None:
            continue
        for name in (RESULTS_FILE, PREDICTIONS_FILE, ROWS_FILE):
            if not (path.parent / name).is_file():
                raise DataError(
                    f"{name} is gone",
                    where=str(path.parent),
                    mend=f"delete {path} and run the fold again",
                )
        try:
            content: dict[str, Any] = json.loads(path.read_text())
            found.append(
                DoneFold(
                    FoldRun(path.parent, content["fold"], content["seed"]),
                    protocol=content["protocol"],
                    target_kind=content["target_kind"],
                    folds=content["folds"],
                    rule=content["rule"],
                    outputs=tuple(content.get("outputs", ())),
                )
            )
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                "not what a finished fold leaves",
                where=str(path),
                mend="delete it and run the fold again",
            ) from error
    return sorted(found, key=lambda done: (done.run.fold, done.run.seed or 0))


def _options(run: FoldRun, options: Sequence[str]) -> list[str]:
    """Options of one fold: its number, seed and folders come last and win."""
    own = [
        *options,
        f"--data.fold={run.fold}",
        f"--trainer.default_root_dir={run.folder}",
        f"--checkpoint.dirpath={run.folder / CHECKPOINTS}",
        f"--last_checkpoint.dirpath={run.folder / CHECKPOINTS}",
    ]
    if run.seed is not None:
        own += [
            f"--seed_everything={run.seed}",
            f"--data.seed={run.seed}",
            f"--model.init_seed={run.seed}",
        ]
    return own


def _seed_text(run: FoldRun) -> str:
    return "" if run.seed is None else f", seed {run.seed}"


def _check_request(run: FoldRun, text: str, *, overwrite: bool) -> bool:
    """Write down what a fold is run with; whether an earlier run of it is to be replaced."""
    request = run.folder / REQUEST_FILE
    earlier = request.read_text() if request.is_file() else None
    if earlier is not None and _without_paths(earlier) == _without_paths(text):
        return False
    started = (run.folder / CHECKPOINTS).exists() or (run.folder / RESULTS_FILE).exists()
    if started and not overwrite:
        raise ConfigError(
            f"{run.folder} was run with another configuration or other weights",
            where="--output",
            mend="name another folder, or replace what is there with --overwrite",
        )
    (run.folder / DONE_FILE).unlink(missing_ok=True)
    if started:
        # A checkpoint of the other configuration must not be gone on from.
        (run.folder / CHECKPOINTS / "last.ckpt").unlink(missing_ok=True)
    write_text_atomic(request, text)
    return started


def shared_settings(text: str) -> dict[str, Any]:
    """A training configuration without the paths of its run.

    Args:
        text: What a fold was requested with, as YAML.
    """
    content: dict[str, Any] = yaml.safe_load(text)
    content["trainer"].pop("default_root_dir")
    for name in ("checkpoint", "last_checkpoint"):
        content[name].pop("dirpath")
    return content


def _without_paths(text: str) -> str:
    comment = text.partition("\n")[0] if text.startswith("#") else ""
    return comment + yaml.safe_dump(shared_settings(text))


def _starting_weights(training_config: str) -> list[str]:
    """Fingerprints of the encoders a fold starts from: a folder may come to hold another one."""
    model = yaml.safe_load(training_config)["model"]["init_args"]
    folders = [
        half.get("encoder_checkpoint") for half in (model, model.get("nucleic_encoder") or {})
    ]
    return [load_encoder_config(Path(folder)).weights_fingerprint for folder in folders if folder]


def _protocol(training_config: str, *, trees: int, weights: Sequence[str]) -> str:
    """SHA-256 over what folds and seeds of one cross-validation have in common."""
    content = shared_settings(training_config) | {"trees": trees, "starts from": list(weights)}
    content.pop("seed_everything")
    data, model = content["data"]["init_args"], content["model"]["init_args"]
    for name in ("fold", "seed", "fold_file", "root", "num_workers"):
        data.pop(name, None)
    model.pop("init_seed", None)
    return hashlib.sha256(yaml.safe_dump(content).encode()).hexdigest()


def _test_ablations(tested: BioteCLI) -> None:
    """Test the same weights on rows without their strands, and with those of other rows."""
    data = tested.datamodule
    assert isinstance(data, LabelledDataModule)
    if "ablation" not in tested.config["test"].data.init_args or data.ablation.trained:
        return
    before = data.ablation
    # An encoder that reads nucleic acids alone has nothing to read where there are none.
    alone = data.nucleic_tokenizer is not None
    if alone:
        logger.info("Not tested on proteins alone: one of the two encoders would read nothing.")
    for kind in ABLATIONS[:1] if alone else ABLATIONS:
        data.ablation = AblationSettings(kind=kind)
        tested.trainer.test(tested.model, datamodule=data, verbose=False)
    data.ablation = before


def _finish(run: FoldRun, tested: BioteCLI, protocol: str) -> None:
    """Write what joining needs beside results and predictions, the mark that all is there last."""
    data = tested.datamodule
    assert isinstance(data, LabelledDataModule)
    _write(data.row_facts(), run.folder / ROWS_FILE)
    content = {
        "format": _FORMAT,
        "fold": run.fold,
        "seed": run.seed,
        "folds": tested.config["test"].data.init_args.folds,
        "rule": tested.config["test"].data.init_args.get("rule"),
        "protocol": protocol,
        "target_kind": data.target_kind,
        "outputs": list(getattr(data, "output_names", ())),
    }
    write_text_atomic(run.folder / DONE_FILE, json.dumps(content, indent=2) + "\n")


def _write(frame: pl.DataFrame, path: Path) -> None:
    with atomic_path(path) as partial:
        frame.write_parquet(partial)
