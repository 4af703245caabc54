"""What a preparation has to do: its settings, and the parts of every source.

The plan is written down in the folder, so that a preparation that goes on is the one that began.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from biote.atomic import write_text_atomic
from biote.corpora.execution import open_executor, run_all
from biote.corpora.fasta import cut_blocks
from biote.corpora.parts import (
    PROGRESS_FOLDER,
    SCRATCH_FOLDER,
    PartResult,
    PartTask,
    finished_result,
    prepare_part,
)
from biote.corpora.provenance import FileDigest, check_unchanged, source_identity
from biote.corpora.sources import Source, SourceFormat, guess_molecule
from biote.errors import DataError
from biote.molecules import Molecule
from biote.version import __version__

PLAN_FILE: Final = f"{PROGRESS_FOLDER}/plan.json"

Progress = Callable[[int, int], None]
"""Called with the bytes of input worked through so far and the bytes there are."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that decides a corpus, beside the content of its sources."""

    output: Path
    sources: tuple[Source, ...]
    tokenizer_fingerprint: str
    molecule: Molecule | None
    validation_fraction: float
    drop_duplicates: bool
    shard_bytes: int
    block_bytes: int

    @property
    def settings(self) -> dict[str, str | int | float | bool | None]:
        """What was asked for, beside sources and tokenizer."""
        return {
            "molecule": self.molecule.value if self.molecule else "auto",
            "validation_fraction": self.validation_fraction,
            "drop_duplicates": self.drop_duplicates,
            "shard_bytes": self.shard_bytes,
            "block_bytes": self.block_bytes,
        }

    def begin(self) -> None:
        """Write the plan down."""
        write_text_atomic(self.output / PLAN_FILE, json.dumps(self._content(), indent=2) + "\n")

    def is_begun(self) -> bool:
        """Whether a preparation by this plan was begun in the folder and not finished.

        Raises:
            DataError: If one was begun with other settings.
        """
        path = self.output / PLAN_FILE
        if not path.is_file():
            return False
        try:
            begun = json.loads(path.read_text())
        except ValueError:
            begun = {}
        mine = self._content()
        other = [name for name in mine if begun.get(name) != mine[name]]
        if other:
            name = other[0]
            raise DataError(
                f"holds an unfinished preparation with {name.replace('_', ' ')} "
                f"{begun.get(name)}, not {mine[name]}",
                where=str(self.output),
                mend="give what it began with to go on, or --overwrite to begin anew",
            )
        return True

    def _content(self) -> dict[str, Any]:
        return self.settings | {
            "tokenizer_fingerprint": self.tokenizer_fingerprint,
            "biote_version": __version__,
        }


@dataclass
class SourceParts:
    """What has been made of one source."""

    source: Source
    sha256: str | None = None
    molecule: Molecule | None = None
    results: dict[int, PartResult] = field(default_factory=dict)

    def ordered(self) -> list[PartResult]:
        """Results in the order of the parts."""
        return [self.results[number] for number in sorted(self.results)]


