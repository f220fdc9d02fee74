import os
import pickle

import numpy as np
import pytest
import torch
from automl.data.published_files import (
    CLASSES,
    image_files,
    noise,
    write_cifar10,
    write_cifar100,
    write_files,
    write_pickle,
    write_zip,
)

from nni_dream.automl.data import DataError, MissingDataError
from nni_dream.automl.data.cifar import read_cifar10, read_cifar100
from nni_dream.torchvision_compatibility import ensure_torchvision


def published(name):
    """torchvision's reader, without its check that the files are the very ones that were published."""
    from torchvision import datasets

    return type(name, (getattr(datasets, name),), {"_check_integrity": lambda self: True})


@pytest.mark.parametrize(
    ("name", "write", "read"), [("CIFAR10", write_cifar10, read_cifar10), ("CIFAR100", write_cifar100, read_cifar100)]
)
def test_as_torchvision_reads_it(name, write, read, data_dir, monkeypatch):
    write(data_dir)
    ensure_torchvision()
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda path, md5: True)
    parts = read(data_dir)
    for part, is_train in ((parts.train, True), (parts.test, False)):
        theirs = published(name)(data_dir, train=is_train)
        assert np.array_equal(part.examples.to_array(), theirs.data.transpose(0, 3, 1, 2))
        assert part.targets.tolist() == theirs.targets
        assert parts.classes == theirs.classes


def test_coarse_labels(data_dir, load):
    write_cifar100(data_dir)
    splits = load("cifar100", data_dir, labels="coarse")
    assert splits.classes == ["air", "ground"]
    assert set(splits.train.targets.tolist()) == {0, 1}


@pytest.mark.parametrize("around", [".", "cifar-10-batches-py", "cifar10"])
def test_the_folder_itself_or_one_around_it(around, data_dir, load):
    write_cifar10(data_dir if around == "cifar10" else data_dir / "x")
    root = data_dir if around == "cifar10" else data_dir / "x" / around
    assert len(load("cifar10", root).test) == 12


@pytest.mark.parametrize("given", ["folder", "zip", "around"])
def test_cifar10_as_a_zip_of_jpegs(given, data_dir, load):
    images = image_files({"train/": 10, "test/": 2}, size=(32, 32), format="JPEG", suffix="jpg")
    path = data_dir / "cifar10" / "cifar10.zip"
    path.parent.mkdir()
    write_zip(path, images)
    root = {"folder": path.parent, "zip": path, "around": data_dir}[given]
    splits = load("cifar10", root)
    assert [len(dataset) for dataset in splits[:3]] == [24, 6, 6]
    assert splits.classes == list(CLASSES)
    assert splits.train.images.shape[1:] == (3, 32, 32)


def test_cifar10_as_unpacked_images(data_dir, load):
    write_files(data_dir, image_files({"train/": 10, "test/": 2}))
    assert len(load("cifar10", data_dir).test) == 6


def test_two_zips_are_one_too_many(data_dir, load):
    for name in ("a", "b"):
        write_zip(data_dir / f"{name}.zip", image_files({"train/": 2, "test/": 1}))
    with pytest.raises(DataError, match=r"holds 2 zips with train/ and test/; give the path of one of them"):
        load("cifar10", data_dir)


def test_resized_images_are_kept(data_dir, load, tmp_path):
    write_cifar10(data_dir)
    first, second = (load("cifar10", data_dir, image_size=8).train.images for _ in range(2))
    assert torch.equal(first, second)
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 2  # train and validation; nobody asked for test


def broken(data_dir, name, content):
    write_cifar10(data_dir)
    path = data_dir / "cifar-10-batches-py" / name
    path.write_bytes(content) if isinstance(content, bytes) else write_pickle(path, content)


class Attack:
    """What a hostile file has: an object that runs a command when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_hostile_batch_runs_nothing(data_dir, load):
    trace = data_dir / "trace"
    broken(data_dir, "data_batch_2", pickle.dumps({"data": Attack(trace)}))
    with pytest.raises(DataError, match=r"data_batch_2: is no CIFAR batch.*asks for posix\.mkdir"):
        load("cifar10", data_dir)
    assert not trace.exists()
    pickle.loads(pickle.dumps(Attack(trace)))  # noqa: S301  our own
    assert trace.exists()  # so it was an attack


PIXELS = noise(np.random.default_rng(0), 2, 3072)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("data_batch_2", b"", r"data_batch_2: is no CIFAR batch, or a broken one"),
        ("data_batch_2", pickle.dumps({"data": PIXELS})[:99], r"data_batch_2: is no CIFAR batch, or a broken one"),
        ("test_batch", {"labels": [0, 1]}, r"test_batch: has no 'data', is no CIFAR batch"),
        ("test_batch", [1], r"test_batch: has no 'data', is no CIFAR batch"),
        ("test_batch", {"data": PIXELS}, r"test_batch: has no 'labels', is no CIFAR batch"),
        ("test_batch", {"data": PIXELS[:, 1:], "labels": [0, 1]}, r"test_batch: 'data' is not rows of 3072 bytes"),
        (
            "test_batch",
            {"data": PIXELS.astype("i4"), "labels": [0, 1]},
            r"test_batch: 'data' is not rows of 3072 bytes",
        ),
        ("test_batch", {"data": PIXELS, "labels": [0]}, r"'labels' does not have one label for each of 2 images"),
        ("test_batch", {"data": PIXELS, "labels": [0, 3]}, r"test_batch: label of row 1 is 3, expected 0 to 2"),
        ("batches.meta", {"label_names": 3}, r"batches\.meta: 'label_names' is no list of class names"),
        ("batches.meta", {"label_names": [*CLASSES, "deer"]}, r"no training example of class 'deer'"),
        ("batches.meta", {"label_names": ["cat"]}, r"label of row 1 is 1, expected 0 to 0"),
    ],
)
def test_broken_batches(name, content, message, data_dir, load):
    broken(data_dir, name, content)
    with pytest.raises(DataError, match=message):
        load("cifar10", data_dir)


def test_a_batch_that_is_not_there(data_dir, load):
    write_cifar10(data_dir)
    (data_dir / "cifar-10-batches-py" / "data_batch_3").unlink()
    with pytest.raises(MissingDataError, match=r"cifar10: found no data_batch_3 in .*cifar-10-batches-py; allow"):
        load("cifar10", data_dir)
