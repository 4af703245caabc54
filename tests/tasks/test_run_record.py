from __future__ import annotations

import json
import platform
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, Trainer

import biote
from biote.corpora.shards import Corpus
from biote.datamodules.pretraining import PretrainingDataModule
from biote.datamodules.table import TableDataModule
from biote.errors import DataError
from biote.modules.config import EncoderConfig
from biote.modules.heads import SequenceHead
from biote.tasks.checkpointing import LastCheckpoint
from biote.tasks.masked_lm import MaskedLMTask
from biote.tasks.regression import RegressionTask
from biote.tasks.run_record import RUN_FILE, RunRecord, git_commit
from biote.tokenization import CharacterTokenizer
from biote.version import __version__

VOCABULARY = CharacterTokenizer().vocab_size


def record_of(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / RUN_FILE).read_text())
    return content


def age(moment: str) -> timedelta:
    return datetime.now(UTC) - datetime.fromisoformat(moment)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_run_is_written_down(
    tiny: EncoderConfig,
    make_trainer: Callable[..., Trainer],
    make_pretraining: Callable[..., PretrainingDataModule],
    corpora: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    accumulate: int,
) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "11")
    monkeypatch.setattr(sys, "argv", ["biote", "fit", "--config", "my run.yaml"])
    during: list[dict[str, Any]] = []

    class Reading(Callback):
        def on_train_batch_end(self, *arguments: Any) -> None:
            during.append(record_of(tmp_path))

    task = MaskedLMTask(tiny, vocab_size=VOCABULARY, init_seed=4)
    data = make_pretraining(seed=7)
    trainer = make_trainer(RunRecord(), Reading(), max_epochs=1, accumulate_grad_batches=accumulate)
    trainer.fit(task, datamodule=data)
    record = record_of(tmp_path)
    width, layers = tiny.width, tiny.layers
    assert record["model"]["parameters"] == {
        "embedding": VOCABULARY * width,
        "hidden": 10 * width**2 * layers,
        "readout": VOCABULARY * width,
        "vector": sum(p.numel() for p in task.parameters() if p.ndim == 1),
        "total": sum(p.numel() for p in task.parameters()),
        "trained": sum(p.numel() for p in task.parameters()),
    }
    assert record["model"]["encoder"]["width"] == width
    assert record["model"]["encoder"]["vocab_size"] == VOCABULARY
    assert record["model"]["init_seed"] == 4
    assert record["tokenizer"]["fingerprint"] == CharacterTokenizer().fingerprint
    (session,) = record["sessions"]
    assert session["seeds"] == {"global": 11, "data": 7}
    assert session["data"]["token_budget"] == 3_000
    for folder in corpora:
        assert Corpus(folder).fingerprint[:16] in session["data"]["fingerprint"]
    assert session["versions"]["biote"] == __version__
    assert session["versions"]["torch"] == torch.__version__
    assert session["versions"]["python"] == platform.python_version()
    assert session["machines"] == [{"host": socket.gethostname(), "device": "cpu", "ranks": 1}]
    assert session["precision"] == {"trainer": "32-true", "computed_in": "fp32"}
    assert session["command"] == "biote fit --config 'my run.yaml'"
    assert session["accumulated_micro_batches"] == accumulate
    assert (session["from_step"], session["to_step"]) == (0, trainer.global_step)
    assert session["outcome"] == "ended"
    for moment in (record["begun_at"], session["begun_at"], session["ended_at"]):
        assert timedelta(0) <= age(moment) < timedelta(minutes=5)
    # A run that is killed leaves a session without an end.
    assert all(one["sessions"][0]["ended_at"] is None for one in during)
    assert (
        during[0]["sessions"][0]
        | {name: session[name] for name in ("ended_at", "to_step", "outcome")}
        == session
    )


def test_a_continued_run_adds_a_session(
    tiny: EncoderConfig,
    make_trainer: Callable[..., Trainer],
    make_pretraining: Callable[..., PretrainingDataModule],
    tmp_path: Path,
) -> None:
    checkpoint = LastCheckpoint(str(tmp_path), every_n_train_steps=3)
    for ckpt_path, steps in ((None, 4), (str(tmp_path / "last.ckpt"), 6)):
        make_trainer(RunRecord(), checkpoint, max_steps=steps, limit_val_batches=0).fit(
            MaskedLMTask(tiny, vocab_size=VOCABULARY),
            datamodule=make_pretraining(),
            ckpt_path=ckpt_path,
        )
    record = record_of(tmp_path)
    assert [(s["from_step"], s["to_step"]) for s in record["sessions"]] == [(0, 4), (3, 6)]
    assert [s["continued_from"] for s in record["sessions"]] == [None, str(tmp_path / "last.ckpt")]
    assert record["begun_at"] == record["sessions"][0]["begun_at"]
    # A new run in the same folder has nothing to do with them.
    make_trainer(RunRecord(), max_steps=1, limit_val_batches=0).fit(
        MaskedLMTask(tiny, vocab_size=VOCABULARY), datamodule=make_pretraining()
    )
    assert [s["to_step"] for s in record_of(tmp_path)["sessions"]] == [1]


