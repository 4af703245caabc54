"""Residues that bind DNA: 573 chains to train on, 129 to test.

Files, in the folder ``residue_labels``: ``DNA_Train_573.fa`` and ``DNA_Test_129.fa``, three lines
a chain: ``>id``, the sequence, 1 where a residue binds DNA and 0 where it does not.

Source: Yuan et al., GraphSite (Briefings in Bioinformatics 2022), who collected the chains.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from biote.datamodules.published import find_folder
from biote.datamodules.published_residues import PublishedResidueDataModule, with_validation
from biote.datamodules.residue_files import read_three_lines
from biote.datamodules.residue_labels import letters, residue_row
from biote.datamodules.rows import Row, Split
from biote.errors import DataError

_BINDING: Final = letters("0", "1")
_FILES: Final[dict[Split, str]] = {"train": "DNA_Train_573.fa", "test": "DNA_Test_129.fa"}


class DnaBindingDataModule(PublishedResidueDataModule):
    """Which residues of a protein bind DNA, from the protein alone.

    A row is ``<protein>sequence<EOS>``. A tenth of the training sequences, chosen by a hash of
    the sequence, is validated on.

    Args:
        root: Folder with ``residue_labels``, or that folder itself.
        tokenizer: ``character`` or a tokenizer, corpus or encoder folder; null takes that of
            ``model.encoder_checkpoint``.
        batch_size: Rows of an optimiser step.
        drop_leaks: Whether training rows whose sequence is tested are left out.
        context: Most tokens of a row; longer proteins are trimmed at their end and counted.
        seed: Chooses the order of training rows.
        num_workers: Processes that build batches.
    """

    benchmark = "dna_binding"
    residue_kind = "binary"
    output_names = ("binds",)

    def __init__(
        self,
        root: Path,
        tokenizer: str | None = None,
        *,
        batch_size: int,
        drop_leaks: bool = False,
        context: int = 2048,
        seed: int = 0,
        num_workers: int = 0,
    ) -> None:
        super().__init__(
            root,
            tokenizer,
            batch_size=batch_size,
            drop_leaks=drop_leaks,
            context=context,
            seed=seed,
            num_workers=num_workers,
        )

    def locate(self) -> None:
        for path in self._paths().values():
            if not path.is_file():
                raise DataError(
                    f"no file {path}",
                    where="data.root",
                    mend="copy it there from the folder Dataset of the GraphSite repository "
                    "(github.com/biomed-AI/GraphSite)",
                )

    def read_rows(self) -> dict[Split, list[Row]]:
        self.locate()
        read: dict[Split, list[Row]] = {
            split: [
                residue_row(record, _BINDING.labels(record), name=split)
                for record in read_three_lines(path)
            ]
            for split, path in self._paths().items()
        }
        train, validation = with_validation(read["train"])
        return {"train": train, "validation": validation, "test": read["test"]}

    def _paths(self) -> dict[Split, Path]:
        folder = find_folder(self._root, "residue_labels", holding="DNA_*.fa")
        return {split: folder / name for split, name in _FILES.items()}
