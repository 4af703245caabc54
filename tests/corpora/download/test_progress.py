from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from biote.corpora.download.catalogue import DATASETS
from biote.corpora.download.files import PlannedFile, Standing
from biote.corpora.download.plan import Plan
from biote.corpora.download.progress import ProgressLog, Tally, describe, human_bytes

ONE = PlannedFile(address="a", target=Path("one"), bytes=100)
TWO = PlannedFile(address="b", target=Path("two"), bytes=50)
DONE = PlannedFile(address="c", target=Path("c"), bytes=7, standing=Standing.DONE)


def tally() -> Tally:
    files = (ONE, DONE, TWO)
    plan = Plan(dataset=DATASETS["pdb"], folder=Path(), release=None, files=files)
    return Tally([plan])


def test_bytes_add_up_over_files_and_fall_when_one_starts_anew() -> None:
    counted = tally()
    assert counted.total == 150
    told = [(ONE, 60), (ONE, 0), (ONE, 100), (TWO, 0), (TWO, 50)]
    assert [counted.at(file, size) for file, size in told] == [60, 0, 100, 100, 150]


def test_a_line_is_logged_every_so_often(caplog: pytest.LogCaptureFixture) -> None:
    clock = [0.0]
    log = ProgressLog(tally(), every_s=30, clock=lambda: clock[0])
    with caplog.at_level(logging.INFO):
        for now, size in ((1.0, 10), (29.0, 20), (31.0, 72), (40.0, 80), (62.0, 100)):
            clock[0] = now
            log(ONE, size)
    assert caplog.messages == ["one: 72 B of 150 B, 2 B/s", "one: 100 B of 150 B, 1 B/s"]


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (None, "? B"),
        (0, "0 B"),
        (1, "1 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (1500, "1.5 kB"),
        (3_162_216, "3.2 MB"),
        (110 * 10**9, "110.0 GB"),
        (7 * 10**12, "7.0 TB"),
    ],
)
def test_sizes_are_written_for_people(size: int | None, text: str) -> None:
    assert human_bytes(size) == text


def test_a_part_tells_how_much_is_there() -> None:
    assert describe(replace(ONE, standing=Standing.PART, present_bytes=60)) == "60 B there"
    assert describe(DONE) == "there"
