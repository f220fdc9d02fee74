"""STL-10, Food-101, Stanford Cars and Tiny ImageNet."""

import shutil

import numpy as np
import pytest
import scipy.io
import torch
from automl.data.published_files import (
    WNIDS,
    encoded,
    tiny_imagenet_files,
    write_annotations,
    write_files,
    write_food101,
    write_stanford_cars,
    write_stl10,
    write_tiny_imagenet,
    write_zip,
)
from PIL import Image

from nni_dream.automl.data import DataError, MissingDataError
from nni_dream.automl.data.food101 import read_food101
from nni_dream.automl.data.images import ImageSize
from nni_dream.automl.data.stanford_cars import read_stanford_cars
from nni_dream.automl.data.stl10 import read_stl10
from nni_dream.automl.data.tiny_imagenet import read_tiny_imagenet, read_tiny_imagenet_regression
from nni_dream.torchvision_compatibility import ensure_torchvision


def theirs(name, *arguments, **options):
    """A data set as torchvision reads it."""
    ensure_torchvision()
    from torchvision import datasets

    return getattr(datasets, name)(*arguments, **options)


def decoded(images, size=None):
    return np.concatenate(list(images.blocks(size)))


def as_torchvision_has_them(dataset, size):
    images = [image.resize((size.width, size.height), Image.Resampling.BILINEAR) for image, _ in dataset]
    return np.stack([np.asarray(image) for image in images]).transpose(0, 3, 1, 2)


def test_stl10_as_torchvision_reads_it(data_dir, monkeypatch):
    write_stl10(data_dir)
    ensure_torchvision()
    monkeypatch.setattr("torchvision.datasets.STL10._check_integrity", lambda self: True)
    (data_dir / "stl10_binary" / "fold_indices.txt").write_text("")
    parts = read_stl10(data_dir)
    for part, split in ((parts.train, "train"), (parts.test, "test")):
        expected = theirs("STL10", data_dir, split=split)
        assert np.array_equal(part.examples.to_array(), expected.data)
        assert part.targets.tolist() == expected.labels.tolist()
        assert parts.classes == expected.classes


@pytest.mark.parametrize(
    ("name", "write", "read", "size"),
    [
        ("Food101", write_food101, read_food101, ImageSize(300, 300)),
        ("StanfordCars", write_stanford_cars, read_stanford_cars, ImageSize(240, 360)),
    ],
)
def test_images_and_labels_as_torchvision_reads_them(name, write, read, size, data_dir):
    write(data_dir)
    parts = read(data_dir)
    for part, split in ((parts.train, "train"), (parts.test, "test")):
        expected = theirs(name, data_dir, split=split)
        assert np.array_equal(decoded(part.examples, size), as_torchvision_has_them(expected, size))
        assert part.targets.tolist() == [label for _, label in expected]
        assert list(parts.classes) == list(expected.classes)


@pytest.mark.parametrize("name", ["train_y.bin", "test_X.bin", "test_y.bin", "class_names.txt"])
def test_a_file_of_stl10_is_missing(name, data_dir, load):
    write_stl10(data_dir)
    (data_dir / "stl10_binary" / name).unlink()
    with pytest.raises(MissingDataError, match=rf"stl10: found no {name} in .*stl10_binary"):
        load("stl10", data_dir)


def test_stl10_is_cut_off(data_dir, load):
    write_stl10(data_dir)
    path = data_dir / "stl10_binary" / "train_X.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"train_X\.bin: has 829439 bytes, no multiple of the 27648 of an image"):
        load("stl10", data_dir)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([1, 2], r"train_X\.bin, train_y\.bin: 30 examples but 2 targets"),
        ([0] * 30, r"label of row 0 is -1, expected 0 to 2"),
    ],
)
def test_stl10_has_wrong_labels(labels, message, data_dir, load):
    write_stl10(data_dir)
    (data_dir / "stl10_binary" / "train_y.bin").write_bytes(bytes(labels))
    with pytest.raises(DataError, match=message):
        load("stl10", data_dir)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("meta/train.json", "{", r"train\.json: is no JSON"),
        ("meta/train.json", "[1]", r"train\.json: is no object of class: \[names of images\]"),
        ("meta/train.json", '{"bird": "x"}', r"train\.json: is no object of class"),
        ("meta/test.json", '{"dog": ["bird/1"]}', r"test\.json: label 'dog' is not a class of train"),
        ("meta/test.json", '{"bird": ["bird/99"]}', r"images/bird/99\.jpg: is missing, though .*test\.json names it"),
        (
            "meta/train.json",
            '{"airplane": ["airplane/1"], "bird": ["bird/1"], "cat": []}',
            r"no training example of class 'cat'",
        ),
        ("meta/train.json", b"\xff", r"train\.json: is not utf-8-sig text: byte 0xff at offset 0"),
    ],
)
def test_food101_is_broken(name, content, message, data_dir, load):
    write_food101(data_dir)
    write_files(data_dir / "food-101", {name: content})
    with pytest.raises(DataError, match=message):
        load("food101", data_dir)


