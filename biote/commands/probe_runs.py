"""Cross-validations of residue tasks that are to be compared, and whether they can be."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import polars as pl

from biote.commands.fold_runs import (
    REQUEST_FILE,
    ROWS_FILE,
    DoneFold,
    done_folds,
    shared_settings,
)
from biote.errors import DataError
from biote.modules.base import RANDOM
from biote.tasks.paired_residues import KEYS
from biote.tasks.results import PREDICTIONS_FILE, ResultRow, read_results
from biote.tasks.run_record import RUN_FILE

_TESTED: Final = "test"
_COMPARED_SECTIONS: Final = ("seed_everything", "model", "data")
_COMPARED_OF_TRAINER: Final = (
    "max_steps",
    "max_epochs",
    "accumulate_grad_batches",
    "gradient_clip_val",
    "precision",
    "limit_train_batches",
)
_OWN_KEYS: Final = frozenset(
    {
        "model.init_args.encoder",
        "model.init_args.encoder_checkpoint",
        "model.init_args.encoder_weights",
        "model.init_args.compute",
        "data.init_args.root",
        "data.init_args.fold_file",
        "data.init_args.tokenizer",  # a path: what is in it is compared by its fingerprint
        "data.init_args.num_workers",
    }
)
"""What may differ: the encoder, and where files are. What those hold is compared itself."""


@dataclass(frozen=True)
class ProbeRun:
    """The folds of one cross-validation."""

    name: str
    folder: Path
    folds: list[DoneFold]
    predicted: pl.DataFrame
    """All predictions in the folds' folders."""

    results: pl.DataFrame
    """All results in them."""

    residues: pl.DataFrame
    """Columns seed, fold, row_id, position, output, target, prediction of labelled residues."""

    labels: tuple[str, ...]
    """What each output answers."""

    fold_file: Path
    example: ResultRow
    """A result of the run, whose benchmark, head and fingerprints it shares."""


def read_run(folder: Path, name: str) -> ProbeRun:
    """Read the folds below a folder of ``biote crossval``.

    Args:
        folder: Its output folder; folds that are not done are left out.
        name: What the run is called.

    Raises:
        DataError: If no fold is done, its labels are not of residues, or files are missing.
    """
    folds = done_folds(folder)
    if not folds:
        raise DataError(
            "no fold is done there",
            where=str(folder),
            mend="give the --output of biote crossval --config benchmark/attention_probe.yaml",
        )
    if any(done.target_kind != "residues" or not done.outputs for done in folds):
        raise DataError(
            "no yes-or-no predictions for residues",
            where=str(folder),
            mend="give a cross-validation of a residue benchmark with named outputs",
        )
    if len({(done.protocol, done.folds, done.outputs) for done in folds}) > 1:
        raise DataError(
            "the folds were run with different settings",
            where=str(folder),
            mend="run them anew with one configuration and --overwrite",
        )
    seeds = {done.run.seed for done in folds}
    if {(d.run.fold, d.run.seed) for d in folds} != {(d.run.fold, s) for d in folds for s in seeds}:
        raise DataError(
            "not every fold was run with every seed",
            where=str(folder),
            mend="run the same biote crossval --seeds again: it goes on with what is missing",
        )
    results = read_results([done.run.folder for done in folds])
    tested = results.filter((pl.col("head") != "-") & (pl.col("split") == _TESTED))
    predicted = pl.concat([_predictions(done) for done in folds])
    models = sorted(set(tested.get_column("model")) & set(predicted.get_column("model")))
    # Beside a pre-trained encoder its control stands in the same files.
    own = [model for model in models if model != RANDOM]
    models = own or models
    if len(models) != 1:
        raise DataError(
            f"predictions of {len(models)} trained models ({', '.join(models)}), not of one",
            where=str(folder),
            mend="run the folds anew, in a folder of their own",
        )
    mine = _labelled(predicted, models[0])
    if not mine.get_column("target").is_in([0.0, 1.0]).all():
        raise DataError(
            "targets that are neither 0 nor 1",
            where=str(folder),
            mend="only yes-or-no questions are compared here",
        )
    settings = shared_settings((folds[0].run.folder / REQUEST_FILE).read_text())
    example = tested.filter(pl.col("model") == models[0]).row(0, named=True)
    return ProbeRun(
        name,
        folder,
        folds,
        predicted,
        results,
        mine.select(*KEYS, "target", "prediction"),
        folds[0].outputs,
        Path(settings["data"]["init_args"]["fold_file"]),
        ResultRow(**example),
    )


