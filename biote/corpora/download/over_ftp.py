"""FTP: files from the byte where they stopped (REST), and the listings of folders."""

from __future__ import annotations

import ftplib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import unquote, urlsplit

from biote.corpora.download.address import Login
from biote.corpora.download.partial import Partial
from biote.corpora.download.transport import (
    BLOCK_BYTES,
    Interrupted,
    Listed,
    NotThere,
    OnBytes,
    check_whole,
    whole_number,
)
from biote.errors import DataError

_NOT_IMPLEMENTED: Final = ("500", "501", "502", "504")
_CLOSING: Final = ("421", "530")  # the connection is at its end, or nobody is logged in


class FtpTransport:
    """Reads over FTP in passive mode.

    Args:
        timeout_s: How long a connection may say nothing.
        login: User and password; null for anonymous.
    """

    def __init__(self, timeout_s: float, *, login: Login | None = None) -> None:
        self._timeout_s = timeout_s
        self._login = login or Login("anonymous", "biote@")

    def size(self, address: str) -> int | None:
        with self._connection(address) as (ftp, path):
            return _size(ftp, path)

    def read(self, address: str) -> bytes:
        blocks: list[bytes] = []
        with self._connection(address) as (ftp, path):
            ftp.retrbinary(f"RETR {path}", blocks.append)
        return b"".join(blocks)

    def listing(self, address: str) -> list[Listed]:
        with self._connection(address) as (ftp, path):
            try:
                entries = list(ftp.mlsd(path, facts=["type", "size"]))
            except ftplib.error_perm as error:
                if not str(error).startswith(_NOT_IMPLEMENTED):
                    raise
                names = (PurePosixPath(name).name for name in ftp.nlst(path))
                return [Listed(name, None, exact=False) for name in names]
        sizes = {
            name: whole_number(facts.get("size", ""))
            for name, facts in entries
            if facts.get("type", "file") == "file"
        }
        return [Listed(name, size, exact=size is not None) for name, size in sizes.items()]

    def fetch(self, address: str, partial: Partial, *, blind: bool, on_bytes: OnBytes) -> None:
        with self._connection(address) as (ftp, path):
            total = _size(ftp, path)
            validator = _validator(ftp, path, total)
            begun = partial.begun()
            known = begun is not None and begun.validator is not None
            offset = partial.size()
            if (
                begun is None
                or begun.validator != validator
                or begun.bytes != total
                or not (known or blind)
                or (total is not None and offset > total)
            ):
                partial.start(validator, total)
                offset = 0
            if total is None or offset < total:
                self._transfer(ftp, path, partial, on_bytes=on_bytes)
            if total is None:
                ftp.voidresp()  # the only word on whether all came
        check_whole(partial, total)

    def _transfer(self, ftp: ftplib.FTP, path: str, partial: Partial, *, on_bytes: OnBytes) -> None:
        try:
            data = ftp.transfercmd(f"RETR {path}", rest=partial.size() or None)
        except ftplib.error_perm as error:
            if not partial.size() or not str(error).startswith(_NOT_IMPLEMENTED):
                raise
            partial.discard()
            raise Interrupted("the server cannot go on in the middle of a file") from error
        with data, partial.writing() as writer:
            on_bytes(writer.position)
            while block := data.recv(BLOCK_BYTES):
                writer.write(block)
                on_bytes(writer.position)

    @contextmanager
    def _connection(self, address: str) -> Iterator[tuple[ftplib.FTP, str]]:
        parts = urlsplit(address)
        host = parts.hostname or ""
        path = unquote(parts.path) or "/"
        ftp = ftplib.FTP(timeout=self._timeout_s)
        try:
            ftp.connect(host, parts.port or ftplib.FTP_PORT)
            ftp.login(self._login.user, self._login.password)
            ftp.voidcmd("TYPE I")
            yield ftp, path
        except ftplib.error_perm as error:
            if str(error).startswith("550"):
                raise NotThere(address, str(error)) from error
            raise DataError(
                f"the server says {error}",
                where=address,
                mend="check that the address is open to everyone, or give a mirror with --address",
            ) from error
        except TimeoutError as error:
            raise Interrupted(f"{host} says nothing for {self._timeout_s:g} s") from error
        except EOFError as error:
            raise Interrupted(f"{host} closed the connection") from error
        except ValueError as error:  # among them text that is no UTF-8, and numbers that are none
            raise Interrupted(f"{host} says what no FTP server says ({error})") from error
        except ftplib.Error as error:
            raise Interrupted(f"the server says {error}") from error
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise Interrupted(f"cannot reach {host}: {reason}") from error
        finally:
            ftp.close()


def _size(ftp: ftplib.FTP, path: str) -> int | None:
    """Size of a file; null if the server does not tell, which says nothing about the file."""
    answer = _ask(ftp, f"SIZE {path}")
    return whole_number(answer) if answer is not None else None


def _validator(ftp: ftplib.FTP, path: str, total: int | None) -> str | None:
    """Size and time of change; null if the server does not tell the time."""
    changed = _ask(ftp, f"MDTM {path}")
    return f"{total} {changed}" if changed else None


def _ask(ftp: ftplib.FTP, command: str) -> str | None:
    """The answer to a question about a file; null if the server refuses to answer.

    Servers refuse with 5xx also what they know but do not tell, and with 45x what they are too
    busy for; that a file is not there is left to the transfer to say.
    """
    try:
        return ftp.sendcmd(command)[4:].strip()
    except (ftplib.error_perm, ftplib.error_temp) as error:
        if str(error).startswith(_CLOSING):
            raise
        return None