@pytest.mark.parametrize("name", ["meta/test.json", "images"])
def test_a_part_of_food101_is_missing(name, data_dir, load):
    write_food101(data_dir)
    path = data_dir / "food-101" / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(MissingDataError, match=rf"food101: found no {name}"):
        load("food101", data_dir)


def test_stanford_cars_needs_the_list_with_labels(data_dir, load):
    write_stanford_cars(data_dir)
    write_annotations(data_dir / "stanford_cars/cars_test_annos_withlabels.mat", ["00001.jpg"], [1], with_class=False)
    with pytest.raises(DataError, match=r"withlabels\.mat: its annotations lack 'fname' or 'class'"):
        load("stanford_cars", data_dir)


@pytest.mark.parametrize("content", [b"", b"no MATLAB file at all" * 20])
def test_a_list_of_stanford_cars_is_broken(content, data_dir, load):
    write_stanford_cars(data_dir)
    (data_dir / "stanford_cars/devkit/cars_train_annos.mat").write_bytes(content)
    with pytest.raises(DataError, match=r"cars_train_annos\.mat: is no MATLAB file with 'annotations'"):
        load("stanford_cars", data_dir)


def test_a_list_of_stanford_cars_is_cut_off(data_dir, load):
    write_stanford_cars(data_dir)
    path = data_dir / "stanford_cars/devkit/cars_train_annos.mat"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"cars_train_annos\.mat: "):
        load("stanford_cars", data_dir)


def test_a_list_of_stanford_cars_has_something_else(data_dir, load):
    write_stanford_cars(data_dir)
    scipy.io.savemat(data_dir / "stanford_cars/devkit/cars_meta.mat", {"names": 1})
    with pytest.raises(DataError, match=r"cars_meta\.mat: is no MATLAB file with 'class_names'"):
        load("stanford_cars", data_dir)


def test_an_image_of_stanford_cars_is_missing(data_dir, load):
    write_stanford_cars(data_dir)
    (data_dir / "stanford_cars/cars_train/00003.jpg").unlink()
    with pytest.raises(DataError, match=r"cars_train/00003\.jpg: is missing, though .*cars_train_annos\.mat names it"):
        load("stanford_cars", data_dir)


@pytest.mark.parametrize("name", ["cars_test", "cars_test_annos_withlabels.mat"])
def test_a_part_of_stanford_cars_is_missing(name, data_dir, load):
    write_stanford_cars(data_dir)
    path = data_dir / "stanford_cars" / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(
        MissingDataError, match=rf"stanford_cars: found no {name} in .*; its authors no longer serve it"
    ):
        load("stanford_cars", data_dir)


def test_tiny_imagenet(data_dir):
    write_tiny_imagenet(data_dir)
    parts = read_tiny_imagenet(data_dir)
    assert parts.classes == ["n02124075", "n01443537 goldfish, Carassius auratus", "n04067472"]
    assert parts.train.targets.tolist() == [0] * 10 + [1] * 10 + [2] * 10
    assert parts.test.targets.tolist() == [0, 1, 2, 0, 1, 2]
    grey = decoded(parts.test.examples)
    assert np.array_equal(grey[:, 0], grey[:, 2])


@pytest.mark.parametrize("given", ["folder", "zip"])
def test_tiny_imagenet_in_its_zip(given, data_dir):
    path = data_dir / "tiny-imagenet-200.zip"
    write_zip(path, {f"tiny-imagenet-200/{name}": content for name, content in tiny_imagenet_files().items()})
    zipped = read_tiny_imagenet(path if given == "zip" else data_dir)
    write_tiny_imagenet(data_dir / "unpacked")
    unpacked = read_tiny_imagenet(data_dir / "unpacked")
    assert zipped.classes == unpacked.classes
    assert np.array_equal(zipped.train.targets, unpacked.train.targets)
    assert np.array_equal(decoded(zipped.train.examples), decoded(unpacked.train.examples))


