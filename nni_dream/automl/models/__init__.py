"""The networks, each family in a file of its own."""

from nni_dream.automl.models.classifier import build_model
from nni_dream.automl.models.heads import ImageClassifier

__all__ = ["ImageClassifier", "build_model"]
