from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biote.corpora.download.retry import Retry
from biote.corpora.download.transport import Interrupted
from biote.errors import DataError

ADDRESS = "https://host/file"


class Operation:
    """Fails as often as it is told, bringing some bytes each time."""

    def __init__(self, failures: int, brings: int = 0, asks_s: float = 0.0) -> None:
        self.failures = failures
        self.calls = 0
        self.bytes = 0
        self._brings = brings
        self._asks_s = asks_s

    def __call__(self) -> str:
        self.calls += 1
        self.bytes += self._brings
        if self.calls <= self.failures:
            raise Interrupted("broke", wait_s=self._asks_s)
        return "done"

    def position(self) -> int:
        return self.bytes


@given(failures=st.integers(0, 8), jitter=st.floats(0, 1))
def test_waits_double_up_to_a_limit_and_jitter_halves_them_at_most(
    failures: int, jitter: float
) -> None:
    waits: list[float] = []
    retry = Retry(
        retries=8, first_wait_s=1, longest_wait_s=20, sleep=waits.append, draw=lambda: jitter
    )
    operation = Operation(failures)

    assert retry.run(operation, ADDRESS) == "done"

    assert operation.calls == failures + 1
    full = [min(20.0, 2.0**n) for n in range(failures)]
    assert waits == [pytest.approx(wait * (0.5 + jitter / 2)) for wait in full]


@pytest.mark.parametrize(("goes_on", "brings"), [(True, 5), (False, 5), (True, 0)])
def test_going_on_is_promised_only_where_it_is_possible(goes_on: bool, brings: int) -> None:
    operation = Operation(99, brings=brings)
    with pytest.raises(DataError) as caught:
        Retry(retries=0).run(
            operation, ADDRESS, position=operation.position, goes_on=lambda: goes_on
        )
    assert ("goes on" in str(caught.value)) == (goes_on and brings > 0)


@pytest.mark.parametrize("retries", [0, 1, 4])
def test_gives_up_after_the_number_of_retries_in_one_line(retries: int) -> None:
    operation = Operation(99)
    with pytest.raises(DataError) as caught:
        Retry(retries=retries, sleep=lambda _: None).run(operation, ADDRESS)
    assert operation.calls == retries + 1
    assert str(caught.value).startswith(f"{ADDRESS}: broke (tried ")
    assert "\n" not in str(caught.value)


def test_failures_are_counted_anew_after_progress() -> None:
    steady = Operation(50, brings=100)
    retry = Retry(retries=1, progress_bytes=100, sleep=lambda _: None)
    assert retry.run(steady, ADDRESS, position=steady.position) == "done"

    slow = Operation(50, brings=10)
    with pytest.raises(DataError):
        retry.run(slow, ADDRESS, position=slow.position)


def test_bytes_that_come_again_and_again_are_no_progress() -> None:
    """A server without ranges that always breaks at the same byte is given up."""
    operation = Operation(1000)
    positions = iter([0, *[500, 500] * 1000])
    retry = Retry(retries=3, progress_bytes=100, sleep=lambda _: None)
    with pytest.raises(DataError):
        retry.run(operation, ADDRESS, position=lambda: next(positions))
    assert operation.calls == 4


def test_a_server_that_asks_for_more_time_gets_it() -> None:
    waits: list[float] = []
    Retry(sleep=waits.append).run(Operation(1, asks_s=45), ADDRESS)
    assert waits == [45]
