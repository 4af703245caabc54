"""Who is in training and who is not: hash-based validation, folds of whole groups, fold files.

A split is decided once, written down with its hash, and refused by every later run if a group or
a cluster of similar proteins stands on two sides of it.
"""

from biote.splits.folds import (
    ALWAYS_TRAIN,
    FOLD_FORMAT_VERSION,
    FoldAssignment,
    assign_folds,
    load_folds,
)
from biote.splits.hashing import sequence_digest, validation_threshold

__all__ = [
    "ALWAYS_TRAIN",
    "FOLD_FORMAT_VERSION",
    "FoldAssignment",
    "assign_folds",
    "load_folds",
    "sequence_digest",
    "validation_threshold",
]
