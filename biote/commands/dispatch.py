"""The commands of biote, by name; what a command needs is imported when it runs."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Final

from biote.errors import ConfigError

TRAINER_COMMANDS: Final = {
    "fit": "Train: pre-training or fine-tuning, from YAML",
    "validate": "Evaluate on the validation split",
    "test": "Evaluate on the test split, write results and compare with baselines",
    "predict": "Predict for the test split",
}

COMMANDS: Final = {
    "download": "Fetch public data from its official source, from where it stopped",
    "prepare": "Turn FASTA and GenBank files into a corpus of token shards",
    "corpus": "Inspect, verify, merge and sample corpora; gene-protein pairs; structures",
    "tokenizer": "Train byte-pair encodings",
    "splits": "Make folds without similar proteins on two sides, check and draw them",
    "suite": "Fine-tune and test an encoder on all tasks of GUE, TAPE or ProteinGLUE",
    "crossval": "Train and test every fold of a benchmark and join their results",
    "probe": "Compare what attention maps of encoders know of contacts",
    "specificity": "Test the fold models of a cross-validation on JASPAR and join their results",
    "score": "Predict the binding free energy of pairs in a table, averaged over models",
    "scan": "Predict every single substitution of a binding site, as a table and a picture",
    "table": "Put the results of several runs into one table, also as Markdown",
    "synth": "Write synthetic data in the real file formats",
    "mup": "Check the parametrisation by which learning rates carry over to wider models",
    "demo": "Prepare, pre-train, fine-tune and test on a small scale, with a table and a picture",
}

PASSING_ON: Final = frozenset({"crossval", "specificity"})
"""Commands that take options of their own and hand the others to ``biote fit`` or ``test``."""

# A group holds commands of its own: `biote corpus info` is `biote.commands.corpus.info`.
GROUPS: Final[dict[str, dict[str, str]]] = {
    "corpus": {
        "info": "Show what a corpus holds and where it came from",
        "verify": "Check every shard of a corpus against its checksums",
        "merge": "Join corpora of one tokenizer into one, small shards into large ones",
        "sample": "Draw records of a corpus and write them as FASTA",
        "contacts": "Measure protein residues against the nucleic acid in PDB and mmCIF files",
        "maps": "Write C-alpha coordinates of single proteins in PDB and mmCIF files as Parquet",
        "paint": "Paint predictions on a structure: an mmCIF file and a picture",
        "pairs": "Write genes and their proteins from annotated GenBank files as Parquet",
    },
    "tokenizer": {
        "train": "Train byte-pair encodings on sequences",
    },
    "mup": {
        "check": "Check that activations keep their size when the model is made wider",
    },
    "probe": {
        "compare": "Tuned encoders minus the base encoder, on the same folds and seeds",
    },
    "splits": {
        "make": "Deal proteins, or clusters of similar ones, into folds and write the fold file",
        "check": "Check a fold file, and align its test proteins with the others",
        "plot": "Draw how similar test proteins are to the nearest training protein",
    },
}


def run_command(arguments: Sequence[str]) -> None:
    """Run one command inside this process.

    Args:
        arguments: Command and its options.

    Raises:
        BioteError: On a user's mistake.
    """
    command, *options = arguments
    from biote.commands.parsing import (
        CommandParser,
        divide_options,
        find_shipped,
        unknown_command,
    )

    if command in TRAINER_COMMANDS:
        from biote.commands.training import run

        run(command, [find_shipped(option) for option in options])
        return
    if command not in COMMANDS:
        raise unknown_command(command, [*TRAINER_COMMANDS, *COMMANDS])
    name, summary = command, COMMANDS[command]
    if command in GROUPS:
        members = GROUPS[command]
        if not options or options[0] in ("-h", "--help"):
            if not options:
                known = ", ".join(members)
                raise ConfigError(f"no command after {command!r}", mend=f"commands: {known}")
            sys.stdout.write(_group_help(command))
            sys.exit(0)
        name = f"{command} {options[0]}"
        if options[0] not in members:
            raise unknown_command(options[0], members)
        summary = members[options.pop(0)]
    module = importlib.import_module(f"biote.commands.{name.replace(' ', '.')}")
    parser = CommandParser(prog=f"biote {name}", description=summary)
    module.add_arguments(parser)
    if name in PASSING_ON:
        options, passed_on = divide_options(parser, options)
        module.run(parser.parse_args(options), [find_shipped(option) for option in passed_on])
        return
    module.run(parser.parse_args(options))


def _group_help(group: str) -> str:
    lines = [
        f"usage: biote {group} COMMAND [options]",
        "",
        COMMANDS[group],
        "",
        *(f"  {name:<10} {summary}" for name, summary in GROUPS[group].items()),
    ]
    return "\n".join(lines) + "\n"
