"""Fetch public data from its official source, from where it stopped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import jsonargparse
    from rich.console import Console

    from biote.corpora.download.catalogue import Dataset
    from biote.corpora.download.fetch import OnFile
    from biote.corpora.download.plan import Plan

_ASK_ABOVE_BYTES: Final = 1_000_000_000


def add_arguments(parser: jsonargparse.ArgumentParser) -> None:
    """Declare the command's arguments.

    Args:
        parser: Parser of the command.
    """
    from jsonargparse.typing import NonNegativeInt

    parser.add_argument(
        "datasets", nargs="*", type=str, default=[], help="names of datasets; see --list"
    )
    parser.add_argument(
        "--output", type=Path, default=None, help="folder to write to, one folder a dataset"
    )
    parser.add_argument(
        "--division",
        type=str,
        default=None,
        help="divisions of GenBank, for example bct,vrl; by default all that hold sequences",
    )
    parser.add_argument(
        "--ids",
        type=str,
        default=None,
        help="entries of the Protein Data Bank, 1LCD,5UGO or file:ids.txt",
    )
    parser.add_argument(
        "--list", action="store_true", help="show the datasets, their sizes and licences"
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="show files, addresses, sizes and what is there; fetch nothing but listings",
    )
    parser.add_argument("--yes", action="store_true", help="fetch more than 1 GB without asking")
    parser.add_argument(
        "--retries",
        type=NonNegativeInt,
        default=6,
        help="how often a file is tried again, with growing waits; counted anew after progress",
    )
    parser.add_argument(
        "--address",
        type=str,
        default=None,
        help="folder of a mirror, http, https or ftp, to use instead of the official source",
    )


def run(arguments: jsonargparse.Namespace) -> None:
    """Show, plan and fetch datasets.

    Args:
        arguments: Parsed arguments of `add_arguments`.

    Raises:
        BioteError: If something the user gave cannot be used, or a file cannot be fetched.
    """
    from rich.console import Console

    from biote.corpora.download.address import parse_address
    from biote.corpora.download.catalogue import ManualSteps, find_dataset
    from biote.corpora.download.expand import Selection, parse_identifiers
    from biote.corpora.download.fetch import fetch_plans, make_transports
    from biote.corpora.download.plan import make_plan, without_repeats
    from biote.corpora.download.retry import Retry
    from biote.errors import ConfigError, DataError

    console = Console()
    if arguments.list:
        _show_datasets(console)
        return
    if not arguments.datasets:
        raise ConfigError("no dataset named", mend="biote download --list shows them")
    datasets = [find_dataset(name) for name in dict.fromkeys(arguments.datasets)]
    manual = [each for each in datasets if isinstance(each.contents, ManualSteps)]
    fetched = [each for each in datasets if each not in manual]
    _check_options(arguments, fetched)
    for dataset in manual:
        _show_steps(dataset, arguments.output or Path("DIR"), console)
    if not fetched:
        return
    if arguments.output is None:
        raise ConfigError("no folder to write to", where="--output", mend="give --output DIR")
    login = parse_address(arguments.address)[1] if arguments.address is not None else None
    selection = Selection(
        divisions=_divisions(arguments.division),
        identifiers=parse_identifiers(arguments.ids) if arguments.ids else (),
    )
    transport_for, retry = make_transports(login=login), Retry(retries=arguments.retries)
    try:
        plans = without_repeats(
            [
                make_plan(
                    dataset,
                    arguments.output,
                    selection=selection,
                    transport_for=transport_for,
                    retry=retry,
                    address=arguments.address,
                )
                for dataset in fetched
            ]
        )
        if arguments.dry_run:
            _show_files(plans, console)
        _show_plans(plans, console)
        if arguments.dry_run or not _agreed(plans, arguments.yes, console):
            return
        with _Shown(plans, console) as on_file:
            plans = fetch_plans(plans, transport_for=transport_for, retry=retry, on_file=on_file)
    except KeyboardInterrupt:
        raise DataError(
            "stopped", mend="run the same command again: what is whole is not fetched again"
        ) from None
    _show_next(plans, console)


def _divisions(text: str | None) -> frozenset[str] | None:
    from biote.errors import ConfigError

    if text is None:
        return None
    divisions = frozenset(text.lower().replace(" ", "").split(",")) - {""}
    if not divisions:
        raise ConfigError(
            "no division named", where="--division", mend="give --division bct,vrl, or leave it out"
        )
    return divisions


def _check_options(arguments: jsonargparse.Namespace, fetched: Sequence[Dataset]) -> None:
    from biote.corpora.download.catalogue import IdentifiedFiles, ListedFiles
    from biote.errors import ConfigError

    kinds = {type(dataset.contents) for dataset in fetched}
    if arguments.division is not None and ListedFiles not in kinds:
        raise ConfigError("only genbank has divisions", where="--division", mend="leave it out")
    if arguments.ids is not None and IdentifiedFiles not in kinds:
        raise ConfigError("only pdb is fetched by ids", where="--ids", mend="leave it out")
    if arguments.address is not None and len(fetched) != 1:
        raise ConfigError(
            f"one address cannot serve {len(fetched)} datasets",
            where="--address",
            mend="fetch one dataset at a time from a mirror",
        )


def _show_datasets(console: Console) -> None:
    from rich.table import Table

    from biote.corpora.download.catalogue import DATASETS, FixedFiles, ManualSteps

    table = Table("dataset", "what", "files", "about", "licence", title="datasets")
    for dataset in DATASETS.values():
        files = dataset.format
        if isinstance(dataset.contents, FixedFiles):
            files = f"{len(dataset.contents.files)} x {dataset.format}"
        elif isinstance(dataset.contents, ManualSteps):
            files = f"{dataset.format}; by hand"
        table.add_row(dataset.name, dataset.what, files, dataset.size, dataset.licence)
    console.print(table)


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def _show_steps(dataset: Dataset, output: Path, console: Console) -> None:
    from biote.corpora.download.plan import manual_steps

    _say(console, f"{dataset.name}: {dataset.what}; to be fetched by hand:")
    for n, step in enumerate(manual_steps(dataset, output), start=1):
        _say(console, f"  {n}. {step}")


def _show_files(plans: Sequence[Plan], console: Console) -> None:
    from biote.corpora.download.progress import describe, human_bytes

    for plan in plans:
        for file in plan.files:
            size = human_bytes(file.bytes, exact=file.exact)
            _say(console, f"{file.target}  {size}  {describe(file)}  {file.address}")


def _show_plans(plans: Sequence[Plan], console: Console) -> None:
    from biote.corpora.download.progress import human_bytes

    for plan in plans:
        if not plan.files:
            _say(console, f"{plan.dataset.name}: its files are among those above")
            continue
        wanted = plan.wanted()
        release = f" (release {plan.release})" if plan.release else ""
        exact = all(file.exact for file in wanted)
        unknown = sum(file.bytes is None for file in wanted)
        more = f", {unknown:,} of a size the server does not tell" if unknown else ""
        _say(
            console,
            f"{plan.dataset.name}{release}: {len(plan.files):,} files, "
            f"{len(plan.files) - len(wanted):,} there and checked, {len(wanted):,} to fetch, "
            f"{human_bytes(plan.missing_bytes(), exact=exact)}{more}",
        )


def _agreed(plans: Sequence[Plan], yes: bool, console: Console) -> bool:
    """Ask before a large download."""
    import sys

    from rich.prompt import Confirm

    from biote.corpora.download.progress import human_bytes
    from biote.errors import ConfigError

    missing = sum(plan.missing_bytes() for plan in plans)
    unknown = sum(file.bytes is None for plan in plans for file in plan.wanted())
    if yes or (missing <= _ASK_ABOVE_BYTES and not unknown):
        return True
    size = human_bytes(missing)
    if unknown:
        size += f" and {unknown:,} files of unknown size"
    if not sys.stdin.isatty():
        raise ConfigError(f"{size} to fetch", where="--yes", mend="add --yes to go ahead")
    if Confirm.ask(f"fetch {size}?", console=console, default=False):
        return True
    _say(console, "nothing fetched")
    return False


class _Shown:
    """Shows progress: a bar on a terminal, else a line of the log every so often."""

    def __init__(self, plans: Sequence[Plan], console: Console) -> None:
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        from biote.corpora.download.progress import ProgressLog, Tally

        self._tally = Tally(plans)
        self._log = ProgressLog(self._tally)
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> OnFile:
        if self._bar.disable:
            return self._log
        self._bar.start()
        task = self._bar.add_task("", total=self._tally.total or None)
        return lambda file, size: self._bar.update(
            task, completed=self._tally.at(file, size), description=file.target.name
        )

    def __exit__(self, *_: object) -> None:
        self._bar.stop()


def _show_next(plans: Sequence[Plan], console: Console) -> None:
    import shlex

    from biote.corpora.download.content import count_checks

    for plan in plans:
        if plan.files:
            there = f"{len(plan.files):,} files in {plan.folder}"
            _say(console, f"{plan.dataset.name}: {there}, checked: {count_checks(plan.files)}")
    for plan in plans:
        if plan.dataset.then is not None:
            folder = shlex.quote(str(plan.folder))
            _say(console, f"next: {plan.dataset.then.format(folder=folder)}")
