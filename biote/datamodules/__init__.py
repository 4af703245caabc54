"""LightningDataModules: the pre-training mixture, one file per benchmark, a user's own table."""

from biote.datamodules.contact_map import ContactMapDataModule
from biote.datamodules.gue import GueDataModule
from biote.datamodules.pretraining import CorpusSource, PretrainingDataModule
from biote.datamodules.pronab import PronabDataModule
from biote.datamodules.table import SequenceColumn, TableDataModule
from biote.datamodules.tape import TapeDataModule

__all__ = [
    "ContactMapDataModule",
    "CorpusSource",
    "GueDataModule",
    "PretrainingDataModule",
    "PronabDataModule",
    "SequenceColumn",
    "TableDataModule",
    "TapeDataModule",
]
