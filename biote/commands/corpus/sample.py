"""Draw records of a corpus and write them as FASTA."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

    import jsonargparse


def add_arguments(parser: jsonargparse.ArgumentParser) -> None:
    """Declare the command's arguments.

    Args:
        parser: Parser of the command.
    """
    parser.add_argument("corpus", type=Path, help="corpus folder")
    parser.add_argument("--records", type=int, default=10, help="number of distinct records")
    parser.add_argument("--seed", type=int, default=0, help="decides which records are drawn")
    parser.add_argument(
        "--molecule",
        type=str | None,
        default=None,
        help="molecule type of the records, for example DNA, mRNA, protein; by default any",
    )
    parser.add_argument(
        "--split",
        type=Literal["train", "validation", "all"],
        default="all",
        help="split that the records, all blocks of a long one, are in",
    )
    parser.add_argument(
        "--output", type=Path | None, default=None, help="FASTA file to write instead of printing"
    )


def run(arguments: jsonargparse.Namespace) -> None:
    """Draw the records and write them.

    Args:
        arguments: Parsed arguments of `add_arguments`.

    Raises:
        BioteError: If the corpus cannot be read, the request cannot be met or the file cannot
            be written.
    """
    from itertools import chain

    from biote.atomic import atomic_path
    from biote.corpora.sample import draw_records, write_fasta
    from biote.corpora.shards import Corpus
    from biote.errors import DataError
    from biote.molecules import parse_molecule

    corpus = Corpus(arguments.corpus)
    molecule = None if arguments.molecule is None else parse_molecule(arguments.molecule)
    records = draw_records(
        corpus, arguments.records, seed=arguments.seed, molecule=molecule, split=arguments.split
    )
    if len(records) < arguments.records:
        sys.stderr.write(f"{arguments.records:,} records asked for, there are {len(records):,}\n")
    text = chain.from_iterable(write_fasta(corpus, record) for record in records)
    if arguments.output is None:
        _print(text)
        return
    try:
        with atomic_path(arguments.output) as partial, partial.open("w") as stream:
            stream.writelines(text)
    except OSError as error:
        raise DataError(
            f"cannot be written: {error.strerror}",
            where=str(arguments.output),
            mend="name another output",
        ) from error


def _print(text: Iterable[str]) -> None:
    """Write to standard output, as long as somebody reads it."""
    import os

    try:
        sys.stdout.writelines(text)
        sys.stdout.flush()
    except BrokenPipeError:  # by `| head`, say
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
