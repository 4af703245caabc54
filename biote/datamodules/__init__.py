"""LightningDataModules: the pre-training mixture, one file per benchmark, a user's own table."""

from biote.datamodules.contact_map import ContactMapDataModule
from biote.datamodules.pretraining import CorpusSource, PretrainingDataModule
from biote.datamodules.pronab import PronabDataModule
from biote.datamodules.table import SequenceColumn, TableDataModule

__all__ = [
    "ContactMapDataModule",
    "CorpusSource",
    "PretrainingDataModule",
    "PronabDataModule",
    "SequenceColumn",
    "TableDataModule",
]
