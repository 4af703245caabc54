from __future__ import annotations

import base64
import errno
import gzip
import hashlib
import io
import logging
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections import namedtuple
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from biote.cli import main
from biote.corpora.download.address import Login, parse_address
from biote.corpora.download.catalogue import Dataset, FixedFiles
from biote.corpora.download.fetch import check_room, fetch_file, fetch_plans, make_transports
from biote.corpora.download.files import PlannedFile, Standing
from biote.corpora.download.partial import Partial
from biote.corpora.download.plan import Plan
from biote.corpora.download.retry import Retry
from biote.corpora.locking import exclusive
from biote.corpora.sources import find_sources
from biote.errors import ConfigError, DataError

if TYPE_CHECKING:
    from tests.corpora.download.conftest import FtpServer, HttpServer

BODY = gzip.compress(random.Random(7).randbytes(699_000), 0, mtime=0).ljust(700_000, b"\0")
NEWER = gzip.compress(random.Random(8).randbytes(699_000), 0, mtime=0).ljust(700_000, b"\0")
MD5 = f"md5:{hashlib.md5(BODY).hexdigest()}"
NAME = "gbbct1.seq.gz"


def fetch(file: PlannedFile, *, retries: int = 4, timeout_s: float = 5.0) -> list[int]:
    """Fetch without waiting; where each write ended."""
    positions: list[int] = []
    retry = Retry(retries=retries, sleep=lambda _: None, progress_bytes=1 << 40)
    transport = make_transports(timeout_s)(file.address)
    fetch_file(file, transport, retry=retry, on_bytes=positions.append)
    return positions


def planned(address: str, folder: Path, checksum: str | None = None) -> PlannedFile:
    return PlannedFile(address=address, target=folder / NAME, checksum=checksum)


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


