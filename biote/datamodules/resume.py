"""What must be the same for a run to be continued."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from biote.errors import CheckpointError


def refuse_other_settings(stored: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Refuse to resume with settings under which a place in the data means something else.

    Args:
        stored: Settings in the checkpoint.
        here: Settings of this run.

    Raises:
        CheckpointError: If one differs.
    """
    for name, value in here.items():
        if stored.get(name) != value:
            raise CheckpointError(
                f"the checkpoint was trained with {stored.get(name)}, this run has {value}",
                where=f"data.{name}",
                mend="resume with the value it was trained with, or start anew",
            )
