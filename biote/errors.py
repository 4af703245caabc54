"""The errors a user can cause: each says what is wrong, where, and how to mend it."""

from __future__ import annotations


class BioteError(Exception):
    """A mistake in what the user gave; printed alone on one line, exit code 2.

    Args:
        what: What is wrong, without a full stop.
        where: File with line, record id or configuration key.
        mend: What the user can do about it.
    """

    def __init__(self, what: str, *, where: str | None = None, mend: str | None = None) -> None:
        self.what = what
        self.where = where
        self.mend = mend
        message = f"{where}: {what}" if where else what
        if mend:
            message = f"{message}; {mend}"
        super().__init__(" ".join(message.split()))


class ConfigError(BioteError):
    """A configuration key, command-line option or combination of them that cannot work."""


class DataError(BioteError):
    """A record, file or table that is not what its format promises."""


class CheckpointError(BioteError):
    """Weights or training state that do not fit what they are loaded into."""
