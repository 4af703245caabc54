"""LightningDataModules: the pre-training mixture, one file per benchmark, a user's own table."""

from biote.datamodules.clip.datamodule import ClipDataModule
from biote.datamodules.contact_map import ContactMapDataModule
from biote.datamodules.contacts import ContactsDataModule
from biote.datamodules.dna_binding import DnaBindingDataModule
from biote.datamodules.gue import GueDataModule
from biote.datamodules.jaspar import JasparDataModule
from biote.datamodules.pretraining import CorpusSource, PretrainingDataModule
from biote.datamodules.pronab import PronabDataModule
from biote.datamodules.proteinglue import ProteinGlueDataModule
from biote.datamodules.residue_table import ResidueTableDataModule
from biote.datamodules.secondary_structure import SecondaryStructureDataModule
from biote.datamodules.table import SequenceColumn, TableDataModule
from biote.datamodules.tape import TapeDataModule

__all__ = [
    "ClipDataModule",
    "ContactMapDataModule",
    "ContactsDataModule",
    "CorpusSource",
    "DnaBindingDataModule",
    "GueDataModule",
    "JasparDataModule",
    "PretrainingDataModule",
    "PronabDataModule",
    "ProteinGlueDataModule",
    "ResidueTableDataModule",
    "SecondaryStructureDataModule",
    "SequenceColumn",
    "TableDataModule",
    "TapeDataModule",
]