def control_of(run: ProbeRun) -> ProbeRun | None:
    """The same folds with the encoder of random weights that was trained beside each.

    Args:
        run: A run that started from a pre-trained encoder.

    Returns:
        Its control, or null where not every fold has one.
    """
    residues = _labelled(run.predicted, RANDOM)
    if run.example.model == RANDOM or residues.height != run.residues.height:
        return None
    example = run.results.filter(pl.col("model") == RANDOM).row(0, named=True)
    return replace(
        run, name=RANDOM, residues=residues.select(run.residues.columns),
        example=ResultRow(**example),
    )  # fmt: skip


def check_comparable(base: ProbeRun, other: ProbeRun) -> None:
    """Refuse two runs that differ in more than the weights of their encoders.

    Args:
        base: One run.
        other: Another run.

    Raises:
        DataError: Naming what differs: folds, seeds, rows, sides of the split, targets, settings,
            the sizes of the encoders or their tokenizers.
    """
    where = f"{base.folder} and {other.folder}"
    rerun = "run both with the same configuration, fold file and seeds"

    def refuse(what: str) -> DataError:
        return DataError(what, where=where, mend=rerun)

    mine, theirs = _places(base), _places(other)
    if mine != theirs:
        only = sorted(mine ^ theirs, key=str)[0]
        raise refuse(f"fold {only[0]}, seed {only[1]} is there in one of them only")
    for one, two in zip(base.folds, other.folds, strict=True):
        place = f"fold {one.run.fold}"
        if not _sides(one).equals(_sides(two)):
            raise refuse(f"{place} has other rows in training or test")
        for key, (first, second) in _differences(_settings(one), _settings(two)):
            raise refuse(f"{place} was run with {key} {first} and {second}")
        for key, (first, second) in _differences(_record(one), _record(two)):
            raise refuse(f"{place}: {key} is {first} and {second}")
    if base.labels != other.labels:
        raise refuse(f"outputs are {', '.join(base.labels)} and {', '.join(other.labels)}")
    if base.example.data_fingerprint != other.example.data_fingerprint:
        raise refuse("the rows of the data differ")
    keys = [*KEYS, "target"]
    if not base.residues.select(keys).sort(KEYS).equals(other.residues.select(keys).sort(KEYS)):
        raise refuse("other residues were scored, or with other targets")


def _places(run: ProbeRun) -> set[tuple[int, int | None]]:
    return {(done.run.fold, done.run.seed) for done in run.folds}


def _labelled(predicted: pl.DataFrame, model: str) -> pl.DataFrame:
    """Predictions of one model for tested residues that have a label."""
    return predicted.filter(
        (pl.col("model") == model) & (pl.col("split") == _TESTED) & pl.col("target").is_not_nan()
    )


def _predictions(done: DoneFold) -> pl.DataFrame:
    frame = pl.read_parquet(done.run.folder / PREDICTIONS_FILE)
    if frame.filter(pl.col("fold") != done.run.fold).height or "position" not in frame.columns:
        raise DataError(
            "not the predictions of its own fold for residues",
            where=str(done.run.folder / PREDICTIONS_FILE),
            mend="delete the folder and run the fold again",
        )
    return frame.with_columns(pl.lit(done.run.seed, pl.Int64).alias("seed"))


def _sides(done: DoneFold) -> pl.DataFrame:
    """On which side of the split every row stands."""
    facts = pl.read_parquet(done.run.folder / ROWS_FILE)
    return facts.select("row_id", "split", "group").sort("row_id")


def _settings(done: DoneFold) -> dict[str, Any]:
    """Settings that two runs have to share, flat."""
    content = shared_settings((done.run.folder / REQUEST_FILE).read_text())
    chosen = {name: content[name] for name in _COMPARED_SECTIONS}
    chosen["trainer"] = {name: content["trainer"].get(name) for name in _COMPARED_OF_TRAINER}
    return dict(_flat(chosen))


def _record(done: DoneFold) -> dict[str, Any]:
    """Sizes of the encoder and fingerprint of its tokenizer, flat."""
    path = done.run.folder / RUN_FILE
    try:
        content = json.loads(path.read_text())
        chosen = {
            "encoder": content["model"]["encoder"],
            "tokenizer": content["tokenizer"]["fingerprint"],
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            "the record of the run cannot be read",
            where=str(path),
            mend="run the fold anew with biote crossval --overwrite",
        ) from error
    return dict(_flat(chosen))


def _flat(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in content.items():
        key = f"{prefix}{name}"
        if key in _OWN_KEYS:
            continue
        if isinstance(value, Mapping):
            yield from _flat(value, f"{key}.")
        else:
            yield key, value


def _differences(
    first: Mapping[str, Any], second: Mapping[str, Any]
) -> Sequence[tuple[str, tuple[Any, Any]]]:
    return [
        (key, (first.get(key), second.get(key)))
        for key in sorted({*first, *second})
        if first.get(key) != second.get(key)
    ]
