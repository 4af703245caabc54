"""The ``biote`` command: finds the command, runs it, and turns mistakes into one line.

Nothing heavy is imported here; a command imports what it needs when it is chosen.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from typing import Final

from biote.commands.dispatch import COMMANDS, TRAINER_COMMANDS, run_command
from biote.errors import BioteError
from biote.version import __version__

_MISTAKE: Final = 2
_INTERRUPTED: Final = 130  # as shells tell of a program that Ctrl-C ended


def main(args: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        args: Command and its options; null takes those of the process.

    Returns:
        Exit code: 0, 2 for a user's mistake, which is printed on one line, or 130 for Ctrl-C.
    """
    arguments = list(sys.argv[1:] if args is None else args)
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    if not arguments or arguments[0] in ("-h", "--help"):
        sys.stdout.write(_help())
        return 0 if arguments else _MISTAKE
    if arguments[0] == "--version":
        sys.stdout.write(f"biote {__version__}\n")
        return 0
    # Threads that spin while they wait take turns with other processes' threads on a shared
    # machine, at ten milliseconds a turn: sleeping ones cost nothing where the cores are free.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    _log_to_console()
    try:
        run_command(arguments)
    except BioteError as error:
        if debug:
            raise
        sys.stderr.write(f"biote: error: {error}\n")
        return _MISTAKE
    except KeyboardInterrupt:
        if debug:
            raise
        sys.stderr.write("biote: interrupted\n")
        return _INTERRUPTED
    return 0


def console_script() -> None:
    """Entry point of the installed command."""
    sys.exit(main())


def _help() -> str:
    lines = [
        "usage: biote COMMAND [options]",
        "",
        "Pre-train, fine-tune and test transformer encoders on nucleic acids and proteins.",
        "",
        "Training commands, configured by YAML (biote fit --config demo/pretrain.yaml):",
        *(f"  {name:<12}{summary}" for name, summary in TRAINER_COMMANDS.items()),
        "",
        "Other commands:",
        *(f"  {name:<12}{summary}" for name, summary in COMMANDS.items()),
        "",
        "options:",
        "  --help     This text; after a command, the options of that command",
        "  --version  The version of biote",
        "  --debug    After a command: show the full text of an error",
    ]
    return "\n".join(lines) + "\n"


def _log_to_console() -> None:
    """Show what biote logs, once per run: on the first process of a distributed one."""
    logger = logging.getLogger("biote")
    ranks = (os.environ.get(name, "0") for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"))
    first = all(rank == "0" for rank in ranks)
    logger.setLevel(logging.INFO if first else logging.WARNING)
    if not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)


if __name__ == "__main__":
    console_script()
