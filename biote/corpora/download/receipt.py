"""What was downloaded into a folder: kept beside the files, read by the next run and by people."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from biote.atomic import write_text_atomic
from biote.corpora.download.content import BY_SIZE
from biote.corpora.download.files import PlannedFile
from biote.corpora.download.partial import disk_errors
from biote.errors import DataError

RECEIPT_NAME: Final = "download.json"


@dataclass(frozen=True)
class Received:
    """A file that was found to be what its source says."""

    address: str
    bytes: int
    modified_ns: int
    checksum: str | None
    release: str | None
    checked: str = BY_SIZE
    """How it was found to be right."""


@dataclass
class Receipt:
    """The files of a folder that were verified, by name."""

    path: Path
    files: dict[str, Received] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> Receipt:
        """Read the receipt of a folder; an empty one if there is none.

        Args:
            folder: Folder of the files.

        Raises:
            DataError: If it cannot be read.
        """
        path = folder / RECEIPT_NAME
        if not path.exists():
            return cls(path)
        try:
            entries = json.loads(path.read_text())["files"]
            return cls(path, {name: Received(**entry) for name, entry in entries.items()})
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DataError(
                f"cannot be read ({error})",
                where=str(path),
                mend="remove it: the files are then checked against their source again",
            ) from error

    def holds(self, file: Path, checksum: str | None) -> bool:
        """Whether a file was verified and has not changed since.

        Args:
            file: The file.
            checksum: What its source says today; null if it says nothing.
        """
        entry = self.files.get(file.name)
        if entry is None or not file.is_file():
            return False
        now = file.stat()
        unchanged = (now.st_size, now.st_mtime_ns) == (entry.bytes, entry.modified_ns)
        return unchanged and checksum in (None, entry.checksum)

    def checked(self, file: Path) -> str:
        """How a file it holds was found to be right.

        Args:
            file: The file.
        """
        return self.files[file.name].checked

    def add(self, file: PlannedFile, *, release: str | None) -> None:
        """Note that a file was verified.

        Args:
            file: The file, and how it was verified.
            release: Release of the dataset it belongs to.

        Raises:
            DataError: If it is not there any more.
        """
        with disk_errors(file.target):
            now = file.target.stat()
        self.files[file.target.name] = Received(
            file.address, now.st_size, now.st_mtime_ns, file.checksum, release, file.checked
        )
        self._write()

    def drop(self, file: Path) -> None:
        """Forget a file.

        Args:
            file: The file.
        """
        if self.files.pop(file.name, None) is not None:
            self._write()

    def _write(self) -> None:
        entries = {name: asdict(entry) for name, entry in sorted(self.files.items())}
        with disk_errors(self.path):
            write_text_atomic(self.path, json.dumps({"files": entries}, indent=1) + "\n")
