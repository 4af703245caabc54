"""Addresses as users give them: checked, and parted from what nobody else may see."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from biote.errors import ConfigError

SCHEMES: Final = ("https", "http", "ftp")


@dataclass(frozen=True)
class Login:
    """User and password of one server; neither is shown or written anywhere."""

    user: str = field(repr=False)
    password: str = field(repr=False)


def parse_address(text: str) -> tuple[str, Login | None]:
    """Check an address, and take user and password out of it.

    Args:
        text: Address of a folder or a file.

    Returns:
        The address without user and password, and these, null if there are none.

    Raises:
        ConfigError: If nothing can be downloaded from it; the message does not show a password.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise _unusable("an address", str(error)) from error
    shown = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    if any(ord(letter) <= 32 or ord(letter) == 127 for letter in text):
        raise _unusable(repr(shown), "it holds a blank or a control character")
    if parts.scheme not in SCHEMES or not parts.hostname:
        raise _unusable(shown, f"no host, or another scheme than {', '.join(SCHEMES)}")
    try:
        parts.hostname.encode("idna")
    except UnicodeError as error:
        raise _unusable(shown, "its host is no host name") from error
    if port == 0:
        raise _unusable(shown, "port 0")
    return shown, _login(parts)


def _login(parts: SplitResult) -> Login | None:
    if parts.username is None:
        return None
    return Login(unquote(parts.username), unquote(parts.password or ""))


def _unusable(shown: str, reason: str) -> ConfigError:
    return ConfigError(
        f"not an address to download from ({reason})",
        where=shown,
        mend="addresses begin with https://, http:// or ftp:// and a host",
    )
