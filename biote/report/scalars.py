"""Curves of a run, read from its TensorBoard files."""

from __future__ import annotations

from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

Curve = list[tuple[int, float]]


def read_scalars(folder: Path, tag: str) -> Curve:
    """Read one curve, over all restarts of a run.

    Args:
        folder: Run folder; every TensorBoard file below it is read.
        tag: Name of the logged value.

    Returns:
        Steps and values in order of steps; of a step logged twice, the later value. Empty if
        nothing of that name was logged.
    """
    values: dict[int, float] = {}
    files = sorted(folder.rglob("events.out.tfevents.*"), key=lambda path: path.stat().st_mtime)
    for path in files:
        events = EventAccumulator(str(path), size_guidance={"scalars": 0})
        events.Reload()
        if tag in events.Tags()["scalars"]:
            values |= {event.step: event.value for event in events.Scalars(tag)}
    return sorted(values.items())
