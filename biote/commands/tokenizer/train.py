"""Train byte-pair encodings on sequences and write them as a tokenizer folder.

One SentencePiece model for nucleic acids and one for proteins, trained on a random sample of the
sources that is bounded in characters and fits in memory however much is asked for.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import jsonargparse
    from rich.console import Console

    from biote.corpora.bpe_training.sample import SourceRead
    from biote.corpora.bpe_training.train import TrainingReport

_SHOWN_FILES = 20


def add_arguments(parser: jsonargparse.ArgumentParser) -> None:
    """Declare the command's arguments.

    Args:
        parser: Parser of the command.
    """
    parser.add_argument(
        "sources",
        nargs="+",
        type=Path,
        help="sequence files, folders to search for them (as for biote prepare), and corpus "
        "folders",
    )
    parser.add_argument("--output", type=Path, required=True, help="tokenizer folder to make")
    parser.add_argument(
        "--characters",
        type=float,
        default=1e9,
        help="residues, and bases, to sample; fewer where the memory holds no more",
    )
    parser.add_argument(
        "--pieces", type=int, default=2048, help="ids of every model, declared symbols included"
    )
    parser.add_argument(
        "--modality",
        type=str,
        default="both",
        help="'both' (a model each), or 'nucleic' or 'protein' for a tokenizer of that one alone",
    )
    parser.add_argument(
        "--molecule",
        type=str,
        default="auto",
        help="molecule type of FASTA and Parquet records, for example DNA, mRNA, protein; 'auto' "
        "decides DNA or protein from the letters of every file",
    )
    parser.add_argument("--seed", type=int, default=0, help="decides the sample")
    parser.add_argument(
        "--memory-gb",
        type=float | None,
        default=None,
        help="memory the training may take; half of what this machine or job has without it",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace a tokenizer that is in the output folder"
    )


def run(arguments: jsonargparse.Namespace) -> None:
    """Train the tokenizer and show what it was trained on and how it compresses.

    Args:
        arguments: Parsed arguments of `add_arguments`.

    Raises:
        BioteError: If something the user gave cannot be used.
    """
    from rich.console import Console

    from biote.commands.work_progress import show_progress
    from biote.corpora.bpe_training.memory import BYTES_PER_CHARACTER, machine_memory
    from biote.corpora.bpe_training.train import TrainingSettings, train_tokenizer
    from biote.errors import ConfigError
    from biote.molecules import Modality, parse_molecule

    known = {"both": tuple(Modality)} | {modality.value: (modality,) for modality in Modality}
    if arguments.modality not in known:
        raise ConfigError(
            f"unknown modality {arguments.modality!r}",
            where="--modality",
            mend=f"give {', '.join(known)}",
        )
    for option in ("characters", "memory_gb"):
        value = getattr(arguments, option)
        if value is not None and not 0 < value < 1e18:
            raise ConfigError(
                f"{value} cannot be", where=f"--{option.replace('_', '-')}", mend="give a number"
            )
    memory = machine_memory() // 2
    if arguments.memory_gb is not None:
        memory = int(arguments.memory_gb * 1e9)
    settings = TrainingSettings(
        characters=int(arguments.characters),
        pieces=arguments.pieces,
        memory_bytes=memory,
        modalities=known[arguments.modality],
        molecule=None if arguments.molecule == "auto" else parse_molecule(arguments.molecule),
        seed=arguments.seed,
    )
    console = Console()
    if settings.room < settings.characters:
        console.print(
            f"asked for {settings.characters:,} characters; SentencePiece takes about "
            f"{BYTES_PER_CHARACTER} bytes a character, so at most {settings.room:,} of each "
            f"modality are sampled to stay within {memory / 1e9:.3g} GB",
            highlight=False,
            soft_wrap=True,
        )

    def tell(modality: Modality, characters: int) -> None:
        console.print(
            f"training {modality}: {settings.pieces:,} pieces on {characters:,} characters",
            highlight=False,
            soft_wrap=True,
        )

    files = _Files(console)
    with show_progress("reading", console) as progress:
        report = train_tokenizer(
            arguments.sources,
            arguments.output,
            settings=settings,
            overwrite=arguments.overwrite,
            progress=progress,
            on_source=files,
            on_training=tell,
        )
    files.show_rest(report.output)
    _show(report, settings.pieces, console)


class _Files:
    """Shows what the files were taken for whose format does not say it, as they are read."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._rest: dict[str, int] = {}
        self._shown = 0

    def __call__(self, source: SourceRead) -> None:
        from rich.markup import escape

        from biote.corpora.manifest import SourceInfo

        if not isinstance(source, SourceInfo) or source.molecule is None:
            return  # a corpus or a GenBank file, whose records say what they are
        if self._shown == _SHOWN_FILES:
            self._rest[source.molecule] = self._rest.get(source.molecule, 0) + 1
            return
        self._shown += 1
        how = "taken for" if source.molecule_guessed else "read as"
        self._console.print(
            f"{escape(source.file)}: {how} {source.molecule}, {source.records:,} records",
            highlight=False,
            soft_wrap=True,
        )

    def show_rest(self, output: Path) -> None:
        """Count the files beyond those that were shown."""
        from rich.markup import escape

        from biote.corpora.bpe_training.folder import TRAINING_FILE

        for molecule, number in self._rest.items():
            self._console.print(
                f"{number:,} more files of {molecule}, listed in "
                f"{escape(str(output / TRAINING_FILE))}",
                highlight=False,
                soft_wrap=True,
            )


def _show(report: TrainingReport, pieces: int, console: Console) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(
        title=escape(str(report.output)),
        caption="characters per token and unknown tokens of sequence held out of the training",
    )
    table.add_column("modality")
    for name in ("seen", "sampled", "held out", "pieces", "characters per token", "unknown"):
        table.add_column(name, justify="right")
    for modality, sample in report.samples.items():
        held_out = report.compression[modality]
        table.add_row(
            modality.value,
            f"{sample.characters_seen:,}",
            f"{sample.characters_sampled:,}",
            f"{held_out.characters:,}",
            f"{pieces:,}",
            f"{held_out.characters_per_token:.3f}",
            f"{held_out.unknown_tokens:,}",
        )
    console.print(table)
    for modality, characters in report.left_out.items():
        console.print(f"left out: {characters:,} {modality} characters", highlight=False)
    bad = "no bad records"
    if report.bad_records:
        ending = "" if report.bad_records == 1 else "s"
        bad = f"{report.bad_records:,} bad record{ending}, listed in {escape(str(report.ledger))}"
    console.print(bad, highlight=False, soft_wrap=True)
