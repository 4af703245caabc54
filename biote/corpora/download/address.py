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
    if " " in text or not unquote(text).isprintable():
        raise _unusable(text, "it holds a blank or a control character")
    try:
        parts = urlsplit(text)
        port = parts.port
        (parts.hostname or "").encode("idna")
    except ValueError:  # its words may quote the password, so they are shown nowhere
        raise _unusable("--address", "its host or port cannot be read") from None
    if parts.scheme not in SCHEMES or not parts.hostname:
        raise _unusable(text, f"no host, or another scheme than {', '.join(SCHEMES)}")
    if port == 0:
        raise _unusable(text, "port 0")
    if parts.query or parts.fragment:
        raise _unusable(text, "the files of a folder have no ? or # in their addresses")
    shown = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    return shown, _login(parts)


def _login(parts: SplitResult) -> Login | None:
    if not parts.username:
        return None
    return Login(unquote(parts.username), unquote(parts.password or ""))


def _unusable(text: str, reason: str) -> ConfigError:
    shown = text.rpartition("@")[2]  # what cannot be parsed may have its password anywhere before
    return ConfigError(
        f"not an address to download from ({reason})",
        where=shown if shown.isprintable() else repr(shown),
        mend="addresses begin with https://, http:// or ftp:// and a host",
    )
