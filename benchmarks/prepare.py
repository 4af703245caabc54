"""Sequence files to token shards, against parsing alone and against bare encoding.

Run: python benchmarks/prepare.py. Uses the annotated genomes under $BIOTE_DATA/genbank and the
SentencePiece models under $BIOTE_DATA/tokenizers, without it synthetic genomes and a tokenizer
trained on them. One process and one thread; each figure is the median of alternating repeats. The
last line is one JSON object:

genbank_vs_biopython: time of Biopython to parse a flat file, over that of `prepare` to make
    character shards of it, reading, hashing, tokenising and writing included.
bpe_vs_sentencepiece: time to encode letters as ids, over that of SentencePiece alone to encode the
    same letters in the same pieces; the greater of nucleic acids and proteins.
fasta_mb_per_s: FASTA to character shards, 10^6 bytes of text a second.
peak_memory_mb: most anonymous memory (RssAnon) of a fresh process that makes character shards, of
    10^6 bytes; of the flat file, the FASTA file, and a FASTA record of 250 million bases in one
    line.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import sentencepiece
from Bio import SeqIO

from biote.corpora.bpe_training.train import TrainingSettings, train_tokenizer
from biote.corpora.prepare import prepare
from biote.molecules import STANDARD_RESIDUES, Modality
from biote.synthetic.dataset import write_all
from biote.tokenization import BPE_PIECE_CHARACTERS, BPETokenizer, CharacterTokenizer

GENBANK_BYTES = 60_000_000
FASTA_BYTES = 120_000_000
CHROMOSOME_BASES = 250_000_000
BPE_LETTERS = 2_000_000
REPEATS = 5


def seconds(work: Callable[[], object], *, before: Callable[[], object] = lambda: None) -> float:
    """Time the second of two calls in a row: the first finds the memory that both need.

    Where memory that lies idle for a second goes back to the host of a virtual machine, a single
    call would be timed with the return of it.
    """
    for _ in range(2):
        before()
        began = time.perf_counter()
        work()
        taken = time.perf_counter() - began
    return taken


def genomes(folder: Path) -> list[Path]:
    """Annotated flat files, real ones if there are any."""
    data = os.environ.get("BIOTE_DATA")
    if data:
        root = Path(data) / "genbank"
        return sorted([*root.glob("bacteria/*"), *root.glob("eukaryotes/*")])
    write_all(folder / "synthetic", size="demo", seed=0)
    return sorted((folder / "synthetic/genbank/bacteria").iterdir())


def write_flat_file(path: Path, files: list[Path]) -> None:
    """Lay flat files end to end, again and again up to the size."""
    texts = [f.read_bytes() for f in files]
    texts = [gzip.decompress(text) if text[:2] == b"\x1f\x8b" else text for text in texts]
    with path.open("wb") as stream:
        while stream.tell() < GENBANK_BYTES:
            for text in texts:
                stream.write(text)


def write_fasta(path: Path) -> None:
    """Write proteins of about 350 residues in lines of 60, with headers as UniRef's."""
    rng = np.random.default_rng(0)
    letters = np.frombuffer(STANDARD_RESIDUES.encode(), np.uint8)
    with path.open("wb") as stream:
        number = 0
        while stream.tell() < FASTA_BYTES:
            number += 1
            length = 30 + int(rng.exponential(320))
            sequence = letters[rng.integers(0, len(letters), length)].tobytes()
            header = f">UniRef100_A0A{number:07d} Uncharacterized protein n=1 Tax=Bacillus TaxID=1"
            lines = [sequence[i : i + 60] for i in range(0, length, 60)]
            stream.write(b"\n".join([header.encode(), *lines, b""]))


def prepare_seconds(source: Path, output: Path) -> float:
    """Time the preparation of a file into a folder that is not there."""
    return seconds(
        lambda: prepare([source], output, tokenizer=CharacterTokenizer()),
        before=lambda: shutil.rmtree(output, ignore_errors=True),
    )


def write_chromosome(path: Path) -> None:
    """Write a single nucleic record without line breaks."""
    rng = np.random.default_rng(0)
    letters = np.frombuffer(b"ACGT", np.uint8)
    with path.open("wb") as stream:
        stream.write(b">chromosome\n")
        for _ in range(CHROMOSOME_BASES // 1_000_000):
            stream.write(letters[rng.integers(0, 4, 1_000_000)].tobytes())
        stream.write(b"\n")


def peak_memory_mb(source: Path, output: Path) -> float:
    """Most anonymous memory of a fresh process that prepares a file."""
    command = [sys.executable, __file__, "--peak-memory", str(source), str(output)]
    shown = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return float(shown.split()[-1])


def print_peak_memory(source: Path, output: Path) -> None:
    """Prepare a file, and print the most anonymous memory that this process had meanwhile."""
    done = threading.Event()
    peak = 0

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.005):
            status = Path("/proc/self/status").read_text()
            peak = max(peak, int(status.split("RssAnon:")[1].split()[0]))

    watcher = threading.Thread(target=watch)
    watcher.start()
    prepare([source], output, tokenizer=CharacterTokenizer())
    done.set()
    watcher.join()
    shutil.rmtree(output)
    print(peak * 1024 / 1e6)


