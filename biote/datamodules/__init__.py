"""LightningDataModules: the pre-training mixture, one file per benchmark, a user's own table."""

from biote.datamodules.pretraining import CorpusSource, PretrainingDataModule
from biote.datamodules.pronab import PronabDataModule
from biote.datamodules.table import SequenceColumn, TableDataModule

__all__ = [
    "CorpusSource",
    "PretrainingDataModule",
    "PronabDataModule",
    "SequenceColumn",
    "TableDataModule",
]
