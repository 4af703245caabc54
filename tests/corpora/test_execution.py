from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from biote.corpora.execution import open_executor, run_all
from biote.corpora.prepare import prepare
from biote.errors import ConfigError, DataError
from biote.molecules import parse_molecule
from biote.tokenization import CharacterTokenizer

distributed = pytest.importorskip("distributed")


# Functions of modules that a spawned process can import.
@pytest.mark.parametrize("workers", [1, 2])
def test_every_task_is_done_and_few_wait(workers: int) -> None:
    numbers = [4, 9, 16, 25, 36, 49, 64, 81]
    taken, results = 0, dict[int, int]()

    def tasks() -> Iterator[int]:
        nonlocal taken
        for number in numbers:
            taken += 1
            yield number
            assert taken - len(results) <= limit()

    with open_executor(workers, None) as (executor, limit):
        run_all(math.isqrt, tasks(), executor=executor, limit=limit, done=results.__setitem__)
    assert results == {number: math.isqrt(number) for number in numbers}


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_ends_the_work(workers: int) -> None:
    done: list[str] = []
    tasks = ["DNA", "mRNA", "nonsense", *["DNA"] * 100]
    with (
        pytest.raises(DataError, match="unknown molecule type 'nonsense'"),
        open_executor(workers, None) as (executor, limit),
    ):
        run_all(
            parse_molecule,
            tasks,
            executor=executor,
            limit=limit,
            done=lambda task, _: done.append(task),
        )
    assert len(done) < 50
    if workers == 1:  # two finish in any order
        assert done == tasks[:2]


def test_a_killed_worker_of_a_pool_is_one_line() -> None:
    with (
        pytest.raises(DataError, match=r"worker process was killed.*fewer workers"),
        open_executor(2, None) as (executor, limit),
    ):
        run_all(os._exit, range(3), executor=executor, limit=limit, done=lambda *_: None)


def test_no_scheduler_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("biote.corpora.execution._CONNECT_SECONDS", 0.5)
    with (
        pytest.raises(ConfigError, match=r"no Dask scheduler answers.*dask scheduler"),
        open_executor(1, "tcp://127.0.0.1:9"),
    ):
        pass


def test_dask_gives_the_same_corpus_though_a_worker_is_killed(tmp_path: Path) -> None:
    inputs = tmp_path / "inputs"
    inputs.mkdir()
    for i in range(12):
        records = "".join(f">r{i}-{j}\n{'ACGT'[(i + j) % 4] * (200 + j)}\n" for j in range(400))
        (inputs / f"{i:02d}.fa").write_text(records)
    prepare([inputs], tmp_path / "one", tokenizer=CharacterTokenizer(), block_bytes=50_000)
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        with distributed.Client(cluster) as client:
            pids = list(client.run(os.getpid).values())
        killer = threading.Thread(target=_kill_half_way, args=(tmp_path / "two", pids[0]))
        killer.start()
        prepare(
            [inputs],
            tmp_path / "two",
            tokenizer=CharacterTokenizer(),
            scheduler=cluster.scheduler_address,
            block_bytes=50_000,
        )
        killer.join()
    one, two = (
        {p.relative_to(tmp_path / n): p.read_bytes() for p in _files(tmp_path / n)}
        for n in ("one", "two")
    )
    assert one == two
    assert len(one) > 24
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _kill_half_way(output: Path, worker: int) -> None:
    deadline = time.monotonic() + 60
    while len(list(output.glob("progress/0*-*.json"))) < 5 and time.monotonic() < deadline:
        time.sleep(0.002)
    os.kill(worker, signal.SIGKILL)


def _sleep_on(address: str) -> None:
    with open_executor(1, address) as (executor, limit):
        run_all(time.sleep, [60], executor=executor, limit=limit, done=lambda *_: None)


def test_a_scheduler_that_dies_is_one_line(tmp_path: Path) -> None:
    address_file = tmp_path / "scheduler.json"
    dask = [sys.executable, "-m", "dask"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    scheduler = subprocess.Popen(
        [*dask, "scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", address_file],
        **quiet,  # type: ignore[call-overload]
    )
    worker = subprocess.Popen(
        [*dask, "worker", "--scheduler-file", address_file, "--no-nanny", "--no-dashboard"],
        **quiet,  # type: ignore[call-overload]
    )
    try:
        while not address_file.exists():
            assert scheduler.poll() is None
            time.sleep(0.1)
        address = json.loads(address_file.read_text())["address"]
        threading.Timer(1.0, scheduler.kill).start()
        with pytest.raises(DataError, match=r"the Dask scheduler was lost.*run again"):
            _sleep_on(address)
    finally:
        for process in (scheduler, worker):
            process.kill()
            process.wait()
