"""Show what a corpus holds and where it came from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import jsonargparse

    from biote.corpora.ledger import LedgerSummary
    from biote.corpora.manifest import CorpusInfo
    from biote.tokenization import Tokenizer


def add_arguments(parser: jsonargparse.ArgumentParser) -> None:
    """Declare the command's arguments.

    Args:
        parser: Parser of the command.
    """
    parser.add_argument("corpus", type=Path, help="corpus folder")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead")
    parser.add_argument(
        "--sources", action="store_true", help="list every source file with its SHA-256"
    )


def run(arguments: jsonargparse.Namespace) -> None:
    """Print the description of a corpus.

    Args:
        arguments: Parsed arguments of `add_arguments`.

    Raises:
        DataError: If the folder is no corpus, or its ledger or tokenizer cannot be read.
    """
    import json
    import sys

    from rich.console import Console

    from biote.commands.corpus_report import show_corpus
    from biote.corpora.ledger import read_ledger, summarise
    from biote.corpora.manifest import LEDGER_FILE, load_info
    from biote.errors import DataError
    from biote.tokenization import load_tokenizer

    folder: Path = arguments.corpus
    info = load_info(folder)
    tokenizer = load_tokenizer(folder)
    path = folder / LEDGER_FILE
    try:
        ledger = summarise(read_ledger(path))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.reason if isinstance(error, UnicodeDecodeError) else error.strerror
        raise DataError(
            f"cannot be read: {reason}", where=str(path), mend="copy the folder again"
        ) from error
    if arguments.json:
        content = _content(folder, info, tokenizer, ledger, sources=arguments.sources)
        sys.stdout.write(json.dumps(content, indent=2) + "\n")
        return
    console = Console()
    show_corpus(info, ledger, path, console, title=str(folder))
    for line in _lines(folder, info, tokenizer, sources=arguments.sources):
        console.print(line, highlight=False, soft_wrap=True, markup=False)


def _lines(folder: Path, info: CorpusInfo, tokenizer: Tokenizer, *, sources: bool) -> list[str]:
    """What is known beside counts, notes and bad records."""
    from collections import Counter

    shard_bytes = sum(shard.bytes for shard in info.shards)
    source_bytes = sum(source.bytes for source in info.sources)
    formats = Counter(source.format for source in info.sources)
    kinds = ", ".join(f"{number:,} {name}" for name, number in formats.most_common())
    settings = ", ".join(f"{name} {value}" for name, value in info.settings.items())
    lines = [
        f"tokenizer: {tokenizer.kind}, {tokenizer.vocab_size:,} ids, ambiguity "
        f"{tokenizer.ambiguity}, fingerprint {info.tokenizer_fingerprint}",
        f"shards: {len(info.shards):,}, {_size(shard_bytes)}, token ids {info.token_dtype}",
        f"sources: {len(info.sources):,} ({kinds}), {_size(source_bytes)}, "
        f"{sum(source.records for source in info.sources):,} records read, "
        f"{info.bad_records:,} bad",
        f"validation: a share of {info.validation.fraction:g} of the sequences asked for",
        f"settings: {settings}",
        f"made by biote {info.biote_version}, fingerprint {info.fingerprint}",
    ]
    windows = _windows(folder)
    if windows:
        held = ", ".join(f"{name} ({number:,} windows)" for name, number in windows.items())
        lines.append(f"window indices: {held}")
    if sources:
        lines += [
            f"{source.sha256}  {source.file}  {source.format}"
            f"{f' {source.molecule}' if source.molecule else ''}  {source.bytes:,} bytes, "
            f"{source.records:,} records, {source.bad_records:,} bad"
            for source in info.sources
        ]
    return lines


def _content(
    folder: Path,
    info: CorpusInfo,
    tokenizer: Tokenizer,
    ledger: LedgerSummary,
    *,
    sources: bool,
) -> dict[str, object]:
    """The same as JSON."""
    from collections import Counter
    from dataclasses import asdict

    from biote.commands.corpus_report import count_rows

    examples = {bad.reason: bad for bad in reversed(ledger.examples)}
    content: dict[str, object] = {
        "corpus": str(folder),
        "biote_version": info.biote_version,
        "fingerprint": info.fingerprint,
        "tokenizer": {
            "kind": tokenizer.kind,
            "vocab_size": tokenizer.vocab_size,
            "ambiguity": tokenizer.ambiguity,
            "fingerprint": info.tokenizer_fingerprint,
        },
        "settings": dict(info.settings),
        "molecules": dict(count_rows(info)),
        "validation_fraction": info.validation.fraction,
        "shards": {
            "number": len(info.shards),
            "bytes": sum(shard.bytes for shard in info.shards),
            "token_dtype": info.token_dtype,
        },
        "sources": {
            "number": len(info.sources),
            "formats": dict(Counter(source.format for source in info.sources)),
            "bytes": sum(source.bytes for source in info.sources),
            "records": sum(source.records for source in info.sources),
            "bad_records": info.bad_records,
        },
        "bad_records": [
            {"reason": reason, "number": number, "first": asdict(examples[reason])}
            for reason, number in ledger.reasons.most_common()
        ],
        "windows": _windows(folder),
        "notes": list(info.notes),
    }
    if sources:
        content["source_files"] = [asdict(source) for source in info.sources]
    return content


def _windows(folder: Path) -> dict[str, int]:
    """Windows of every sidecar of the corpus."""
    from biote.corpora.verify_windows import find_sidecars

    return {path.name: path.stat().st_size // 8 for path in find_sidecars(folder)}


def _size(n_bytes: int) -> str:
    """Bytes as people read them."""
    for unit, size in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if n_bytes >= size:
            return f"{n_bytes / size:.2f} {unit}"
    return f"{n_bytes} bytes"
