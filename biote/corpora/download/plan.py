"""What a download will bring: files, addresses, sizes, and what is there already."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pooch

from biote.corpora.download.address import parse_address
from biote.corpora.download.catalogue import Dataset, ManualSteps
from biote.corpora.download.content import BY_SIZE, by_checksum
from biote.corpora.download.expand import Selection, expand
from biote.corpora.download.files import PlannedFile, Standing
from biote.corpora.download.partial import Partial, disk_errors
from biote.corpora.download.receipt import Receipt
from biote.corpora.download.retry import Retry
from biote.corpora.download.transport import Transport
from biote.errors import ConfigError

logger = logging.getLogger(__name__)

TransportFor = Callable[[str], Transport]
_PARALLEL_QUESTIONS: Final = 8
_LONG_CHECK_BYTES: Final = 1 << 30


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The files of one dataset."""

    dataset: Dataset
    folder: Path
    release: str | None
    files: tuple[PlannedFile, ...]

    def wanted(self) -> list[PlannedFile]:
        """Files that have to be fetched."""
        return [file for file in self.files if file.standing is not Standing.DONE]

    def missing_bytes(self) -> int:
        """Bytes that have to come, as far as they are known."""
        return sum(file.missing_bytes() for file in self.files)


def make_plan(
    dataset: Dataset,
    output: Path,
    *,
    selection: Selection,
    transport_for: TransportFor,
    retry: Retry,
    address: str | None = None,
) -> Plan:
    """List the files of a dataset, with what is there of each.

    Reads listings, checksums and sizes from the server, and no data.

    Args:
        dataset: What to plan; not one of manual steps.
        output: Folder to download to; the dataset has its own below it.
        selection: The part asked for.
        transport_for: The way to read an address.
        retry: How to try again.
        address: Address to use instead of the dataset's, for a mirror.

    Raises:
        ConfigError: If the selection does not fit the dataset, or the folder holds another
            release.
        DataError: If the server or the folder cannot be read.
    """
    base, _ = parse_address((address or dataset.address).rstrip("/") + "/")
    folder = output / dataset.folder
    transport = transport_for(base)
    release, files = expand(
        dataset, folder, base=base, selection=selection, transport=transport, retry=retry
    )
    with disk_errors(folder):
        receipt = Receipt.read(folder)
        _check_release(receipt, release, folder)
        stood = [_stand(file, receipt) for file in files]
    sized = _ask_sizes(stood, transport, retry)
    return Plan(dataset=dataset, folder=folder, release=release, files=tuple(sized))


def without_repeats(plans: Sequence[Plan]) -> list[Plan]:
    """Leave every file to the first dataset that has it: some are parts of others.

    Args:
        plans: Plans in the order they were asked for.
    """
    seen: set[Path] = set()
    parted = []
    for plan in plans:
        files = tuple(file for file in plan.files if file.target not in seen)
        seen.update(file.target for file in files)
        parted.append(replace(plan, files=files))
    return parted


def manual_steps(dataset: Dataset, output: Path) -> list[str]:
    """What a person does to get a dataset that no program may fetch.

    Args:
        dataset: A dataset of manual steps.
        output: Folder that other datasets are downloaded to.
    """
    assert isinstance(dataset.contents, ManualSteps), "only manual sources have steps"
    folder = output / dataset.folder
    return [step.format(address=dataset.address, folder=folder) for step in dataset.contents.steps]


def _check_release(receipt: Receipt, release: str | None, folder: Path) -> None:
    """A folder must not become a mixture of two releases."""
    for name, entry in receipt.files.items():
        if release and entry.release and entry.release != release and (folder / name).exists():
            raise ConfigError(
                f"holds files of release {entry.release}, the server has {release}",
                where=str(folder),
                mend="give another --output, or remove this folder to fetch the new release",
            )


def _stand(file: PlannedFile, receipt: Receipt) -> PlannedFile:
    """Find out what is there of a file, as far as the server need not be asked."""
    if file.target.is_file():
        size = file.target.stat().st_size
        if receipt.holds(file.target, file.checksum):
            checked = receipt.checked(file.target)
            return replace(file, standing=Standing.DONE, bytes=size, exact=True, checked=checked)
        if file.checksum is not None:
            if size > _LONG_CHECK_BYTES:
                logger.info("%s: comparing its checksum", file.target)
            algorithm, _, digest = file.checksum.partition(":")
            right = pooch.file_hash(str(file.target), alg=algorithm) == digest
            if right:
                checked = by_checksum(file.checksum)
                done = replace(file, standing=Standing.DONE, checked=checked)
                return replace(done, bytes=size, exact=True)
        return replace(file, standing=Standing.WRONG)
    partial = Partial(file.target, file.address)
    if partial.begun() is None:
        return file
    return replace(file, standing=Standing.PART, present_bytes=partial.size())


def _ask_sizes(
    files: Sequence[PlannedFile], transport: Transport, retry: Retry
) -> list[PlannedFile]:
    """Ask the server for the sizes that are not known, or not to the byte where that matters.

    A file without checksum and receipt is right if it has the size that the server says.
    """

    def ask(file: PlannedFile) -> PlannedFile:
        compare = file.standing is Standing.WRONG and file.checksum is None
        if file.standing is Standing.DONE or (file.bytes is not None and not compare):
            return file
        if not (compare and file.exact):
            size = retry.run(lambda: transport.size(file.address), file.address)
            file = replace(file, bytes=size, exact=False)
        if compare and file.bytes == file.target.stat().st_size:
            return replace(file, standing=Standing.DONE, checked=BY_SIZE)
        return file

    with ThreadPoolExecutor(_PARALLEL_QUESTIONS) as pool:
        return list(pool.map(ask, files))
