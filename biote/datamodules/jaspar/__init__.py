"""JASPAR: transcription factors, their profiles, and sites with and without mutations."""

from biote.datamodules.jaspar.module import JasparDataModule

__all__ = ["JasparDataModule"]
