from __future__ import annotations

import os
from pathlib import Path

import pytest

from biote.corpora.bpe_training.memory import BYTES_PER_CHARACTER, characters_held, machine_memory
from biote.errors import ConfigError


def test_every_gigabyte_holds_the_same_number_of_characters() -> None:
    held = [characters_held(n * 10**9, pieces=2048) for n in (1, 2, 101)]
    assert held[0] > 0
    assert held[1] - held[0] == pytest.approx(1e9 / BYTES_PER_CHARACTER, abs=2)
    assert held[2] - held[1] == pytest.approx(99e9 / BYTES_PER_CHARACTER, abs=2)
    assert characters_held(10**9, pieces=65_536) < held[0]


def test_too_little_memory_says_how_much_is_enough() -> None:
    with pytest.raises(ConfigError, match=r"--memory-gb: 0\.1 GB are too few .* at least 0\.\d+"):
        characters_held(10**8, pieces=2048)


@pytest.mark.parametrize(
    ("membership", "file", "limit"),
    [
        ("0::/slurm/job_7/step\n", "slurm/job_7/memory.max", "1000000\n"),
        ("0::/\n", "memory.max", "1000000\n"),
        (
            "5:cpu,cpuacct:/x\n4:memory:/slurm/job_7\n0::/\n",
            "memory/slurm/job_7/memory.limit_in_bytes",
            "1000000",
        ),
        ("4:memory:/elsewhere\n", "memory/memory.limit_in_bytes", "1000000"),
    ],
)
def test_a_limit_of_the_job_counts(tmp_path: Path, membership: str, file: str, limit: str) -> None:
    (tmp_path / "self").write_text(membership)
    path = tmp_path / "groups" / file
    path.parent.mkdir(parents=True)
    path.write_text(limit)
    assert machine_memory(tmp_path / "groups", tmp_path / "self") == 1_000_000


def test_without_a_limit_it_is_the_memory_of_the_machine(tmp_path: Path) -> None:
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert machine_memory(tmp_path, tmp_path / "none") == physical
    (tmp_path / "self").write_text("0::/a\n")
    (tmp_path / "a").mkdir()
    (tmp_path / "a/memory.max").write_text("max\n")
    assert machine_memory(tmp_path, tmp_path / "self") == physical
    assert 0 < machine_memory() <= physical