def test_a_run_that_fails_says_why(
    tiny: EncoderConfig,
    make_trainer: Callable[..., Trainer],
    make_pretraining: Callable[..., PretrainingDataModule],
    tmp_path: Path,
) -> None:
    class Failing(Callback):
        def on_train_batch_end(self, trainer: Trainer, *arguments: Any) -> None:
            if trainer.global_step == 3:
                raise RuntimeError("out of\nmemory")

    trainer = make_trainer(RunRecord(), Failing(), max_epochs=1)
    with pytest.raises(RuntimeError):
        trainer.fit(MaskedLMTask(tiny, vocab_size=VOCABULARY), datamodule=make_pretraining())
    (session,) = record_of(tmp_path)["sessions"]
    assert session["outcome"] == "RuntimeError: out of"
    assert session["to_step"] == 3
    assert session["ended_at"] is not None


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 99}'])
def test_a_record_that_cannot_be_read_is_not_written_over(
    tiny: EncoderConfig,
    make_trainer: Callable[..., Trainer],
    make_pretraining: Callable[..., PretrainingDataModule],
    tmp_path: Path,
    text: str,
) -> None:
    checkpoint = LastCheckpoint(str(tmp_path), every_n_train_steps=3)
    make_trainer(checkpoint, max_steps=3, limit_val_batches=0).fit(
        MaskedLMTask(tiny, vocab_size=VOCABULARY), datamodule=make_pretraining()
    )
    (tmp_path / RUN_FILE).write_text(text)
    with pytest.raises(DataError, match=RUN_FILE):
        make_trainer(RunRecord(), max_epochs=1).fit(
            MaskedLMTask(tiny, vocab_size=VOCABULARY),
            datamodule=make_pretraining(),
            ckpt_path=str(tmp_path / "last.ckpt"),
        )
    assert (tmp_path / RUN_FILE).read_text() == text


@pytest.mark.parametrize("options", [{"fast_dev_run": 1}, {"max_steps": 1}])
def test_nothing_is_written_where_nothing_is_wanted(
    tiny: EncoderConfig,
    make_trainer: Callable[..., Trainer],
    make_pretraining: Callable[..., PretrainingDataModule],
    tmp_path: Path,
    options: dict[str, Any],
) -> None:
    trainer = make_trainer(RunRecord(enabled="fast_dev_run" in options), **options)
    trainer.fit(MaskedLMTask(tiny, vocab_size=VOCABULARY), datamodule=make_pretraining())
    assert not (tmp_path / RUN_FILE).exists()


def test_a_labelled_run_has_its_head_and_no_token_budget(
    tiny: EncoderConfig,
    make_trainer: Callable[..., Trainer],
    make_table: Callable[..., TableDataModule],
    tmp_path: Path,
) -> None:
    data = make_table()
    task = RegressionTask(
        tiny, head=SequenceHead, vocab_size=data.vocab_size, n_outputs=data.n_outputs
    )
    make_trainer(RunRecord(), max_epochs=2).fit(task, datamodule=data)
    record = record_of(tmp_path)
    assert task.head is not None
    heads = sum(p.numel() for p in task.head.parameters())
    assert record["model"]["parameters"]["head"] == heads
    assert record["sessions"][0]["data"]["token_budget"] is None
    assert record["sessions"][0]["data"]["fingerprint"] == data.data_fingerprint
    assert record["sessions"][0]["limits"]["epochs"] == 2


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not there")
def test_the_commit_is_that_of_the_checkout_of_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "project"
    package = project / "venv" / "biote" / "__init__.py"
    package.parent.mkdir(parents=True)
    package.write_text("x = 1\n")
    author = ["-c", "user.name=a", "-c", "user.email=a@example.org"]

    def git(folder: Path, *arguments: str) -> str:
        command = ["git", "-C", str(folder), *author, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    monkeypatch.setattr(biote, "__file__", str(package))
    git(project, "init")
    git(project, "add", ".")
    git(project, "commit", "-m", "one")
    # The checkout is that of a project the package is installed in, not its own.
    assert git_commit() is None
    checkout = package.parent.parent
    git(checkout, "init")
    git(checkout, "add", ".")
    git(checkout, "commit", "-m", "two")
    commit = git(checkout, "rev-parse", "HEAD")
    assert git_commit() == {"commit": commit, "changed": False}
    package.write_text("x = 2\n")
    assert git_commit() == {"commit": commit, "changed": True}
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_commit() is None