class Preparation:
    """The parts of a plan, worked on until all are done.

    Args:
        plan: What to do.
        progress: Told how far the work is.
    """

    def __init__(self, plan: Plan, progress: Progress | None = None) -> None:
        self._plan = plan
        self._progress = progress
        self._bytes = 0
        self._total = sum(source.bytes for source in plan.sources)
        self.sources = [SourceParts(source) for source in plan.sources]
        self.kept = 0
        """Parts that were done before."""
        self.done = 0
        """Parts that were done now."""

    def run(self, *, workers: int, scheduler: str | None) -> None:
        """Do all parts that are not done.

        Args:
            workers: Processes of a pool; 1 is this process.
            scheduler: Address of a Dask scheduler, which takes the place of the pool.

        Raises:
            BioteError: If a part cannot be done.
        """
        with open_executor(workers, scheduler) as (executor, limit):
            run_all(prepare_part, self._left(), executor=executor, limit=limit, done=self._finished)

    def ledgers(self) -> Iterator[Path]:
        """Ledgers of all parts, in order."""
        for index, parts in enumerate(self.sources):
            for number in sorted(parts.results):
                yield self._task(index, "", number=number).ledger_path

    def _left(self) -> Iterator[PartTask]:
        for index, parts in enumerate(self.sources):
            source = parts.source
            identity = source_identity(source)
            # A small file is decompressed by the process that works on it, a large one by this
            # process for all of them.
            if source.format is SourceFormat.FASTA and source.bytes > self._plan.block_bytes // 2:
                yield from self._left_blocks(index, identity)
                continue
            task = self._task(index, identity)
            if result := finished_result(task):
                self._keep(task, result)
                self._advance(source.bytes)
            else:
                yield task

    def _left_blocks(self, index: int, identity: str) -> Iterator[PartTask]:
        """Cut a FASTA file; what was cut and is done already is passed over."""
        parts = self.sources[index]
        source = parts.source
        end = self._plan.output / PROGRESS_FOLDER / f"{index:05d}.json"
        if self._keep_whole(index, identity, end):
            self._advance(source.bytes)
            return
        parts.molecule = self._plan.molecule or guess_molecule(source)
        digest = FileDigest(source.path)
        told = 0
        scratch = self._plan.output / SCRATCH_FOLDER
        scratch.mkdir(parents=True, exist_ok=True)
        number = 0
        for block in cut_blocks(
            source.path, block_bytes=self._plan.block_bytes, scratch=scratch, on_block=digest
        ):
            task = self._task(index, identity, number=number, molecule=parts.molecule, block=block)
            number += 1
            if result := finished_result(task):
                block.discard()
                self._keep(task, result)
            else:
                yield task
            self._advance(digest.bytes - told)
            told = digest.bytes
        parts.sha256 = digest.finish()
        self._advance(digest.bytes - told)
        check_unchanged(source, identity)
        content = {
            "source_identity": identity,
            "sha256": parts.sha256,
            "molecule": parts.molecule.value,
            "parts": number,
        }
        write_text_atomic(end, json.dumps(content) + "\n")

    def _keep_whole(self, index: int, identity: str, end: Path) -> bool:
        """Keep a file that was cut to its end before, if all its blocks are done."""
        try:
            content = json.loads(end.read_text())
            numbers, sha256 = range(content["parts"]), str(content["sha256"])
            molecule = Molecule(content["molecule"])
        except (OSError, ValueError, KeyError, TypeError):
            return False  # not cut to its end
        tasks = [self._task(index, identity, number=number) for number in numbers]
        results = [finished_result(task) for task in tasks]
        if content.get("source_identity") != identity or None in results:
            return False
        for task, result in zip(tasks, results, strict=True):
            assert result is not None, "none is missing"
            self._keep(task, result)
        self.sources[index].sha256, self.sources[index].molecule = sha256, molecule
        return True

    def _task(self, index: int, identity: str, **options: Any) -> PartTask:
        plan = self._plan
        values = {"molecule": plan.molecule} | options
        return PartTask(
            source=plan.sources[index],
            source_identity=identity,
            index=index,
            output=plan.output,
            tokenizer_fingerprint=plan.tokenizer_fingerprint,
            shard_bytes=plan.shard_bytes,
            **values,
        )

    def _keep(self, task: PartTask, result: PartResult) -> None:
        self._add(task, result)
        self.kept += 1

    def _finished(self, task: PartTask, result: PartResult) -> None:
        self._add(task, result)
        self.done += 1
        if task.block is None:
            self._advance(task.source.bytes)
        else:
            task.block.discard()

    def _add(self, task: PartTask, result: PartResult) -> None:
        parts = self.sources[task.index]
        parts.results[task.number] = result
        if task.block is None and result.sha256 is not None:
            parts.sha256, parts.molecule = result.sha256, result.molecule

    def _advance(self, read: int) -> None:
        self._bytes += read
        if self._progress is not None:
            self._progress(self._bytes, self._total)
