"""LightningModules that join encoder, head, loss and metrics."""

from biote.tasks.classification import ClassificationTask
from biote.tasks.contact_map import ContactMapTask
from biote.tasks.masked_lm import MaskedLMTask
from biote.tasks.regression import RegressionTask

__all__ = ["ClassificationTask", "ContactMapTask", "MaskedLMTask", "RegressionTask"]
