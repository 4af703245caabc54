"""The model: encoder, heads, weights and the optimiser's parameter groups."""

from biote.modules.config import EncoderConfig
from biote.modules.encoder import Encoder
from biote.modules.heads import DeltaGHead, Head, MLPHead, ResidueHead, SequenceHead
from biote.modules.mup import FineTuningOptimizer, PretrainingOptimizer
from biote.modules.readout import Readout

__all__ = [
    "DeltaGHead",
    "Encoder",
    "EncoderConfig",
    "FineTuningOptimizer",
    "Head",
    "MLPHead",
    "PretrainingOptimizer",
    "Readout",
    "ResidueHead",
    "SequenceHead",
]
