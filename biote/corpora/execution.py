"""Parts of the input in this process, in a pool of processes, or on a Dask cluster.

All three are executors of ``concurrent.futures``, so what is run does not know where it runs.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import connection
from typing import Any, Final, TypeVar

from biote.errors import BioteError, ConfigError, DataError

Task = TypeVar("Task")
Result = TypeVar("Result")

_CONNECT_SECONDS: Final = 20
_WORKER_SECONDS: Final = 120
_AHEAD: Final = 2
"""Parts that wait beyond those being worked on, so that no worker waits for the next."""


class _InlineExecutor(Executor):
    """Does the work at once, in this process."""

    def submit(self, fn: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Future[Result]:
        future: Future[Result] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


@contextmanager
def open_executor(
    workers: int, scheduler: str | None
) -> Iterator[tuple[Executor, Callable[[], int]]]:
    """Open where the parts are worked on.

    Args:
        workers: Processes of a pool on this machine; 1 is this process.
        scheduler: Address of a Dask scheduler, which takes the place of the pool.

    Yields:
        The executor, and a function that tells how many parts may be submitted and not done.

    Raises:
        ConfigError: If the scheduler cannot be reached or Dask is not installed.
        DataError: If a worker was killed.
    """
    if scheduler is not None:
        with _dask(scheduler) as opened:
            yield opened
    elif workers == 1:
        yield _InlineExecutor(), lambda: 1
    else:
        # Spawned, because Arrow and SentencePiece hold threads that do not survive a fork.
        context = multiprocessing.get_context("spawn")
        others = set(multiprocessing.active_children())
        pool = ProcessPoolExecutor(workers, context, _end_with_parent)
        try:
            yield pool, lambda: workers + _AHEAD
        except BrokenProcessPool as error:
            raise DataError(
                "a worker process was killed, most often because memory ran out",
                where=f"--workers {workers}",
                mend="give fewer workers and run again",
            ) from error
        except KeyboardInterrupt:
            # Not waited for: a part that is not done leaves nothing that counts.
            for worker in set(multiprocessing.active_children()) - others:
                worker.terminate()
            raise
        finally:
            pool.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """Let a worker of a pool end with the process that started it, and not by itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches both, and one answers
    parent = multiprocessing.parent_process()
    assert parent is not None, "runs in a worker"

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _dask(scheduler: str) -> Iterator[tuple[Executor, Callable[[], int]]]:
    try:
        from distributed import Client, KilledWorker
        from distributed.comm.core import CommClosedError
    except ImportError as error:
        raise ConfigError(
            "Dask is not installed",
            where=f"--scheduler {scheduler}",
            mend="pip install 'biote[dask]'",
        ) from error
    try:
        client = Client(scheduler, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"no Dask scheduler answers: {error}",
            where=f"--scheduler {scheduler}",
            mend="give the address that `dask scheduler` prints, for example tcp://host:8786",
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=_WORKER_SECONDS)
        except TimeoutError as error:
            raise ConfigError(
                f"the Dask scheduler has had no worker for {_WORKER_SECONDS} s",
                where=f"--scheduler {scheduler}",
                mend="start workers with `dask worker ADDRESS`",
            ) from error
        executor = client.get_executor(pure=False)
        try:
            yield executor, lambda: sum(client.ncores().values()) + _AHEAD
        except (CancelledError, CommClosedError) as error:
            raise DataError(
                "the Dask scheduler was lost",
                where=f"--scheduler {scheduler}",
                mend="start it and run again: what is done is kept",
            ) from error
        except KilledWorker as error:
            raise DataError(
                f"a part was given up after its workers died: {error}",
                where=f"--scheduler {scheduler}",
                mend="give the workers more memory and run again",
            ) from error
        finally:
            executor.shutdown(wait=False)


def run_all(
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    *,
    executor: Executor,
    limit: Callable[[], int],
    done: Callable[[Task, Result], None],
) -> None:
    """Do all tasks, a bounded number of them waiting at any time.

    Args:
        function: What is done; it and its tasks can be pickled.
        tasks: The tasks, taken one after the other as there is room.
        executor: Where they are done.
        limit: How many may be submitted and not done.
        done: Called in this process for every task with its result, in no certain order.

    Raises:
        BioteError: What stopped a task; tasks that had not begun are not done.
    """
    pending: dict[Future[Result], Task] = {}

    def collect(room_for: int) -> None:
        while len(pending) > room_for:
            finished, _ = wait(pending, return_when=FIRST_COMPLETED)
            # What went well first: it is done also where another task of the same moment failed.
            for future in sorted(finished, key=lambda future: future.exception() is not None):
                done(pending.pop(future), future.result())

    try:
        for task in tasks:
            collect(max(limit() - 1, 0))
            pending[executor.submit(function, task)] = task
        collect(0)
    except (BioteError, OSError):
        for future in pending:
            future.cancel()
        raise
