from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "biote",
    max_examples=50,
    deadline=None,  # CI shares its cores: a slow example is no failure
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
settings.load_profile("biote")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real data; the test skips without it."""
    folder = os.environ.get("BIOTE_DATA")
    if not folder:
        pytest.skip("BIOTE_DATA is not set: this test reads real data")
    return Path(folder)


def free_port() -> int:
    """A port below those that the system hands out by itself, so that none is taken meanwhile."""
    # Not the module's own generator: every run in this process seeds that with the same number,
    # and tests side by side would choose the same ports.
    generator = random.SystemRandom()
    while True:
        port = generator.randrange(20_000, 32_000)
        with socket.socket() as trial:
            try:
                trial.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


@pytest.fixture(scope="session")
def run_two(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Runs Python in two processes that together are one run, started as torchrun starts them.

    ``run_two(arguments)`` waits for both and fails as soon as one of them does, with what both
    have said. ``meanwhile`` is called while they run, and its result returned. ``stop_at`` tells
    the second to stop once the first has said a line that begins so.
    """

    def run(
        arguments: Sequence[object],
        *,
        meanwhile: Callable[[], object] | None = None,
        stop_at: str | None = None,
        timeout_s: float = 120,
    ) -> object:
        environment = os.environ | {
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(free_port()),
            "WORLD_SIZE": "2",
            "LOCAL_WORLD_SIZE": "2",
            "GROUP_RANK": "0",
            "TORCHELASTIC_RUN_ID": "biote",
            "GLOO_SOCKET_IFNAME": "lo",
            "OMP_NUM_THREADS": "1",
            "PYTHONFAULTHANDLER": "1",
        }
        # Files, because a full pipe that nobody reads stops whoever writes to it.
        folder = tmp_path_factory.mktemp("processes")
        said = [folder / f"rank{number}.txt" for number in range(2)]
        ranks = []
        for number, path in enumerate(said):
            with path.open("w") as file:
                ranks.append(
                    subprocess.Popen(
                        [sys.executable, *map(str, arguments)],
                        env=environment | {"RANK": str(number), "LOCAL_RANK": str(number)},
                        stdout=file,
                        stderr=subprocess.STDOUT,
                    )
                )
        try:
            result = None if meanwhile is None else meanwhile()
            deadline = time.monotonic() + timeout_s
            stopped = stop_at is None
            while any(rank.poll() is None for rank in ranks):
                if not stopped and f"\n{stop_at}" in f"\n{said[0].read_text()}":
                    ranks[1].terminate()
                    stopped = True
                if any(rank.poll() for rank in ranks):
                    break
                if time.monotonic() > deadline:
                    for rank in ranks:
                        rank.send_signal(signal.SIGABRT)  # faulthandler writes where it waits
                        rank.wait(10)
                time.sleep(0.01)
            codes = [rank.poll() for rank in ranks]
        finally:
            for rank in ranks:
                rank.kill()
                rank.wait()
        assert codes == [0, 0], "\n".join(text.read_text() for text in said)
        assert stopped, f"no line begins with {stop_at}:\n{said[0].read_text()}"
        return result

    return run
