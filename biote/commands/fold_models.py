"""The trained models of a cross-validation, tested one by one on a benchmark without training."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from dataclasses import replace as dataclass_replace
from pathlib import Path
from typing import Any, Final

import polars as pl
import yaml

from biote.atomic import atomic_path, write_text_atomic
from biote.commands.control import CONTROL_FOLDER
from biote.commands.fold_runs import done_folds
from biote.commands.kmer_rows import KMER_MODELS, kmer_rows
from biote.commands.runs import CHECKPOINTS
from biote.commands.specificity_rows import VARIANTS_FILE, write_variants
from biote.commands.training import launch
from biote.datamodules.jaspar import JasparDataModule
from biote.errors import ConfigError, DataError
from biote.tasks.loading import training_sections
from biote.tasks.results import PREDICTIONS_FILE, RESULTS_FILE, ResultRow, read_results

logger = logging.getLogger(__name__)

_REQUEST: Final = "requested.json"
_MODEL: Final = "model.yaml"


@dataclass(frozen=True)
class FoldModel:
    """A checkpoint of a cross-validation."""

    fold: int
    seed: int | None
    name: str
    """Name of its folder below the output."""

    checkpoint: Path


def find_fold_models(crossval: Path, folds: str, *, control: bool) -> list[FoldModel]:
    """The checkpoints of a cross-validation, in order of fold and seed.

    Args:
        crossval: Folder that ``biote crossval`` wrote.
        folds: ``all``, or numbers with commas between.
        control: Whether encoders with random weights are wanted beside the others.

    Raises:
        ConfigError: If a fold that is asked for is not done, or folds differ in their settings, or
            some have a control and others have none.
    """
    done = done_folds(crossval)
    found: list[FoldModel] = []
    alone: list[str] = []
    for one in done:
        folder, fold, seed = one.run.folder, one.run.fold, one.run.seed
        beside = [("", folder)]
        if control:
            beside.append((f"-{CONTROL_FOLDER}", folder / CONTROL_FOLDER))
        for suffix, place in beside:
            checkpoint = place / CHECKPOINTS / "best.ckpt"
            if checkpoint.exists():
                found.append(FoldModel(fold, seed, folder.name + suffix, checkpoint))
            elif suffix:
                alone.append(folder.name)
    if not found:
        raise ConfigError(
            f"no finished fold with a model below {crossval}",
            where="--crossval",
            mend="give the output folder of biote crossval",
        )
    if 0 < len(alone) < len(done):
        raise ConfigError(
            f"no control with random weights in {', '.join(alone)}, but in the others",
            where="--crossval",
            mend="run biote test on them, or leave the controls out with --control false",
        )
    there = sorted({model.fold for model in found})
    missing = sorted(set(range(done[0].folds)) - set(there))
    if folds == "all" and missing:
        raise ConfigError(
            f"folds not done: {', '.join(map(str, missing))}",
            where="--crossval",
            mend=f"run them, or test those that are: --folds {','.join(map(str, there))}",
        )
    if len({one.protocol for one in done}) > 1:
        raise ConfigError(
            f"the folds below {crossval} were run with different settings",
            where="--crossval",
            mend="run them anew with one configuration and --overwrite",
        )
    if folds != "all":
        try:
            wanted = {int(part) for part in folds.split(",")}
        except ValueError:
            wanted = {-1}
        if not wanted <= set(there):
            raise ConfigError(
                f"{folds!r} are not all there",
                where="--folds",
                mend=f"folds there: {', '.join(map(str, there))}",
            )
        found = [model for model in found if model.fold in wanted]
    return sorted(found, key=lambda model: (model.fold, model.seed or 0, model.name))


@dataclass(frozen=True)
class KmerModels:
    """Which k-mer models are fitted beside a fold model."""

    ridge: bool = True
    trees: bool = True
    """Only beside the ridge regression."""


def beside_one_of_each_fold(
    models: Sequence[FoldModel], wanted: KmerModels
) -> list[KmerModels | None]:
    """Which models are tested with k-mer models beside them: one of those with the same fold.

    Args:
        models: Models in the order of `find_fold_models`.
        wanted: K-mer models of a fold.
    """
    seen: set[int] = set()
    beside: list[KmerModels | None] = []
    for model in models:
        beside.append(None if model.fold in seen or not wanted.ridge else wanted)
        seen.add(model.fold)
    return beside


def test_fold_model(
    model: FoldModel, options: Sequence[str], output: Path, *, kmers: KmerModels | None
) -> Path:
    """Test one model in a folder of its own; a test that is done is not repeated.

    Args:
        model: Checkpoint.
        options: Options of ``biote test`` that all models share.
        output: Folder of all.
        kmers: K-mer models that are fitted on the model's training rows and tested beside it.

    Returns:
        The model's folder, with results, predictions and what every row stands for.

    Raises:
        BioteError: If the checkpoint or an option cannot be used.
    """
    folder = output / model.name
    sections = training_sections(model.checkpoint)
    config = yaml.safe_dump({"model": sections["model"]})
    configs, others = _divided(options)
    own = [
        *(f"--data.{name}={value}" for name, value in _feeding(sections["data"]) if value),
        *others,
        f"--data.fold={model.fold}",
        f"--trainer.default_root_dir={folder}",
        f"--ckpt_path={model.checkpoint}",
    ]
    state = model.checkpoint.stat()
    beside = None if kmers is None else asdict(kmers)
    asked = [options, config, own, state.st_mtime_ns, state.st_size, beside]
    text = json.dumps(asked, indent=1)
    key = hashlib.sha256(text.encode()).hexdigest()
    request = folder / _REQUEST
    if request.is_file() and json.loads(request.read_text()).get("key") == key:
        logger.info("%s: tested.", folder)
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    for name in (RESULTS_FILE, PREDICTIONS_FILE, _REQUEST):
        (folder / name).unlink(missing_ok=True)  # of another request
    (folder / _MODEL).write_text(config)
    logger.info("%s: %s.", folder, model.checkpoint)
    tested = launch("test", [*configs, f"--config={folder / _MODEL}", *own])
    if not isinstance(tested.datamodule, JasparDataModule):
        raise ConfigError(
            f"{type(tested.datamodule).__name__} is no test of specificity",
            where="data",
            mend="give --config benchmark/jaspar.yaml",
        )
    if tested.trainer.is_global_zero:
        write_variants(tested.datamodule, folder)
        if kmers is not None:
            kmer_rows(
                tested.datamodule,
                tested.rows[0],
                folder,
                checkpoint=model.checkpoint,
                trees=kmers.trees,
            )
        write_text_atomic(request, json.dumps({"key": key}) + "\n")
    return folder


def _divided(options: Sequence[str]) -> tuple[list[str], list[str]]:
    """Configuration files, which a model's own comes after, and all options that overrule it."""
    configs: list[str] = []
    others: list[str] = []
    target = others
    for option in options:
        if option.startswith("-"):
            target = configs if option.partition("=")[0] in ("-c", "--config") else others
        target.append(option)
    return configs, others