class TestResume:
    def test_a_whole_answer_takes_one_request_and_leaves_one_file(
        self, http: HttpServer, out: Path
    ) -> None:
        positions = fetch(planned(http.put(NAME, BODY), out, MD5))
        assert (out / NAME).read_bytes() == BODY
        assert http.ranges() == [None]
        assert left(out) == [NAME]
        assert positions[0] == 0
        assert positions[-1] == len(BODY)

    def test_a_cut_connection_goes_on_at_the_byte_it_stopped(
        self, http: HttpServer, out: Path
    ) -> None:
        http.script = [
            http.answer(cut_at=200_000),
            http.answer(cut_at=0),
            http.answer(cut_at=300_000),
        ]
        fetch(planned(http.put(NAME, BODY), out))
        assert (out / NAME).read_bytes() == BODY
        assert http.ranges() == [None, "bytes=200000-", "bytes=200000-", "bytes=500000-"]
        assert [asked.if_range for asked in http.gets()] == [None, *['"one"'] * 3]

    @settings(
        max_examples=15,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(cuts=st.lists(st.integers(0, len(BODY)), max_size=4), honest=st.booleans())
    def test_any_cuts_give_the_same_bytes(
        self, http: HttpServer, out: Path, cuts: list[int], honest: bool
    ) -> None:
        http.asked.clear()
        http.script = [http.answer(cut_at=cut, ranges=honest) for cut in cuts]
        fetch(planned(http.put(NAME, BODY), out), retries=5)
        assert (out / NAME).read_bytes() == BODY
        starts = [int(asked[6:-1]) if asked else 0 for asked in http.ranges()]
        assert not honest or all(a <= b for a, b in pairwise(starts))
        assert left(out) == [NAME]

    def test_the_next_run_goes_on_with_the_part_of_the_last(
        self, http: HttpServer, out: Path
    ) -> None:
        file = planned(http.put(NAME, BODY), out)
        http.script = [http.answer(cut_at=300_000)]
        with pytest.raises(DataError, match="goes on from where it stopped"):
            fetch(file, retries=0)
        assert left(out) == [f"{NAME}.part", f"{NAME}.part.json"]
        assert Partial(file.target, file.address).size() == 300_000
        fetch(file)
        assert http.ranges() == [None, "bytes=300000-"]
        assert (out / NAME).read_bytes() == BODY

    def test_a_part_that_is_whole_is_not_fetched_again(self, http: HttpServer, out: Path) -> None:
        file = planned(http.put(NAME, BODY), out)
        partial = Partial(file.target, file.address)
        partial.start('"one"', len(BODY))
        partial.path.write_bytes(BODY)
        fetch(file)
        assert http.ranges() == [f"bytes={len(BODY)}-"]
        assert (out / NAME).read_bytes() == BODY

    def test_the_part_is_not_an_input_of_prepare(self, http: HttpServer, out: Path) -> None:
        http.script = [http.answer(cut_at=300_000)]
        with pytest.raises(DataError):
            fetch(planned(http.put(NAME, BODY), out), retries=0)
        with pytest.raises(DataError, match="no input file"):
            find_sources([out])

    def test_a_file_that_changed_meanwhile_starts_anew(self, http: HttpServer, out: Path) -> None:
        file = planned(http.put(NAME, BODY), out)
        http.script = [http.answer(cut_at=300_000)]
        with pytest.raises(DataError):
            fetch(file, retries=0)
        newer = NEWER
        http.put(NAME, newer, validator='"two"')
        fetch(file)
        assert (out / NAME).read_bytes() == newer
        assert http.ranges() == [None, "bytes=300000-"]

    def test_a_changed_file_from_a_server_that_ignores_if_range(
        self, http: HttpServer, out: Path
    ) -> None:
        file = planned(http.put(NAME, BODY), out)
        http.script = [http.answer(cut_at=300_000), http.answer(if_range=False)]
        with pytest.raises(DataError):
            fetch(file, retries=0)
        newer = NEWER
        http.put(NAME, newer, validator='"two"')
        fetch(file)
        assert (out / NAME).read_bytes() == newer
        assert http.ranges() == [None, "bytes=300000-", None]

    def test_a_part_from_another_address_is_not_continued(
        self, http: HttpServer, out: Path
    ) -> None:
        http.script = [http.answer(cut_at=300_000)]
        with pytest.raises(DataError):
            fetch(planned(http.put("old", BODY[::-1]), out), retries=0)
        fetch(planned(http.put(NAME, BODY), out))
        assert (out / NAME).read_bytes() == BODY
        assert http.ranges() == [None, None]

    def test_a_part_of_which_nothing_is_known_starts_anew(
        self, http: HttpServer, out: Path
    ) -> None:
        out.mkdir()
        (out / f"{NAME}.part").write_bytes(b"x" * 1000)
        (out / f"{NAME}.part.json").write_text('{"address":')
        fetch(planned(http.put(NAME, BODY), out))
        assert (out / NAME).read_bytes() == BODY
        assert http.ranges() == [None]

    def test_a_server_without_ranges_starts_over(self, http: HttpServer, out: Path) -> None:
        http.script = [http.answer(cut_at=300_000), http.answer(ranges=False)]
        fetch(planned(http.put(NAME, BODY), out))
        assert (out / NAME).read_bytes() == BODY
        assert http.ranges() == [None, "bytes=300000-"]

    @pytest.mark.parametrize("tag", [None, 'W/"weak"'])
    def test_without_a_validator_only_a_checksum_allows_to_go_on(
        self, http: HttpServer, out: Path, tag: str | None
    ) -> None:
        address = http.put(NAME, BODY, validator=tag)
        http.script = [http.answer(cut_at=300_000)]
        fetch(planned(address, out))
        assert http.ranges() == [None, None]
        http.asked.clear()
        http.script = [http.answer(cut_at=300_000)]
        fetch(planned(address, out / "checked", MD5))
        assert http.ranges() == [None, "bytes=300000-"]
        assert (out / "checked" / NAME).read_bytes() == BODY

    def test_a_server_that_falls_silent_is_left_and_asked_again(
        self, http: HttpServer, out: Path
    ) -> None:
        http.script = [http.answer(cut_at=256 << 10, stall_s=1.0)]
        fetch(planned(http.put(NAME, BODY), out), timeout_s=0.2)
        assert (out / NAME).read_bytes() == BODY
        assert len(http.gets()) == 2
        assert http.ranges()[1] not in (None, "bytes=0-")

    def test_a_killed_run_goes_on_with_what_was_written(self, http: HttpServer, out: Path) -> None:
        name = "JASPAR2024_CORE_redundant_pfms_jaspar.txt"
        http.put(name, BODY)
        http.script = [http.answer(cut_at=400_000, stall_s=20)]
        command = [sys.executable, "-m", "biote.cli", "download", "jaspar"]
        command += ["--output", str(out), "--address", http.address]
        part = out / "jaspar" / f"{name}.part"
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            for _ in range(500):
                if part.exists() and part.stat().st_size > 300_000:
                    break
                time.sleep(0.02)
            refused = main(command[3:])  # while the other one runs
            process.kill()
        assert process.returncode == -signal.SIGKILL
        there = part.stat().st_size
        assert refused == 2
        assert left(part.parent) == [".download.lock", part.name, f"{part.name}.json"]
        assert main(command[3:]) == 0
        assert http.ranges() == [None, f"bytes={there}-"]
        assert (out / "jaspar" / name).read_bytes() == BODY
        assert left(part.parent) == [name, "download.json"]


class TestLies:
    def test_a_length_too_long_is_found_out(self, http: HttpServer, out: Path) -> None:
        http.script = [http.answer(announce=len(BODY) + 10)]
        fetch(planned(http.put(NAME, BODY), out))
        assert (out / NAME).read_bytes() == BODY
        assert http.ranges() == [None, f"bytes={len(BODY)}-"]

    def test_a_length_that_is_always_too_long_is_given_up(
        self, http: HttpServer, out: Path
    ) -> None:
        http.always = http.answer(announce=len(BODY) + 10, ranges=False)
        with pytest.raises(DataError, match=r"at byte 700,000 of 700,010 \(tried 3 times"):
            fetch(planned(http.put(NAME, BODY), out), retries=2)
        assert NAME not in left(out)
        assert len(http.gets()) == 3

    def test_a_length_too_short_is_found_by_the_checksum(self, http: HttpServer, out: Path) -> None:
        http.script = [http.answer(announce=1000)]
        fetch(planned(http.put(NAME, BODY), out, MD5))
        assert (out / NAME).read_bytes() == BODY
        assert http.ranges() == [None, None]

    def test_a_length_too_short_is_found_by_the_size_of_the_release(
        self, http: HttpServer, out: Path
    ) -> None:
        http.always = http.answer(announce=1000)
        file = replace(planned(http.put(NAME, BODY), out), bytes=len(BODY), exact=True)
        with pytest.raises(DataError, match="1,000 bytes came, the release states 700,000"):
            fetch(file)
        assert left(out) == []

    def test_a_corrupt_file_is_fetched_anew_once(
        self, http: HttpServer, out: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        http.script = [http.answer(content=BODY[:-1] + b"?")]
        fetch(planned(http.put(NAME, BODY), out, MD5))
        assert (out / NAME).read_bytes() == BODY
        assert http.ranges() == [None, None]
        assert left(out) == [NAME]
        assert "corrupt (its checksum differs)" in caplog.text

    def test_a_file_corrupt_twice_is_one_line_and_leaves_nothing(
        self, http: HttpServer, out: Path
    ) -> None:
        http.always = http.answer(content=b"<html>busy</html>")
        with pytest.raises(DataError, match="corrupt") as caught:
            fetch(planned(http.put(NAME, BODY), out, MD5))
        assert str(caught.value).startswith(str(out / NAME))
        assert "\n" not in str(caught.value)
        assert len(http.gets()) == 2
        assert left(out) == []

    def test_a_text_that_comes_compressed_unasked_is_refused(
        self, http: HttpServer, out: Path
    ) -> None:
        address = http.put("a.txt", b"zipped")
        http.always = http.answer(headers={"Content-Encoding": "gzip"})
        with pytest.raises(DataError, match="compressed although asked not to"):
            fetch(PlannedFile(address=address, target=out / "a.txt"))
        zipped = gzip.compress(b"letters")
        fetch(PlannedFile(address=http.put("a.gz", zipped), target=out / "a.gz"))
        assert (out / "a.gz").read_bytes() == zipped

    @pytest.mark.parametrize("refused", [set(), {"SIZE"}])
    def test_a_part_longer_than_the_file_starts_anew(
        self, ftp: FtpServer, out: Path, refused: set[str]
    ) -> None:
        (ftp.root / NAME).write_bytes(BODY)
        ftp.without = refused
        file = planned(f"{ftp.address}{NAME}", out)
        partial = Partial(file.target, file.address)
        partial.start("700000 20010909014640", len(BODY))
        partial.path.write_bytes(BODY + b"more")
        os.utime(ftp.root / NAME, (1e9, 1e9))
        fetch(file, retries=0)
        assert (out / NAME).read_bytes() == BODY
        assert ftp.offsets == [0]

    @pytest.mark.parametrize("validator", ['["one"]', '"\\u0416"', '"a\\nb"', "[" * 100_000])
    def test_a_malformed_note_on_a_part_starts_anew(
        self,
        http: HttpServer,
        out: Path,
        validator: str,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        file = planned(http.put(NAME, BODY), out)
        partial = Partial(file.target, file.address)
        partial.start('"one"', len(BODY))
        partial.path.write_bytes(BODY[:1000])
        note = out / f"{NAME}.part.json"
        note.write_text(note.read_text().replace('"\\"one\\""', validator))
        with caplog.at_level(logging.INFO):
            fetch(file)
        assert http.ranges() == [None]
        assert "nothing is known of this part, it starts anew" in caplog.text

    def test_an_answer_about_a_file_of_another_size_is_not_gone_on_with(
        self, http: HttpServer, out: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        file = planned(http.put(NAME, BODY, validator=None), out, MD5)
        partial = Partial(file.target, file.address)
        partial.start(None, len(BODY) - 1)
        partial.path.write_bytes(b"?" * 1000)
        fetch(file)
        assert http.ranges() == ["bytes=1000-", None]
        assert "corrupt" not in caplog.text  # known before the rest has come
        assert (out / NAME).read_bytes() == BODY

    @pytest.mark.parametrize("value", ["9" * 5000, "-5", "1e3"])
    def test_a_length_that_is_no_number_is_none(
        self, http: HttpServer, out: Path, value: str
    ) -> None:
        address = http.put(NAME, BODY)
        http.headers[f"/{NAME}"]["Content-Range"] = f"bytes 0-{value}/{value}"
        http.script = [http.answer(length=value)]
        fetch(planned(address, out))
        assert (out / NAME).read_bytes() == BODY

    @pytest.mark.parametrize(
        "answer",
        [
            b"HTTP/1.1 302 Found\r\nLocation: http://\xe9\xff:99999/\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nmany\r\n",
            b"\x00\xff no web server\r\n\r\n",
            b"HTTP/1.1 twohundred OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n",
        ],
    )
    def test_text_that_is_no_http_is_tried_again(self, out: Path, answer: bytes) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:

            def serve() -> None:
                for _ in range(2):
                    with server.accept()[0] as connection:
                        connection.recv(65536)
                        connection.sendall(answer)

            thread = threading.Thread(target=serve)
            thread.start()
            address = f"http://127.0.0.1:{server.getsockname()[1]}/{NAME}"
            with pytest.raises(DataError, match=r"\(tried 2 times\)") as caught:
                fetch(planned(address, out), retries=1)
            thread.join()
        assert "\n" not in str(caught.value)
        assert left(out) in ([], [f"{NAME}.part", f"{NAME}.part.json"])

    def test_text_that_is_no_ftp_is_tried_again(self, out: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            answer = threading.Thread(
                target=lambda: server.accept()[0].sendall(b"220 \xff\xfe\r\n")
            )
            answer.start()
            with pytest.raises(DataError, match="says what no FTP server says"):
                fetch(planned(f"ftp://127.0.0.1:{port}/{NAME}", out), retries=0)
            answer.join()


class TestRefusals:
    def test_a_busy_server_is_asked_again(self, http: HttpServer, out: Path) -> None:
        waits: list[float] = []
        http.script = [
            http.answer(status=503, headers={"Retry-After": "7"}),
            http.answer(status=429),
        ]
        file = planned(http.put(NAME, BODY), out)
        retry = Retry(sleep=waits.append, draw=lambda: 1.0)
        transport = make_transports()(file.address)
        fetch_file(file, transport, retry=retry, on_bytes=lambda _: None)
        assert waits == [7, 2]
        assert (out / NAME).read_bytes() == BODY

    def test_no_server_makes_it_wait_for_a_day(self, http: HttpServer, out: Path) -> None:
        waits: list[float] = []
        http.script = [http.answer(status=503, headers={"Retry-After": "86400"})]
        file = planned(http.put(NAME, BODY), out)
        retry = Retry(sleep=waits.append, draw=lambda: 1.0)
        fetch_file(file, make_transports()(file.address), retry=retry, on_bytes=lambda _: None)
        assert waits == [600]
        assert (out / NAME).read_bytes() == BODY

    def test_a_server_that_stays_busy_is_given_up(self, http: HttpServer, out: Path) -> None:
        http.always = http.answer(status=503)
        with pytest.raises(DataError, match=r"503 Service Unavailable \(tried 4 times\)"):
            fetch(planned(http.put(NAME, BODY), out), retries=3)
        assert len(http.gets()) == 4
        assert left(out) == []

    @pytest.mark.parametrize(
        ("status", "words"),
        [(404, "not on the server"), (410, "not on the server"), (403, "403 Forbidden")],
    )
    def test_a_refusal_is_not_asked_again(
        self, http: HttpServer, out: Path, status: int, words: str
    ) -> None:
        http.always = http.answer(status=status)
        address = http.put(NAME, BODY)
        with pytest.raises(DataError, match=words) as caught:
            fetch(planned(address, out))
        assert str(caught.value).startswith(f"{address}: ")
        assert "--address" in str(caught.value)
        assert len(http.gets()) == 1
        assert left(out) == []

    @pytest.mark.parametrize("scheme", ["http", "ftp"])
    def test_a_host_that_is_not_there_is_one_line(
        self, closed_port: int, out: Path, scheme: str
    ) -> None:
        address = f"{scheme}://127.0.0.1:{closed_port}/{NAME}"
        with pytest.raises(DataError, match=r"cannot reach 127.0.0.1.*: Connection refused"):
            fetch(planned(address, out), retries=1)
        assert left(out) == []

    @pytest.mark.parametrize("address", ["file:///etc/passwd", "s3://x/y", "nothing", "http:///x"])
    def test_an_address_of_no_known_kind_is_refused(self, address: str) -> None:
        with pytest.raises(ConfigError, match="not an address to download from"):
            make_transports()(address)


class TestDisk:
    def test_a_full_disk_is_one_line(
        self, http: HttpServer, out: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        opened = Path.open

        def full(path: Path, mode: str = "r", *args: Any, **kwargs: Any) -> IO[Any]:
            if path.suffix == ".part" and mode == "ab":
                return io.BufferedWriter(io.FileIO("/dev/full", "wb"))
            return opened(path, mode, *args, **kwargs)

        monkeypatch.setattr(Path, "open", full)
        with pytest.raises(
            DataError, match=r"cannot be read or written: No space left on device; make room"
        ):
            fetch(planned(http.put(NAME, BODY), out))
        assert NAME not in left(out)
        assert len(http.gets()) == 1

    def test_an_output_that_is_a_file_is_one_line(self, http: HttpServer, tmp_path: Path) -> None:
        (tmp_path / "out").write_text("a file")
        with pytest.raises(DataError, match="cannot be read or written: Not a directory"):
            fetch(planned(http.put(NAME, BODY), tmp_path / "out"))

    def test_a_file_system_without_links(
        self, http: HttpServer, out: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object) -> None:
            raise OSError(errno.EPERM, "no links here")

        monkeypatch.setattr(os, "link", refuse)
        fetch(planned(http.put(NAME, BODY), out, MD5))
        assert (out / NAME).read_bytes() == BODY
        assert left(out) == [NAME]

    def test_a_stop_during_the_check_keeps_the_bytes(
        self, http: HttpServer, out: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = planned(http.put(NAME, BODY), out, MD5)

        def stop(*_: object, **__: object) -> bool:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr("pooch.core.hash_matches", stop)
            with pytest.raises(KeyboardInterrupt):
                fetch(file)
        assert left(out) == [f"{NAME}.part", f"{NAME}.part.json"]
        os.link(out / f"{NAME}.part", out / "tmp_of_a_killed_run")
        fetch(file)
        assert http.ranges() == [None, f"bytes={len(BODY)}-"]
        assert left(out) == [NAME]

    def test_too_little_room_is_said_before_the_first_byte(self, out: Path) -> None:
        file = PlannedFile(address="http://h/x", target=out / "x", bytes=1 << 60)
        with pytest.raises(DataError, match=r"1,152,921.5 TB to come, .* free"):
            check_room([plan(out, file)])
        check_room([plan(out, replace(file, standing=Standing.DONE))])

    def test_the_room_is_that_of_all_datasets_of_a_disk(
        self, out: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        usage = namedtuple("usage", "total used free")
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, 15_000_000_000))
        file = PlannedFile(address="http://h/x", target=out / "x", bytes=10_000_000_000)
        check_room([plan(out / "a", file)])
        with pytest.raises(DataError, match=r"20.0 GB to come, 15.0 GB free"):
            check_room([plan(out / "a", file), plan(out / "b", file)])
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, 700))
        with pytest.raises(DataError, match=r"5.0 kB to come, 700 B free"):
            check_room([plan(out, replace(file, bytes=5000))])

    def test_two_runs_do_not_write_one_folder(self, http: HttpServer, out: Path) -> None:
        address = http.put(NAME, BODY)
        mine = plan(out, planned(address, out))
        out.mkdir()
        with exclusive(out / ".download.lock", busy="tests"):
            with pytest.raises(DataError, match="another process downloads to it now"):
                fetch_all(mine)
        assert http.gets() == []
        fetch_all(mine)
        assert left(out) == ["download.json", NAME]
        fetch_all(mine)  # a plan of before, when the file was not there
        assert http.ranges() == [None]

    def test_a_folder_that_cannot_be_locked_is_one_line(self, http: HttpServer, out: Path) -> None:
        (out / ".download.lock").mkdir(parents=True)
        with pytest.raises(DataError, match="cannot be read or written: Is a directory"):
            fetch_all(plan(out, planned(http.put(NAME, BODY), out)))

    def test_a_file_that_is_gone_since_it_was_planned_is_one_line(self, out: Path) -> None:
        file = replace(planned("http://h/x", out), standing=Standing.DONE)
        with pytest.raises(DataError, match="No such file"):
            fetch_all(plan(out, file))

    @pytest.mark.parametrize(
        ("content", "listed", "reason"),
        [
            (b"", None, "it is empty"),
            (b"  <!DOCTYPE HTML><p>log in first", None, "a web page came instead"),
            (
                b'\xef\xbb\xbf<?xml version="1.0"?>\n<!DOCTYPE html>\n<html>',
                None,
                "a web page came instead",
            ),
            (b"LOCUS", None, "it is no gzip file"),
            (BODY[:600_000], None, "truncated gzip"),
            (BODY, 90_000_000, "700,000 bytes came, the listing states about 90,000,000"),
        ],
    )
    def test_bytes_that_cannot_be_the_file_are_refused(
        self, http: HttpServer, out: Path, content: bytes, listed: int | None, reason: str
    ) -> None:
        file = replace(planned(http.put(NAME, content), out), bytes=listed)
        with pytest.raises(DataError, match=f"corrupt: {reason}, also when fetched anew"):
            fetch(file)
        assert left(out) == []

    @pytest.mark.parametrize("name", [NAME, "a.txt"])
    def test_what_came_is_compared_with_the_size_the_server_tells_when_asked(
        self, http: HttpServer, out: Path, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        """A file that is sent without its length, and cut."""
        address = http.put(name, BODY)
        http.always = http.answer(cut_at=600_000, announce=-1)
        file = PlannedFile(address=address, target=out / name)
        with pytest.raises(DataError, match="600,000 bytes came, the server states 700,000"):
            fetch(file)
        assert left(out) == []
        http.always = http.answer(announce=-1)
        assert fetch(file)[-1] == len(BODY)

    def test_the_old_file_stays_until_the_new_one_is_checked(
        self, http: HttpServer, out: Path
    ) -> None:
        out.mkdir()
        (out / NAME).write_bytes(b"old")
        file = replace(planned(http.put(NAME, BODY), out), standing=Standing.WRONG)
        http.always = http.answer(content=BODY[:1000])
        with pytest.raises(DataError, match="truncated gzip"):
            fetch_all(plan(out, file))
        assert (out / NAME).read_bytes() == b"old"
        http.always = http.answer()
        (fetched,) = fetch_all(plan(out, file))
        assert (out / NAME).read_bytes() == BODY
        assert fetched.files[0].checked == "by size and as whole gzip"


class TestLogin:
    def test_it_is_told_to_the_server_and_written_nowhere(
        self, http: HttpServer, out: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        http.put("JASPAR2024_CORE_redundant_pfms_jaspar.txt", b">MA0001.1 A\n")
        secret = http.address.replace("//", "//user:secret@")
        command = ["download", "jaspar", "--output"]
        assert main([*command, str(out), "--address", secret, "--dry-run"]) == 0
        assert main([*command, str(out), "--address", secret]) == 0
        assert main([*command, str(out / "b"), "--address", f"{secret}missing/"]) == 2
        assert {asked.authorization for asked in http.asked} == {"Basic dXNlcjpzZWNyZXQ="}
        shown = capsys.readouterr()
        written = [path.read_text() for path in (out / "jaspar").iterdir()]
        for text in (shown.out, shown.err, *written):
            assert "secret" not in text

    def test_over_ftp(self, ftp: FtpServer, out: Path) -> None:
        (ftp.root / NAME).write_bytes(BODY)
        address, login = parse_address(f"{ftp.address}{NAME}".replace("//", "//user:secret@"))
        file = planned(address, out)
        retry = Retry(retries=0)
        transport = make_transports(login=login)(address)
        fetch_file(file, transport, retry=retry, on_bytes=lambda _: None)
        assert (out / NAME).read_bytes() == BODY
        wrong = make_transports(login=Login("user", "wrong"))(address)
        with pytest.raises(DataError, match="530"):
            fetch_file(planned(address, out / "b"), wrong, retry=retry, on_bytes=lambda _: None)

    @pytest.mark.parametrize(
        "address",
        [
            "http://h:port/",
            "http://h:0/",
            "http://",
            "h/x",
            "http://h/a b",
            "http://h\n/",
            "http://[x",
            "http://a..b/",
            "http://h:99999/",
            "http://h/%0d%0aDELE",
            "ftp://user:%0a@h/",
            "http://h/?a=b",
            "http://h/#a",
            "",
        ],
    )
    def test_what_is_no_address_is_one_line(self, address: str) -> None:
        with pytest.raises(ConfigError, match="not an address to download from"):
            parse_address(address)

    @pytest.mark.parametrize(
        "address",
        [
            "gopher://user:secret@h/",
            "user:secret@h/",
            "http://user:secret",
            "http://user:secret#@h/",
            "http://user:secret\u2100@h/",
            "http://user:secret@h/ ",
            "http://user:secret@[h/",
        ],
    )
    def test_a_password_is_not_in_the_error(self, address: str) -> None:
        with pytest.raises(ConfigError, match="not an address to download from") as error:
            parse_address(address)
        assert "secret" not in "".join(traceback.format_exception(error.value))

    def test_letters_of_every_kind(self, http: HttpServer, out: Path) -> None:
        address, login = parse_address(f"{http.put(NAME, BODY)}".replace("//", "//ü:%D0%BF@"))
        transport = make_transports(login=login)(address)
        fetch_file(
            planned(address, out), transport, retry=Retry(retries=0), on_bytes=lambda _: None
        )
        told = f"Basic {base64.b64encode('ü:п'.encode()).decode()}"
        assert http.gets()[0].authorization == told
        assert parse_address("http://@h/") == ("http://h/", None)


def fetch_all(mine: Plan) -> list[Plan]:
    return fetch_plans(
        [mine],
        transport_for=make_transports(5.0),
        retry=Retry(retries=0, sleep=lambda _: None),
        on_file=lambda *_: None,
    )


def plan(folder: Path, *files: PlannedFile) -> Plan:
    dataset = Dataset(
        name="test",
        folder=folder.name,
        what="",
        format="",
        size="",
        licence="",
        address="http://h/",
        contents=FixedFiles(files=()),
    )
    return Plan(dataset=dataset, folder=folder, release="7", files=files)


def test_plans_are_fetched_in_order_and_what_is_there_is_left(http: HttpServer, out: Path) -> None:
    files = [
        PlannedFile(address=http.put(name, BODY[:n]), target=out / name, bytes=n)
        for name, n in (("a", 10), ("b", 20), ("c", 30))
    ]
    out.mkdir()
    (out / "b").write_bytes(b"mine")
    files[1] = replace(files[1], standing=Standing.DONE)
    (out / "c").write_bytes(b"old")
    files[2] = replace(files[2], standing=Standing.WRONG)
    told: list[tuple[str, int]] = []
    fetch_plans(
        [plan(out, *files)],
        transport_for=make_transports(),
        retry=Retry(retries=0),
        on_file=lambda file, size: told.append((file.target.name, size)),
    )
    assert [(out / name).read_bytes() for name in "abc"] == [BODY[:10], b"mine", BODY[:30]]
    assert [asked.path for asked in http.gets()] == ["/a", "/c"]
    assert told == [("a", 0), ("a", 10), ("c", 0), ("c", 30)]


class TestFtp:
    def test_a_cut_transfer_goes_on_at_its_byte(self, ftp: FtpServer, out: Path) -> None:
        (ftp.root / NAME).write_bytes(BODY)
        ftp.limits = [300_000, 200_000, None]
        fetch(planned(f"{ftp.address}{NAME}", out, MD5))
        assert (out / NAME).read_bytes() == BODY
        assert ftp.offsets == [0, 300_000, 500_000]
        assert left(out) == [NAME]

    def test_a_transfer_that_breaks_goes_on_in_the_next_run(
        self, ftp: FtpServer, out: Path
    ) -> None:
        (ftp.root / NAME).write_bytes(BODY)
        ftp.limits, ftp.breaks = [300_000], True
        file = planned(f"{ftp.address}{NAME}", out)
        with pytest.raises(DataError, match="goes on from where it stopped"):
            fetch(file, retries=0)
        assert NAME not in left(out)
        fetch(file)
        assert ftp.offsets == [0, 300_000]
        assert (out / NAME).read_bytes() == BODY

    @pytest.mark.parametrize("same_size", [True, False])
    def test_a_file_that_changed_meanwhile_starts_anew(
        self, ftp: FtpServer, out: Path, same_size: bool
    ) -> None:
        remote = ftp.root / NAME
        remote.write_bytes(BODY)
        os.utime(remote, (1e9, 1e9))
        ftp.limits = [300_000]
        file = planned(f"{ftp.address}{NAME}", out)
        with pytest.raises(DataError):
            fetch(file, retries=0)
        newer = NEWER if same_size else NEWER + b"\0" * 4
        remote.write_bytes(newer)
        fetch(file)
        assert ftp.offsets == [0, 0]
        assert (out / NAME).read_bytes() == newer

    def test_a_size_too_large_is_given_up(self, ftp: FtpServer, out: Path) -> None:
        (ftp.root / NAME).write_bytes(BODY)
        ftp.claims = {NAME: len(BODY) + 5}
        with pytest.raises(DataError, match="closed at byte 700,000 of 700,005"):
            fetch(planned(f"{ftp.address}{NAME}", out), retries=1)
        assert NAME not in left(out)

    def test_a_size_too_small_is_given_up(self, ftp: FtpServer, out: Path) -> None:
        (ftp.root / NAME).write_bytes(BODY)
        ftp.claims = {NAME: len(BODY) - 5}
        with pytest.raises(DataError, match="700,000 bytes came, the server announced 699,995"):
            fetch(planned(f"{ftp.address}{NAME}", out), retries=1)
        assert NAME not in left(out)

    def test_a_server_without_rest_starts_over(self, ftp: FtpServer, out: Path) -> None:
        (ftp.root / NAME).write_bytes(BODY)
        ftp.limits, ftp.without = [300_000], {"REST"}
        fetch(planned(f"{ftp.address}{NAME}", out))
        assert ftp.offsets == [0, 0]
        assert (out / NAME).read_bytes() == BODY

    def test_a_server_that_tells_no_size(self, ftp: FtpServer, out: Path) -> None:
        (ftp.root / NAME).write_bytes(BODY)
        ftp.without = {"SIZE", "MDTM"}
        fetch(planned(f"{ftp.address}{NAME}", out))
        assert (out / NAME).read_bytes() == BODY

    @pytest.mark.parametrize("breaks", [True, False])
    def test_a_cut_transfer_of_a_file_of_unknown_size(
        self, ftp: FtpServer, out: Path, breaks: bool
    ) -> None:
        """The server says that it broke off, or nobody but the file itself does."""
        name = "a.txt" if breaks else NAME
        (ftp.root / name).write_bytes(BODY)
        ftp.without, ftp.limits, ftp.breaks = {"SIZE", "MDTM"}, [300_000], breaks
        fetch(PlannedFile(address=f"{ftp.address}{name}", target=out / name))
        assert (out / name).read_bytes() == BODY
        assert ftp.offsets == [0, 0]

    def test_a_part_of_a_file_of_another_size_starts_anew(self, ftp: FtpServer, out: Path) -> None:
        (ftp.root / NAME).write_bytes(BODY)
        ftp.refused = {"MDTM": "550 no."}
        file = planned(f"{ftp.address}{NAME}", out, MD5)
        partial = Partial(file.target, file.address)
        partial.start(None, len(BODY) - 1)
        partial.path.write_bytes(b"?" * 1000)
        fetch(file)
        assert ftp.offsets == [0]
        assert (out / NAME).read_bytes() == BODY

    def test_no_promise_to_go_on_where_the_server_cannot(self, ftp: FtpServer, out: Path) -> None:
        (ftp.root / NAME).write_bytes(BODY)
        ftp.refused, ftp.limits = {"MDTM": "550 no."}, [300_000]
        with pytest.raises(DataError, match=r"run the same command again later$"):
            fetch(planned(f"{ftp.address}{NAME}", out), retries=0)

    def test_a_file_that_is_not_there(self, ftp: FtpServer, out: Path) -> None:
        with pytest.raises(DataError, match="not on the server"):
            fetch(planned(f"{ftp.address}{NAME}", out))
        assert left(out) == []