def test_what_is_regressed_by_default_is_the_index_of_the_class(data_dir, load):
    write_tiny_imagenet(data_dir)
    splits = load("tiny_imagenet_regression", data_dir)
    assert (splits.task, splits.classes) == ("image_regression", None)
    assert splits.train.targets.dtype == torch.float32
    assert splits.test.targets.tolist() == [0, 1, 2, 0, 1, 2]


def test_the_box_can_be_regressed(data_dir, load):
    write_tiny_imagenet(data_dir)
    parts = read_tiny_imagenet_regression(data_dir, quantity="bounding_box")
    assert parts.train.targets[:2].tolist() == [[0, 1, 62, 63], [1, 1, 62, 63]]
    assert parts.test.targets[0].tolist() == [0, 32, 44, 62]
    assert load("tiny_imagenet_regression", data_dir, quantity="bounding_box").train.targets.shape == (24, 4)


def test_nothing_else_can_be_regressed(data_dir, load):
    with pytest.raises(DataError, match="quantity is 'colour', expected one of class_index, bounding_box"):
        load("tiny_imagenet_regression", data_dir, quantity="colour")


BOXES = f"train/{WNIDS[0]}/{WNIDS[0]}_boxes.txt"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("wnids.txt", "n02124075\nn99\n", r"tiny_imagenet: found no train/n99/n99_boxes\.txt in .*tiny-imagenet-200"),
        ("wnids.txt", "n02124075\nn01443537\n", r"val_2\.JPEG: label 'n04067472' is not a class of train"),
        ("wnids.txt", "n02124075\n", r"val_1\.JPEG: label 'n01443537' is not a class of train"),
        ("wnids.txt", b"\xff", r"wnids\.txt: is not utf-8 text"),
        (BOXES, f"{WNIDS[0]}_0.JPEG\t1\t2\t3\n", r"_boxes\.txt:1: has no box of four numbers after the name, but"),
        (BOXES, f"{WNIDS[0]}_0.JPEG\t1\t2\t3\tx\n", r"_boxes\.txt:1: has no box of four numbers"),
        (BOXES, f"{WNIDS[0]}_0.JPEG\t1\t2\t3\t4\n", rf"{WNIDS[0]}_1\.JPEG: has no line in train/"),
        (
            "val/val_annotations.txt",
            "val_9.JPEG\tn1\t0\t0\t1\t1\n",
            r"txt:1: names the image 'val_9\.JPEG', which is not in",
        ),
        ("val/val_annotations.txt", "val_0.JPEG\n", r"txt:1: has no box of four numbers"),
        ("val/val_annotations.txt", "", r"tiny-imagenet-200/val: tiny_imagenet has no example here"),
        (f"train/{WNIDS[0]}/images/{WNIDS[0]}_0.JPEG", encoded(np.zeros((9, 9), np.uint8)), r"differ in size, give an"),
    ],
)
def test_tiny_imagenet_is_broken(name, content, message, data_dir, load):
    write_tiny_imagenet(data_dir)
    write_files(data_dir / "tiny-imagenet-200", {name: content})
    with pytest.raises(DataError, match=message):
        load("tiny_imagenet", data_dir, n_train=24)


@pytest.mark.parametrize("name", ["words.txt", "val/val_annotations.txt", BOXES])
def test_a_file_of_tiny_imagenet_is_missing(name, data_dir, load):
    write_tiny_imagenet(data_dir)
    (data_dir / "tiny-imagenet-200" / name).unlink()
    with pytest.raises(MissingDataError, match=rf"tiny_imagenet: found no {name}"):
        load("tiny_imagenet", data_dir)


def test_a_class_of_tiny_imagenet_is_empty(data_dir, load):
    write_tiny_imagenet(data_dir)
    shutil.rmtree(data_dir / "tiny-imagenet-200/train" / WNIDS[1] / "images")
    with pytest.raises(DataError, match=rf"train/{WNIDS[1]}/images: holds no image of class {WNIDS[1]}"):
        load("tiny_imagenet", data_dir)
