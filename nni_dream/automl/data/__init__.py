"""Data sets in the formats in which they are published, and users' own: one function loads and splits them."""

from nni_dream.automl.data.catalogue import list_datasets, load_dataset
from nni_dream.automl.data.datasets import Dataset, ImageDataset, Splits, TextDataset
from nni_dream.automl.data.errors import DataError, MissingDataError
from nni_dream.automl.data.notes import data_notes
from nni_dream.automl.data.storage import ImageStorage

__all__ = [
    "DataError",
    "Dataset",
    "ImageDataset",
    "ImageStorage",
    "MissingDataError",
    "Splits",
    "TextDataset",
    "data_notes",
    "list_datasets",
    "load_dataset",
]
