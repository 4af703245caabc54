"""LightningModules that join encoder, head, loss and metrics."""

from biote.tasks.attention_probe import AttentionProbeTask
from biote.tasks.classification import ClassificationTask
from biote.tasks.clip import ClipTask
from biote.tasks.contact_map import ContactMapTask
from biote.tasks.masked_lm import MaskedLMTask
from biote.tasks.regression import RegressionTask
from biote.tasks.residue_binary import ResidueBinaryTask
from biote.tasks.residue_classification import ResidueClassificationTask
from biote.tasks.residue_regression import ResidueRegressionTask

__all__ = [
    "AttentionProbeTask",
    "ClassificationTask",
    "ClipTask",
    "ContactMapTask",
    "MaskedLMTask",
    "RegressionTask",
    "ResidueBinaryTask",
    "ResidueClassificationTask",
    "ResidueRegressionTask",
]
