"""Which records the windows of a training batch were cut from, found again from a cursor."""

from __future__ import annotations

from collections.abc import Sequence

from biote.batch import MaskedBatch
from biote.corpora.shards import Corpus
from biote.datamodules.cursor import Cursor
from biote.datamodules.mixture import Mixture
from biote.datamodules.sampler import deal
from biote.datamodules.shares import PartSize, Share


def window_origins(
    batch: MaskedBatch,
    micro_batch: int,
    *,
    mixture: Mixture,
    corpora: Sequence[Corpus],
    share: Share,
    size: PartSize | None,
    before: Cursor,
    tokens_per_step: int,
) -> list[dict[str, str | int]]:
    """Find the records of a batch: the windows of its step are drawn once more.

    Args:
        batch: Training batch of this rank.
        micro_batch: Its ordinal among the micro-batches of this rank in its step.
        mixture: Mixture the batch was drawn from.
        corpora: Corpora of the mixture.
        share: Rank, ranks and accumulated micro-batches.
        size: What batches are padded to, if they are.
        before: Where the run stood before the step of the batch.
        tokens_per_step: Tokens of a step.

    Returns:
        ``corpus``, ``record``, ``unit`` and its tokens from ``first_token`` up to
        ``end_token`` for every group that is not padding.

    Raises:
        ValueError: If these windows are not those of the batch.
    """
    steps = mixture.steps(
        before,
        tokens_per_step=tokens_per_step,
        tokens=before.tokens + 1,
        parts=share.parts if size is not None else None,
    )
    step = next(steps)
    windows = step.windows
    bounds = step.bounds if step.bounds is not None else deal(windows.lengths, share.parts)
    part = micro_batch * share.world + share.rank
    mine = windows.part(int(bounds[part]), int(bounds[part + 1]))
    lengths = mine.lengths.tolist()
    if before.step != batch.step or list(batch.lengths[: len(lengths)]) != lengths:
        raise ValueError(f"the cursor of step {before.step} does not lead to the batch")
    return [
        {
            "corpus": str(corpora[corpus].folder),
            "record": corpora[corpus].record_id(unit),
            "unit": unit,
            "first_token": start,
            "end_token": stop,
        }
        for corpus, unit, start, stop in zip(
            mine.corpora.tolist(),
            mine.units.tolist(),
            mine.starts.tolist(),
            mine.stops.tolist(),
            strict=True,
        )
    ]
