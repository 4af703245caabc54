"""HTTP: files from the byte where they stopped, and the listings that web servers make."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from typing import Final
from urllib.parse import unquote, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.auth import HTTPBasicAuth

from biote.corpora.download.address import Login
from biote.corpora.download.partial import Begun, Partial
from biote.corpora.download.transport import (
    BLOCK_BYTES,
    Interrupted,
    Listed,
    NotThere,
    OnBytes,
    check_whole,
    whole_number,
)
from biote.errors import ConfigError, DataError
from biote.version import __version__

logger = logging.getLogger(__name__)

_TRANSIENT: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_LONGEST_ASKED_S: Final = 600.0
_NO_HEAD: Final = frozenset({405, 501})
_CONTENT_RANGE: Final = re.compile(r"bytes (?:(\d{1,18})-\d+|\*)/(\d{1,18}|\*)")
_SIZE_AFTER: Final = re.compile(r"\d\d:\d\d(?::\d\d)?\s+(\d{1,18}(?:\.\d+)?)([KMGT]?)\s*$")
_SIZE_BEFORE: Final = re.compile(r"\d\d:\d\d(?::\d\d)?(?:\s*[AP]M)?\s+(\d{1,18})[ \t]+$", re.ASCII)
_UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


class HttpTransport:
    """Reads over HTTP and HTTPS, through the proxies that the environment names.

    Args:
        timeout_s: How long a connection may say nothing.
        login: User and password, told to the server that is asked and to no other it names.
        connections: How many are open to one host at most.
    """

    def __init__(
        self, timeout_s: float, *, login: Login | None = None, connections: int = 8
    ) -> None:
        self._timeout_s = timeout_s
        # As bytes, because requests cannot write every letter by itself.
        self._login = HTTPBasicAuth(login.user.encode(), login.password.encode()) if login else None
        self._session = requests.Session()
        # Content must come as it is stored: a range counts stored bytes.
        self._session.headers.update(
            {"User-Agent": f"biote/{__version__}", "Accept-Encoding": "identity"}
        )
        adapter = HTTPAdapter(pool_maxsize=connections)
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)

    def size(self, address: str) -> int | None:
        with self._request("HEAD", address) as response:
            if response.status_code in _NO_HEAD:
                return None
            _check_status(response, address)
            return _length(response)

    def read(self, address: str) -> bytes:
        with self._request("GET", address) as response:
            _check_status(response, address)
            content = b"".join(_blocks(response))
            length = _length(response)
            if length is not None and len(content) != length:
                raise Interrupted(f"connection closed at byte {len(content):,} of {length:,}")
            return content

    def listing(self, address: str) -> list[Listed]:
        parser = _ListingParser()
        parser.feed(self.read(address).decode("utf-8", "replace"))
        parser.close()
        return list(parser.files.values())

    def fetch(self, address: str, partial: Partial, *, blind: bool, on_bytes: OnBytes) -> None:
        begun = partial.begun()
        if begun is not None and begun.validator is None and not blind:
            begun = None
        headers = {}
        if begun is not None:
            headers["Range"] = f"bytes={partial.size()}-"
            if begun.validator is not None:
                headers["If-Range"] = begun.validator
        with self._request("GET", address, headers) as response:
            if response.status_code == 416:
                _check_complete(response, partial)
                return
            _check_status(response, address)
            if response.status_code == 206:
                total = _continued(response, begun, partial)
            else:  # from the first byte: a first request, no ranges here, or another file now
                total = _length(response)
                if begun is not None:
                    logger.info("%s: no ranges, or another file now: from the start", address)
                partial.start(_validator(response), total)
            if response.headers.get("Content-Encoding", "identity") != "identity":
                _check_encoding(address)
            with partial.writing() as writer:
                on_bytes(writer.position)
                try:
                    for block in _blocks(response):
                        writer.write(block)
                        on_bytes(writer.position)
                except Interrupted as error:
                    of = "" if total is None else f" of {total:,}"
                    raise Interrupted(f"{error} at byte {writer.position:,}{of}") from error
            check_whole(partial, total)

    @contextmanager
    def _request(
        self, method: str, address: str, headers: dict[str, str] | None = None
    ) -> Iterator[requests.Response]:
        host = urlsplit(address).netloc
        try:
            response = self._session.request(
                method,
                address,
                headers=headers,
                auth=self._login,
                stream=True,
                timeout=self._timeout_s,
                allow_redirects=True,
            )
        except requests.exceptions.SSLError as error:
            raise DataError(
                f"the certificate of {host} is not accepted",
                where=address,
                mend="check the clock and the certificates of this machine",
            ) from error
        except requests.exceptions.Timeout as error:
            raise Interrupted(f"{host} does not answer in {self._timeout_s:g} s") from error
        except requests.exceptions.ConnectionError as error:
            raise Interrupted(f"cannot reach {host}: {_cause(error)}") from error
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as error:
            raise ConfigError(
                f"cannot ask for this address ({error})", where=address, mend="check the address"
            ) from error
        except (requests.exceptions.RequestException, ValueError) as error:
            raise Interrupted(f"{host} answers what no web server answers ({error})") from error
        with response:
            yield response


def _blocks(response: requests.Response) -> Iterator[bytes]:
    try:
        yield from response.raw.stream(BLOCK_BYTES, decode_content=False)
    except (urllib3.exceptions.ReadTimeoutError, TimeoutError) as error:
        raise Interrupted("the server stopped sending") from error
    except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        raise Interrupted("the connection broke") from error


def _check_status(response: requests.Response, address: str) -> None:
    status = response.status_code
    if status in (200, 206):
        return
    reason = f"{status} {response.reason}".strip()
    if status in _TRANSIENT:
        raise Interrupted(f"the server says {reason}", wait_s=_asked_wait(response))
    if status in (404, 410):
        raise NotThere(address, reason)
    mend = "look in a browser whether the address is open to everyone, or give a mirror"
    raise DataError(f"the server says {reason}", where=address, mend=f"{mend} with --address")


def _asked_wait(response: requests.Response) -> float:
    asked = response.headers.get("Retry-After", "")
    return min(float(asked), _LONGEST_ASKED_S) if asked.isdecimal() else 0.0


def _length(response: requests.Response) -> int | None:
    return whole_number(response.headers.get("Content-Length", ""))


def _validator(response: requests.Response) -> str | None:
    tag: str | None = response.headers.get("ETag")
    if tag and not tag.startswith("W/"):  # a weak tag does not promise the same bytes
        return tag
    return response.headers.get("Last-Modified")


def _content_range(response: requests.Response) -> tuple[int | None, int | None]:
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
    if not match:
        return None, None
    start, total = match.groups()
    return int(start) if start else None, int(total) if total != "*" else None


def _check_complete(response: requests.Response, partial: Partial) -> None:
    """No byte follows those that are there: either all came, or they are not of this file."""
    _, total = _content_range(response)
    if total is None or total != partial.size():
        partial.discard()
        raise Interrupted("the part that was there does not fit the file on the server")


def _continued(response: requests.Response, begun: Begun | None, partial: Partial) -> int | None:
    """Size of the whole file, if the answer goes on where the part ends."""
    start, total = _content_range(response)
    now = _validator(response)
    fits = (
        begun is not None
        and start == partial.size()
        and (begun.bytes is None or total is None or begun.bytes == total)
        and (begun.validator is None or now is None or begun.validator == now)
    )
    if not fits:
        partial.discard()
        raise Interrupted("the server goes on with another file or at another byte")
    return total


def _check_encoding(address: str) -> None:
    if not urlsplit(address).path.endswith((".gz", ".tgz")):
        raise DataError(
            "the server sends this file compressed although asked not to",
            where=address,
            mend="give a mirror with --address",
        )


def _cause(error: BaseException) -> str:
    """The innermost reason, which names the fault instead of the libraries around it."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return getattr(error, "strerror", None) or type(error).__name__


class _ListingParser(HTMLParser):
    """Names and sizes in the page that a web server makes of a folder.

    Most servers write the size after the link, some (IIS) before it, where a line ends in <br>.
    """

    def __init__(self) -> None:
        super().__init__()
        self.files: dict[str, Listed] = {}
        self._last: str | None = None
        self._inside = False
        self._before = ""
        """Text since the last line break, if it does not belong to the link before."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "br":
            self._last, self._before = None, ""
        elif tag == "a":
            self._inside, self._last = True, None
            link = urlsplit(dict(attrs).get("href") or "")
            name = unquote(link.path.rpartition("/")[2])
            if name and not link.query:  # neither a folder nor a link that sorts the page
                self._last = name
                size = _SIZE_BEFORE.search(self._before)
                number = int(size[1]) if size else None
                self.files[name] = Listed(name, number, exact=number is not None)
            self._before = ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "a":
            self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            return
        if self._last is None:
            self._before += data
            return
        match = _SIZE_AFTER.search(data)
        if match:
            number, unit = match.groups()
            size = round(float(number) * _UNITS[unit])
            self.files[self._last] = Listed(self._last, size, exact=not unit)
            self._last = None
