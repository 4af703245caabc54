"""The commands of biote, by name; what a command needs is imported when it runs."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Final

TRAINER_COMMANDS: Final = {
    "fit": "Train: pre-training or fine-tuning, from YAML",
    "validate": "Evaluate on the validation split",
    "test": "Evaluate on the test split, write results and compare with baselines",
    "predict": "Predict for the test split",
}

COMMANDS: Final = {
    "prepare": "Turn FASTA and GenBank files into a corpus of token shards",
    "synth": "Write synthetic data in the real file formats",
    "demo": "Prepare, pre-train, fine-tune and test on a small scale, with a table and a picture",
}


def run_command(arguments: Sequence[str]) -> None:
    """Run one command inside this process.

    Args:
        arguments: Command and its options.

    Raises:
        BioteError: On a user's mistake.
    """
    command, *options = arguments
    from biote.commands.parsing import CommandParser, find_shipped, unknown_command

    if command in TRAINER_COMMANDS:
        from biote.commands.training import run

        run(command, [find_shipped(option) for option in options])
        return
    if command not in COMMANDS:
        raise unknown_command(command, [*TRAINER_COMMANDS, *COMMANDS])
    module = importlib.import_module(f"biote.commands.{command}")
    parser = CommandParser(prog=f"biote {command}", description=COMMANDS[command])
    module.add_arguments(parser)
    module.run(parser.parse_args(options))
