"""A dataset as files: from its names, its metalink document or the listing of its folder."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import quote, urljoin
from xml.etree import ElementTree

from biote.corpora.download.catalogue import (
    Dataset,
    FixedFiles,
    IdentifiedFiles,
    ListedFiles,
    ManualSteps,
    MetalinkFiles,
)
from biote.corpora.download.files import PlannedFile
from biote.corpora.download.retry import Retry
from biote.corpora.download.transport import NotThere, Transport
from biote.errors import ConfigError, DataError

logger = logging.getLogger(__name__)

_METALINK: Final = "{http://www.metalinker.org/}"


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The part of a dataset that is asked for."""

    divisions: frozenset[str] | None = None
    """GenBank divisions; null for all that hold sequences."""
    identifiers: tuple[str, ...] = ()
    """Identifiers of a dataset that has a file for each."""


def expand(
    dataset: Dataset,
    folder: Path,
    *,
    base: str,
    selection: Selection,
    transport: Transport,
    retry: Retry,
) -> tuple[str | None, list[PlannedFile]]:
    """List the files of a dataset.

    Args:
        dataset: What to list.
        folder: Where its files go.
        base: Address of its folder on the server, ending in a slash.
        selection: The part asked for.
        transport: The way to read the address.
        retry: How to try again.

    Returns:
        The release, null if the source names none, and the files.

    Raises:
        ConfigError: If the selection does not fit the dataset, or it has manual steps only.
        DataError: If the server cannot be read.
    """
    release: str | None = None
    match dataset.contents:
        case FixedFiles(files=fixed):
            files = [
                _planned(base, folder, file.path, size=file.bytes, checksum=file.checksum)
                for file in fixed
            ]
        case MetalinkFiles(metalink=metalink, names=names):
            where = urljoin(base, metalink)
            document = retry.run(lambda: transport.read(where), where)
            release, files = _from_metalink(document, where, names, base=base, folder=folder)
        case ListedFiles() as listed:
            files = _from_listing(
                listed, selection, base=base, folder=folder, transport=transport, retry=retry
            )
            release = _read_release(urljoin(base, listed.release), transport, retry)
        case IdentifiedFiles(template=template):
            _check_identifiers(dataset, selection)
            paths = dict.fromkeys(template.format(id=each) for each in selection.identifiers)
            files = [_planned(base, folder, path) for path in paths]
        case ManualSteps():
            raise ConfigError(f"{dataset.name} has nothing a program may fetch")
    return release, files


def parse_identifiers(text: str) -> tuple[str, ...]:
    """Read identifiers from an option.

    Args:
        text: Identifiers apart by commas or spaces, or ``file:PATH`` of a file with them, where
            ``#`` begins a comment.

    Raises:
        DataError: If the file cannot be read.
    """
    if text.startswith("file:"):
        path = Path(text.removeprefix("file:"))
        try:
            lines = path.read_text().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(
                "cannot be read as a list of ids", where=str(path), mend="check the path in --ids"
            ) from error
    else:
        lines = [text]
    words = (word for line in lines for word in re.split(r"[\s,]+", line.partition("#")[0]))
    return tuple(dict.fromkeys(word.lower() for word in words if word))


def _check_identifiers(dataset: Dataset, selection: Selection) -> None:
    assert isinstance(dataset.contents, IdentifiedFiles), "asked for by the caller"
    if not selection.identifiers:
        raise ConfigError(
            f"{dataset.name} needs the ids to fetch",
            where="--ids",
            mend="give --ids 1LCD,5UGO or --ids file:ids.txt",
        )
    for each in selection.identifiers:
        if not re.fullmatch(dataset.contents.pattern, each):
            raise ConfigError(
                f"{each!r} is no id of {dataset.name}",
                where="--ids",
                mend="ids have four characters, the first a digit, for example 1LCD",
            )


def _planned(
    base: str, folder: Path, path: str, *, size: int | None = None, checksum: str | None = None
) -> PlannedFile:
    name = path.rpartition("/")[2]
    return PlannedFile(
        address=urljoin(base, quote(path)),
        target=folder / name,
        bytes=size,
        exact=size is not None,
        checksum=checksum,
    )


def _from_metalink(
    document: bytes, where: str, names: Sequence[str], *, base: str, folder: Path
) -> tuple[str | None, list[PlannedFile]]:
    try:
        root = ElementTree.fromstring(document)
        entries = {entry.get("name"): entry for entry in root.iter(f"{_METALINK}file")}
        files = []
        for name in names:
            entry = entries[name]
            digests = {
                digest.get("type"): (digest.text or "").strip().lower()
                for digest in entry.iter(f"{_METALINK}hash")
            }
            size = int(entry.findtext(f"{_METALINK}size", ""))
            checksum = f"md5:{digests['md5']}"
            files.append(_planned(base, folder, name, size=size, checksum=checksum))
    except (ElementTree.ParseError, KeyError, ValueError) as error:
        raise DataError(
            f"does not tell size and MD5 of {', '.join(names)} ({type(error).__name__}: {error})",
            where=where,
            mend="the release may be changing: try later, or give a mirror with --address",
        ) from error
    version = root.findtext(f"{_METALINK}version")
    return (version.strip() if version else None), files


def _from_listing(
    listed: ListedFiles,
    selection: Selection,
    *,
    base: str,
    folder: Path,
    transport: Transport,
    retry: Retry,
) -> list[PlannedFile]:
    found = []
    divisions: set[str] = set()
    for entry in retry.run(lambda: transport.listing(base), base):
        match = re.fullmatch(listed.pattern, entry.name)
        if match:
            divisions.add(match["division"])
            found.append((match["division"], int(match["number"]), entry))
    if not found:
        raise DataError(
            "no file of the release in the listing of this folder",
            where=base,
            mend="look in a browser, or give a mirror with --address",
        )
    unknown = sorted((selection.divisions or frozenset()) - divisions)
    if unknown:
        raise ConfigError(
            f"no division {', '.join(unknown)}",
            where="--division",
            mend=f"divisions of this release: {', '.join(sorted(divisions))}",
        )
    wanted = selection.divisions or divisions - listed.without_sequences
    return [
        replace(_planned(base, folder, entry.name), bytes=entry.bytes, exact=entry.exact)
        for division, _, entry in sorted(found, key=lambda file: file[:2])
        if division in wanted
    ]


def _read_release(where: str, transport: Transport, retry: Retry) -> str | None:
    try:
        text = retry.run(lambda: transport.read(where), where)
    except NotThere as error:
        logger.warning("%s; that all files are of one release is not checked", error)
        return None
    release = text.decode("ascii", "replace").strip()
    if not re.fullmatch(r"\d+(\.\d+)?", release):
        raise DataError(
            f"{release[:40]!r} is no number of a release",
            where=where,
            mend="look in a browser what the server has there, or give a mirror with --address",
        )
    return release
