"""Small members of the four image block families, each in a file of its own."""

from nni_dream.automl.models.classifier import ImageClassifier, build_model

__all__ = ["ImageClassifier", "build_model"]
