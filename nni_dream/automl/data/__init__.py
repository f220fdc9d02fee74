"""Data sets in the formats in which they are published, and users' own: one function loads and splits them."""

from nni_dream.automl.data.catalogue import list_datasets, load_dataset
from nni_dream.automl.data.datasets import TASKS, Dataset, ImageDataset, Splits, Task, TextDataset
from nni_dream.automl.data.errors import DataError, MissingDataError
from nni_dream.automl.data.storage import MEMORY_LIMIT_BYTES, ImageStorage, default_cache_folder

__all__ = [
    "MEMORY_LIMIT_BYTES",
    "TASKS",
    "DataError",
    "Dataset",
    "ImageDataset",
    "ImageStorage",
    "MissingDataError",
    "Splits",
    "Task",
    "TextDataset",
    "default_cache_folder",
    "list_datasets",
    "load_dataset",
]
