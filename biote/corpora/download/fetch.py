"""Bring the files of a plan: resumable, verified, each under its name only when it is right."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pooch

from biote.corpora.download.address import Login, parse_address
from biote.corpora.download.content import by_checksum, check_content
from biote.corpora.download.files import PlannedFile, Standing
from biote.corpora.download.over_ftp import FtpTransport
from biote.corpora.download.over_http import HttpTransport
from biote.corpora.download.partial import Partial, disk_errors
from biote.corpora.download.plan import Plan, TransportFor
from biote.corpora.download.progress import human_bytes
from biote.corpora.download.receipt import Receipt
from biote.corpora.download.retry import Retry
from biote.corpora.download.transport import Corrupt, NotThere, OnBytes, Transport
from biote.corpora.locking import exclusive
from biote.errors import DataError

logger = logging.getLogger(__name__)

OnFile = Callable[[PlannedFile, int], None]
"""Told the file that is coming and how many of its bytes are there."""

STALL_S: Final = 60.0
_LOCK_FILE: Final = ".download.lock"
_SPARE_BYTES: Final = 1 << 20  # receipts and folders


def make_transports(timeout_s: float = STALL_S, *, login: Login | None = None) -> TransportFor:
    """Make the transports and the choice among them by the scheme of an address.

    Args:
        timeout_s: How long a connection may say nothing.
        login: User and password of the server, if it wants them.
    """
    http, ftp = HttpTransport(timeout_s, login=login), FtpTransport(timeout_s, login=login)

    def choose(address: str) -> Transport:
        parse_address(address)
        known: dict[str, Transport] = {"https": http, "http": http, "ftp": ftp}
        return known[urlsplit(address).scheme]

    return choose


class Fetcher:
    """Fetches one file from where it stopped; a ``downloader`` of pooch.

    Args:
        file: What to fetch.
        transport: The way to read its address.
        retry: How to try again.
        on_bytes: Told how many bytes are there.
    """

    def __init__(
        self, file: PlannedFile, transport: Transport, *, retry: Retry, on_bytes: OnBytes
    ) -> None:
        self._file = file
        self._transport = transport
        self._retry = retry
        self._on_bytes = on_bytes
        self.partial = Partial(file.target, file.address)

    def __call__(self, url: str, output_file: str, pooch: object) -> None:
        """Fetch the file.

        Args:
            url: Its address.
            output_file: Where pooch checks it before it gets its name.
            pooch: Who asks; not needed here.

        Raises:
            Corrupt: If the finished file has another size than its source states.
            DataError: If it cannot be fetched.
        """
        Path(output_file).unlink(missing_ok=True)  # a run that is killed must not leave it
        self.bring()
        self.partial.hand_over(Path(output_file))

    def bring(self) -> str:
        """Fetch what is missing of the part, and check it as far as pooch does not.

        Returns:
            What was checked; of a file with a checksum, that it is going to be.

        Raises:
            Corrupt: If the bytes cannot be the file.
            DataError: If it cannot be fetched.
        """
        url = self._file.address
        blind = self._file.checksum is not None
        try:
            self._retry.run(
                lambda: self._transport.fetch(
                    url, self.partial, blind=blind, on_bytes=self._on_bytes
                ),
                url,
                position=self.partial.size,
                goes_on=lambda: self.partial.goes_on(blind=blind),
            )
        except NotThere:
            self.partial.discard()
            raise
        size = self.partial.size()
        if self._file.exact and size != self._file.bytes:
            raise Corrupt(f"{size:,} bytes came, the release states {self._file.bytes:,}")
        if self._file.checksum is not None:
            return by_checksum(self._file.checksum)
        return check_content(self.partial.path, self._file, stated_bytes=self._stated_bytes())

    def _stated_bytes(self) -> int | None:
        """Size that the server states with the file or, if it does not, when it is asked."""
        if self._file.exact:
            return self._file.bytes
        begun = self.partial.begun()
        if begun is not None and begun.bytes is not None:
            return self.partial.size()  # which the transport has compared
        url = self._file.address
        return self._retry.run(lambda: self._transport.size(url), url) or None


def fetch_file(file: PlannedFile, transport: Transport, *, retry: Retry, on_bytes: OnBytes) -> str:
    """Fetch one file and verify it; a corrupt one is fetched anew once.

    What stood under its name stays there until the new bytes are verified.

    Args:
        file: What to fetch.
        transport: The way to read its address.
        retry: How to try again.
        on_bytes: Told how many bytes are there.

    Returns:
        What was checked, for example ``by MD5``.

    Raises:
        DataError: If it cannot be fetched, or is corrupt twice.
    """
    pooch.get_logger().setLevel(logging.ERROR)  # what it says is said here
    name = file.target.name
    fetcher = Fetcher(file, transport, retry=retry, on_bytes=on_bytes)
    store = pooch.Pooch(
        path=file.target.parent,
        base_url="",
        registry={name: file.checksum},
        urls={name: file.address},
    )
    fetcher.partial.drop_other_names()
    for last in (False, True):
        try:
            with disk_errors(file.target):
                if file.checksum is not None:
                    store.fetch(name, downloader=fetcher)
                    checked = by_checksum(file.checksum)
                else:  # pooch would take what stands there for what is wanted
                    checked = fetcher.bring()
                    fetcher.partial.hand_over(file.target)
        except ValueError as error:  # of pooch when the checksum differs, of the fetcher on size
            fetcher.partial.discard()
            reason = str(error) if isinstance(error, Corrupt) else "its checksum differs"
            if last:
                raise DataError(
                    f"corrupt: {reason}, also when fetched anew; not kept",
                    where=str(file.target),
                    mend=f"{file.address} may be changing: try later, or give --address",
                ) from error
            logger.warning("%s: corrupt (%s); fetching it anew", file.target, reason)
        else:
            fetcher.partial.discard()
            return checked
    raise AssertionError("the last attempt returns or raises")


def fetch_plans(
    plans: Sequence[Plan], *, transport_for: TransportFor, retry: Retry, on_file: OnFile
) -> list[Plan]:
    """Fetch what is missing of some plans, one file after the other.

    Args:
        plans: What to fetch.
        transport_for: The way to read an address.
        retry: How to try again.
        on_file: Told of progress.

    Returns:
        The plans with what was checked of each file.

    Raises:
        DataError: If a file cannot be fetched, the disk has no room, or another process downloads
            to the same folder.
    """
    check_room(plans)
    done = []
    for plan in plans:
        with ExitStack() as stack:
            with disk_errors(plan.folder):
                plan.folder.mkdir(parents=True, exist_ok=True)
                stack.enter_context(exclusive(plan.folder / _LOCK_FILE, busy="downloads to it"))
            fetched = _fetch_plan(plan, transport_for=transport_for, retry=retry, on_file=on_file)
            done.append(replace(plan, files=tuple(fetched)))
    return done


def _fetch_plan(
    plan: Plan, *, transport_for: TransportFor, retry: Retry, on_file: OnFile
) -> list[PlannedFile]:
    receipt = Receipt.read(plan.folder)
    done = []
    for file in plan.files:
        checked = file.checked
        if file.standing is Standing.DONE:
            Partial(file.target, file.address).discard()
        elif receipt.holds(file.target, file.checksum):  # another run has brought it meanwhile
            checked = receipt.checked(file.target)
        else:
            if file.standing is Standing.WRONG:
                logger.warning("%s: not what its source has; fetching it anew", file.target)
                receipt.drop(file.target)

            def tell(size: int, file: PlannedFile = file) -> None:
                on_file(file, size)

            transport = transport_for(file.address)
            checked = fetch_file(file, transport, retry=retry, on_bytes=tell)
        done.append(replace(file, standing=Standing.DONE, checked=checked))
        if not receipt.holds(file.target, file.checksum):
            receipt.add(done[-1], release=plan.release)
    return done


def check_room(plans: Sequence[Plan]) -> None:
    """Check that the disks have room for what is missing.

    Args:
        plans: What is going to be fetched.

    Raises:
        DataError: If one has not.
    """
    needed: dict[int, tuple[Path, int]] = {}
    for plan in plans:
        with disk_errors(plan.folder):
            parents = (plan.folder, *plan.folder.absolute().parents)
            there = next(path for path in parents if path.exists())
            disk = there.stat().st_dev
        before = needed.get(disk, (there, 0))[1]
        needed[disk] = there, before + plan.missing_bytes()
    for folder, missing in needed.values():
        with disk_errors(folder):
            free = shutil.disk_usage(folder).free
        if missing and missing + _SPARE_BYTES > free:
            raise DataError(
                f"{human_bytes(missing)} to come, {human_bytes(free)} free",
                where=str(folder),
                mend="make room, or give --output on a larger disk",
            )
