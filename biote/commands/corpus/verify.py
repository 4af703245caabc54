"""Check every file of a corpus against its description."""

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
    parser.add_argument("corpus", type=Path, help="corpus folder")
    parser.add_argument(
        "--deep",
        action="store_true",
        help="decode every unit, too, and compare it with the digest of its sequence",
    )
    parser.add_argument("--workers", type=int, default=1, help="processes that check shards")


def run(arguments: jsonargparse.Namespace) -> None:
    """Check a corpus and print all its faults.

    Args:
        arguments: Parsed arguments of `add_arguments`.

    Raises:
        BioteError: If the folder is no corpus, or anything in it is not as it should be.
    """
    from rich.console import Console

    from biote.commands.work_progress import show_progress
    from biote.corpora.verify import verify
    from biote.errors import DataError

    console = Console()
    with show_progress("checking", console) as progress:
        result = verify(
            arguments.corpus, deep=arguments.deep, workers=arguments.workers, progress=progress
        )

    def line(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True, markup=False)

    if result.faults:
        for fault in result.faults:
            line(f"{fault.where}: {fault.what}")
        first, number = result.faults[0], len(result.faults)
        raise DataError(
            f"{first.what} ({number:,} fault{'s' if number > 1 else ''} in all)",
            where=first.where,
            mend="copy the folder again, or prepare it anew",
        )
    checked = (
        f"{result.shards:,} shards of {result.bytes:,} bytes with {result.units:,} units, "
        f"{result.sidecars:,} window indices"
    )
    if arguments.deep:
        checked += f", {result.units - result.not_decodable:,} units by their decoded sequence"
        if result.not_decodable:
            checked += f" ({result.not_decodable:,} have unknown tokens and cannot be decoded)"
    line(f"{arguments.corpus} is whole: {checked}")
