import pytest

from nni_dream.automl.data import ImageStorage, load_dataset


@pytest.fixture
def load(tmp_path):
    """``load_dataset`` whose decoded images go to a folder of this test."""
    storage = ImageStorage(cache_folder=tmp_path / "cache")
    return lambda name, data_dir, **arguments: load_dataset(name, data_dir, **{"storage": storage, **arguments})


@pytest.fixture
def data_dir(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    return folder
