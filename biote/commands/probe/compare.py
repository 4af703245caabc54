"""Compare cross-validations of the attention probe: tuned encoders minus the base encoder.

Both have to be probed on the same folds with the same seeds. Intervals come from resampling
clusters of similar proteins, the same ones for all runs.
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
    parser.add_argument("base", type=Path, help="folder of biote crossval of the base encoder")
    parser.add_argument(
        "tuned",
        type=Path,
        nargs="+",
        help="folders of the encoders it is compared with: Delta-G-tuned, tuned on shuffled "
        "Delta G, with random weights, ...",
    )
    parser.add_argument(
        "--names",
        type=str,
        nargs="+",
        default=None,
        help="what the runs are called, the base first; by default their folders' names",
    )
    parser.add_argument(
        "--exclude-similar-to",
        type=Path | None,
        default=None,
        help="ProNAB file, its data folder, or FASTA of the proteins that the tuned encoder has "
        "seen: complexes whose protein is similar to none of them are scored once more alone",
    )
    parser.add_argument(
        "--threshold",
        type=float,
        default=1.5,
        help="BLOSUM62 score per residue above which proteins are similar",
    )
    parser.add_argument(
        "--fold-file",
        type=Path | None,
        default=None,
        help="fold file of the runs, if it is no longer where they found it",
    )
    parser.add_argument(
        "--output", type=Path, default=Path("runs/probe/comparison"), help="folder to write to"
    )


def run(arguments: jsonargparse.Namespace) -> None:
    """Check that the runs can be compared, then score them.

    Args:
        arguments: Parsed arguments of `add_arguments`.

    Raises:
        BioteError: If something the user gave cannot be used.
    """
    from biote.commands.probe_comparison import compare_runs
    from biote.commands.probe_runs import control_of, read_run
    from biote.errors import ConfigError

    folders = [arguments.base, *arguments.tuned]
    names = arguments.names or [folder.resolve().name for folder in folders]
    if len(names) != len(folders) or len(set(names)) != len(names):
        raise ConfigError(
            f"{', '.join(names)} for {len(folders)} runs",
            where="--names",
            mend="give each run a name of its own, the base first",
        )
    runs = [read_run(folder, name) for folder, name in zip(folders, names, strict=True)]
    control = control_of(runs[0])
    if control is not None and control.name not in names:
        runs.append(control)
    compare_runs(
        runs,
        output=arguments.output,
        fold_file=arguments.fold_file,
        tuned_on=arguments.exclude_similar_to,
        threshold=arguments.threshold,
    )
