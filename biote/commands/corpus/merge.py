"""Join corpora of one tokenizer into one, small shards into large ones.

A single input is written with shards of full size. An interrupted merge is done again by the same
command.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import jsonargparse


def add_arguments(parser: jsonargparse.ArgumentParser) -> None:
    """Declare the command's arguments.

    Args:
        parser: Parser of the command.
    """
    parser.add_argument("corpora", nargs="+", type=Path, help="corpus folders, in this order")
    parser.add_argument("--output", type=Path, required=True, help="corpus folder to make")
    parser.add_argument(
        "--drop-duplicates",
        action="store_true",
        help="leave out every record with the same sequence as an earlier one of its molecule type",
    )
    parser.add_argument(
        "--shard-bytes",
        type=int,
        default=1 << 27,
        help="most that a shard holds, unless a single unit is larger",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace another corpus that is in the output"
    )


def run(arguments: jsonargparse.Namespace) -> None:
    """Merge the corpora and show what the new one holds.

    Args:
        arguments: Parsed arguments of `add_arguments`.

    Raises:
        BioteError: If the corpora cannot be merged.
    """
    from rich.console import Console

    from biote.commands.corpus_report import show_corpus
    from biote.commands.work_progress import show_progress
    from biote.corpora.ledger import read_ledger, summarise
    from biote.corpora.manifest import LEDGER_FILE
    from biote.corpora.merge import merge

    console = Console()
    with show_progress("merging", console) as progress:
        info = merge(
            arguments.corpora,
            arguments.output,
            drop_duplicates=arguments.drop_duplicates,
            overwrite=arguments.overwrite,
            shard_bytes=arguments.shard_bytes,
            progress=progress,
        )
    ledger = arguments.output / LEDGER_FILE
    numbers = f"corpora merged: {len(arguments.corpora):,}, shards: {len(info.shards):,}"
    show_corpus(
        info,
        summarise(read_ledger(ledger)),
        ledger,
        console,
        title=f"{arguments.output} ({numbers})",
    )