def _feeding(trained: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Options of the data that follow from those a model was trained with."""
    options = trained["init_args"]
    yield "tokenizer", options.get("tokenizer")
    yield "context", options.get("context")
    yield "nucleic_tokenizer", options.get("nucleic_tokenizer")
    if trained["class_path"].endswith("PronabDataModule"):
        yield "trained_on", options.get("root")


def join_tests(
    models: Sequence[FoldModel], folders: Sequence[Path], output: Path
) -> list[ResultRow]:
    """Join the predictions of tests of the same rows.

    Args:
        models: Models, of which several seeds of a fold are models of their own name.
        folders: Folders of their tests.
        output: Where the joined predictions are written.

    Returns:
        One result row of each model, for all folds, to take benchmark and fingerprints from.

    Raises:
        DataError: If the tests are not of the same rows.
    """
    results = pl.concat(
        [_named(read_results([f]), m) for m, f in zip(models, folders, strict=True)]
    )
    if results.get_column("data_fingerprint").n_unique() > 1:
        raise DataError(
            "the models were not tested on the same rows",
            where=str(output),
            mend="name another --output, or test all of them with the same options",
        )
    variants = pl.read_parquet(folders[0] / VARIANTS_FILE)
    predictions = pl.concat(
        [
            _named(pl.read_parquet(folder / PREDICTIONS_FILE), model)
            for model, folder in zip(models, folders, strict=True)
        ]
    )
    for path, frame in ((VARIANTS_FILE, variants), (PREDICTIONS_FILE, predictions)):
        with atomic_path(output / path) as partial:
            frame.write_parquet(partial)
    examples = []
    for (model,), frame in results.group_by("model", maintain_order=True):
        first = ResultRow(**frame.row(0, named=True))
        fingerprints = sorted(frame.get_column("weights_fingerprint").unique())
        joined = hashlib.sha256("".join(fingerprints).encode()).hexdigest()
        configs = sorted(frame.get_column("config_hash").unique())
        examples.append(
            dataclass_replace(
                first,
                model=str(model),
                fold=None,
                weights_fingerprint=fingerprints[0] if len(fingerprints) == 1 else joined,
                config_hash=hashlib.sha256("".join(configs).encode()).hexdigest(),
            )
        )
    return examples


def _named(frame: pl.DataFrame, model: FoldModel) -> pl.DataFrame:
    if model.seed is None:
        return frame
    seeded = pl.col("model") + f", seed {model.seed}"
    of_fold = pl.col("model").is_in(KMER_MODELS)  # these have no weights that a seed decides
    return frame.with_columns(pl.when(of_fold).then("model").otherwise(seeded).alias("model"))
