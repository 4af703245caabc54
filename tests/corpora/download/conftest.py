from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.filesystems import AbstractedFS
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import FTPServer


@dataclass
class Answer:
    """How the server answers one request; what is not set is as it should be."""

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    content: bytes | None = None
    """Another body than the file's."""
    announce: int | None = None
    """Content-Length to claim; none at all if it is below 0."""
    length: str | None = None
    """Content-Length to claim, which need not be a number."""
    cut_at: int | None = None
    """Bytes of the body after which the connection is closed."""
    stall_s: float = 0.0
    """Silence after `cut_at` bytes."""
    ranges: bool = True
    if_range: bool = True


@dataclass
class Asked:
    method: str
    path: str
    range: str | None
    if_range: str | None
    authorization: str | None = None


class HttpServer:
    """A real server on loopback whose answers are scripted."""

    answer = Answer

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.headers: dict[str, dict[str, str]] = {}
        self.script: list[Answer] = []
        self.always = Answer()
        self.asked: list[Asked] = []
        handler = type("Handler", (_Handler,), {"owner": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def put(self, name: str, content: bytes, *, validator: str | None = '"one"') -> str:
        self.files[f"/{name}"] = content
        self.headers[f"/{name}"] = {"ETag": validator} if validator else {}
        return f"{self.address}{name}"

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/"

    def gets(self) -> list[Asked]:
        return [asked for asked in self.asked if asked.method == "GET"]

    def ranges(self) -> list[str | None]:
        return [asked.range for asked in self.gets()]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    owner: ClassVar[HttpServer]
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        return

    def do_HEAD(self) -> None:
        self._answer(Answer(), body=False)

    def do_GET(self) -> None:
        script = self.owner.script
        self._answer(script.pop(0) if script else self.owner.always, body=True)

    def _answer(self, answer: Answer, *, body: bool) -> None:
        asked = Asked(
            self.command,
            self.path,
            self.headers.get("Range"),
            self.headers.get("If-Range"),
            self.headers.get("Authorization"),
        )
        self.owner.asked.append(asked)
        content = answer.content if answer.content is not None else self.owner.files.get(self.path)
        headers = {**self.owner.headers.get(self.path, {}), **answer.headers}
        if answer.status is not None or content is None:
            self._send(answer.status or 404, headers, b"", answer, body=body)
            return
        same = asked.if_range in (None, headers.get("ETag")) or not answer.if_range
        if asked.range is None or not answer.ranges or not same:
            self._send(200, headers, content, answer, body=body)
            return
        start = int(asked.range.removeprefix("bytes=").removesuffix("-"))
        if start >= len(content):
            headers["Content-Range"] = f"bytes */{len(content)}"
            self._send(416, headers, b"", answer, body=body)
            return
        headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self._send(206, headers, content[start:], answer, body=body)

    def _send(
        self, status: int, headers: dict[str, str], content: bytes, answer: Answer, *, body: bool
    ) -> None:
        length = len(content) if answer.announce is None else answer.announce
        if length >= 0:
            headers = {**headers, "Content-Length": answer.length or str(length)}
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if not body:
            return
        with contextlib.suppress(OSError):
            self.wfile.write(content[: answer.cut_at])
            self.wfile.flush()
            time.sleep(answer.stall_s)
        if any(way is not None for way in (answer.cut_at, answer.announce, answer.length)):
            self.close_connection = True


class LimitedFile(BytesIO):
    """A file that ends early, or breaks, after some bytes of one transfer."""

    def __init__(self, content: bytes, limit: int | None, *, breaks: bool) -> None:
        super().__init__(content)
        self.name = "limited"
        self._left = limit
        self._breaks = breaks

    def read(self, size: int | None = -1, /) -> bytes:
        if self._left is None:
            return super().read(size)
        block = super().read(min(size if size and size > 0 else self._left, self._left))
        self._left -= len(block)
        if not block and self._breaks:
            raise OSError("broken")
        return block


class FtpServer:
    """A real FTP server on loopback whose transfers end early or break as scripted."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.limits: list[int | None] = []
        """Bytes after which each transfer ends; null for whole ones."""
        self.breaks = False
        self.claims: dict[str, int] = {}
        """Sizes to tell instead of the true ones."""
        self.offsets: list[int] = []
        """Where each transfer began."""
        self.without: set[str] = set()
        """Commands that this server does not know."""
        self.refused: dict[str, str] = {}
        """Answers to give to some commands, whatever they ask for."""
        authorizer = DummyAuthorizer()
        authorizer.add_anonymous(str(root))
        authorizer.add_user("user", "secret", str(root))
        system = type("System", (_FileSystem,), {"owner": self})
        attributes = {
            "owner": self,
            "authorizer": authorizer,
            "abstracted_fs": system,
            "use_sendfile": False,
        }
        self._server = FTPServer(("127.0.0.1", 0), type("Handler", (_FtpHandler,), attributes))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    @property
    def address(self) -> str:
        host, port = self._server.address
        return f"ftp://{host}:{port}/"

    def _serve(self) -> None:
        while not self._stop.is_set():
            self._server.serve_forever(timeout=0.02, blocking=False, handle_exit=False)
        self._server.close_all()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()


class _FileSystem(AbstractedFS):  # type: ignore[misc]  # pyftpdlib is not typed
    owner: ClassVar[FtpServer]

    def open(self, filename: str, mode: str) -> LimitedFile:
        owner = self.owner
        limit = owner.limits.pop(0) if owner.limits else None
        return LimitedFile(Path(filename).read_bytes(), limit, breaks=owner.breaks)

    def getsize(self, path: str) -> int:
        return self.owner.claims.get(Path(path).name, Path(path).stat().st_size)


class _FtpHandler(FTPHandler):  # type: ignore[misc]  # pyftpdlib is not typed
    owner: ClassVar[FtpServer]

    def pre_process_command(self, line: str, cmd: str, arg: str) -> None:
        if cmd in self.owner.without:
            self.respond("502 Command not implemented.")
            return
        if cmd in self.owner.refused:
            self.respond(self.owner.refused[cmd])
            return
        super().pre_process_command(line, cmd, arg)

    def ftp_RETR(self, file: str) -> Any:
        self.owner.offsets.append(self._restart_position)
        return super().ftp_RETR(file)


@pytest.fixture
def http() -> Iterator[HttpServer]:
    server = HttpServer()
    yield server
    server.close()


@pytest.fixture
def ftp(tmp_path: Path) -> Iterator[FtpServer]:
    root = tmp_path / "ftp"
    root.mkdir()
    server = FtpServer(root)
    yield server
    server.close()


@pytest.fixture
def closed_port() -> int:
    """A port of this machine where nobody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
    return port
