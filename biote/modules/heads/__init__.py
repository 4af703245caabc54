"""Heads: predictions from encoder states."""

from biote.modules.heads.base import Head, heads_for
from biote.modules.heads.contact import ResNetContactHead
from biote.modules.heads.contrastive import ContrastiveHead, SharedMapHead, TwoMapsHead
from biote.modules.heads.delta_g import DeltaGHead
from biote.modules.heads.probe import AttentionProbeHead, MapHead
from biote.modules.heads.residue import ResidueHead
from biote.modules.heads.sequence import MLPHead, SequenceHead

__all__ = [
    "AttentionProbeHead",
    "ContrastiveHead",
    "DeltaGHead",
    "Head",
    "MLPHead",
    "MapHead",
    "ResNetContactHead",
    "ResidueHead",
    "SequenceHead",
    "SharedMapHead",
    "TwoMapsHead",
    "heads_for",
]
