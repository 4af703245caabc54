"""Paths that a user gives."""

from __future__ import annotations

from pathlib import Path

from biote.errors import DataError


def existing_file(path: Path, *, where: str, mend: str) -> Path:
    """Return a path if a file is there.

    Args:
        path: Path to check.
        where: Configuration key it comes from.
        mend: What the user can do if it is missing.

    Raises:
        DataError: If there is no such file.
    """
    if not path.is_file():
        raise DataError(f"no file {path}", where=where, mend=mend)
    return path