def bpe_models(folder: Path, flat: Path, fasta: Path) -> dict[Modality, Path]:
    """The published SentencePiece models, or some trained here."""
    data = os.environ.get("BIOTE_DATA")
    if data:
        models = Path(data) / "tokenizers"
        return {
            Modality.NUCLEIC: models / "nucleotide_bpe.model",
            Modality.PROTEIN: models / "peptide_bpe.model",
        }
    settings = TrainingSettings(characters=2_000_000, pieces=2_048, memory_bytes=4 << 30)
    train_tokenizer([flat, fasta], folder / "bpe", settings=settings)
    return {modality: folder / f"bpe/{modality.value}.model" for modality in Modality}


def bpe_ratios(
    models: dict[Modality, Path], corpus: dict[Modality, list[bytes]]
) -> dict[str, float]:
    """Time of encoding over that of bare SentencePiece, by modality."""
    tokenizer = BPETokenizer(models[Modality.NUCLEIC], models[Modality.PROTEIN])
    return {
        modality.value: bpe_ratio(tokenizer, models[modality], modality, corpus[modality])
        for modality in Modality
    }


def bpe_ratio(
    tokenizer: BPETokenizer, model: Path, modality: Modality, sequences: list[bytes]
) -> float:
    """Time of encoding over that of bare SentencePiece."""
    bare = sentencepiece.SentencePieceProcessor(model_file=str(model))
    pieces = [
        sequence[i : i + BPE_PIECE_CHARACTERS].decode()
        for sequence in sequences
        for i in range(0, len(sequence), BPE_PIECE_CHARACTERS)
    ]
    pairs = [
        (
            seconds(lambda: tokenizer.encode_spelled(sequences, modality)),
            seconds(lambda: bare.encode(pieces, num_threads=1)),
        )
        for _ in range(REPEATS)
    ]
    return statistics.median(ours / theirs for ours, theirs in pairs)


def letters_of(flat: Path, fasta: Path) -> dict[Modality, list[bytes]]:
    """Canonical sequences of both files, up to `BPE_LETTERS` of each modality."""
    corpus: dict[Modality, list[bytes]] = {Modality.NUCLEIC: [], Modality.PROTEIN: []}
    room = BPE_LETTERS
    for record in SeqIO.parse(flat, "genbank"):
        sequence = bytes(record.seq).translate(_UNAMBIGUOUS)[:room]
        corpus[Modality.NUCLEIC].append(sequence)
        room -= len(sequence)
        if not room:
            break
    room = BPE_LETTERS
    for record in SeqIO.parse(fasta, "fasta"):
        corpus[Modality.PROTEIN].append(bytes(record.seq))
        room -= len(record.seq)
        if room <= 0:
            break
    return corpus


_UNAMBIGUOUS = bytes(c if chr(c) in "ACGT" else ord("N") for c in range(256))


def main() -> None:
    """Time everything and print it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        flat, fasta = folder / "flat.gb", folder / "proteins.fasta"
        write_flat_file(flat, genomes(folder))
        write_fasta(fasta)
        parsing, genbank, proteins = [], [], []
        for _ in range(REPEATS):
            parsing.append(seconds(lambda: list(map(len, SeqIO.parse(flat, "genbank")))))
            genbank.append(prepare_seconds(flat, folder / "genbank"))
            proteins.append(prepare_seconds(fasta, folder / "proteins"))
        bpe = bpe_ratios(bpe_models(folder, flat, fasta), letters_of(flat, fasta))
        write_chromosome(folder / "chromosome.fasta")
        memory = {
            path.stem: peak_memory_mb(path, folder / "measured")
            for path in (flat, fasta, folder / "chromosome.fasta")
        }
        megabytes = {path: path.stat().st_size / 1e6 for path in (flat, fasta)}
    result = {
        "genbank_vs_biopython": statistics.median(
            theirs / ours for theirs, ours in zip(parsing, genbank, strict=True)
        ),
        "bpe_vs_sentencepiece": max(bpe.values()),
        "fasta_mb_per_s": megabytes[fasta] / statistics.median(proteins),
        "genbank_mb_per_s": megabytes[flat] / statistics.median(genbank),
        "peak_memory_mb": memory,
        **{f"bpe_{modality}_vs_sentencepiece": ratio for modality, ratio in bpe.items()},
    }
    print(json.dumps(result))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peak-memory"]:
        print_peak_memory(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        main()
