"""What holds for every data set, on files in its published format."""

import numpy as np
import pytest
import torch
from automl.data.published_files import WRITERS, write_food101, write_mr, write_trec

from nni_dream.automl.data import DataError, MissingDataError, TextDataset, list_datasets, load_dataset
from nni_dream.automl.data.origins import ORIGINS
from nni_dream.automl.task_settings import TASKS

# Training, validation and test rows, and the shape of an image, of the files that the tests write.
EXPECTED = {
    "digits": ((1294, 323, 180), (1, 8, 8)),
    "cifar10": ((48, 12, 12), (3, 32, 32)),
    "cifar100": ((48, 12, 12), (3, 32, 32)),
    "stl10": ((24, 6, 6), (3, 96, 96)),
    "food101": ((24, 6, 9), (3, 300, 300)),
    "stanford_cars": ((12, 3, 6), (3, 240, 360)),
    "tiny_imagenet": ((24, 6, 6), (3, 64, 64)),
    "tiny_imagenet_regression": ((24, 6, 6), (3, 64, 64)),
    "reuters": ((19, 5, 6), None),
    "trec": ((25, 6, 6), None),
    "imdb": ((19, 5, 8), None),
    "mr": ((58, 14, 8), None),
    "folder": ((24, 6, 9), (3, 6, 5)),
    "table": ((33, 8, 4), None),
    "arrays": ((43, 11, 6), (3, 5, 4)),
}
NAMES = sorted(WRITERS)


def rows_of(dataset):
    """What each example is, to tell rows apart."""
    if isinstance(dataset, TextDataset):
        return dataset.texts
    return [image.numpy().tobytes() for image in dataset.images]


def test_every_data_set_is_written_here():
    assert sorted(list_datasets()) == NAMES == sorted(EXPECTED)


def test_the_data_sets_of_each_task():
    assert list_datasets("image_regression") == ["tiny_imagenet_regression", "arrays"]
    assert list_datasets("text_classification") == ["reuters", "trec", "imdb", "mr", "table"]
    assert {name for task in TASKS for name in list_datasets(task)} == set(NAMES)


@pytest.fixture(params=NAMES)
def name(request, data_dir):
    WRITERS[request.param](data_dir)
    return request.param


def test_sizes_types_and_classes(name, data_dir, load):
    splits = load(name, data_dir)
    sizes, shape = EXPECTED[name]
    assert (len(splits.train), len(splits.validation), len(splits.test)) == sizes
    assert splits.name == name
    assert splits.task in TASKS
    for dataset in splits[:3]:
        if shape is None:
            assert all(dataset.texts)
        else:
            assert (dataset.images.dtype, dataset.images.shape) == (torch.uint8, (len(dataset), *shape))
        if splits.classes is None:
            assert dataset.targets.dtype == torch.float32
        else:
            assert (dataset.targets.dtype, dataset.targets.shape) == (torch.int64, (len(dataset),))
            assert set(dataset.targets.tolist()) <= set(range(len(splits.classes)))


def test_no_row_is_in_two_splits_and_none_is_lost(name, data_dir, load):
    splits = load(name, data_dir)
    rows = [row for dataset in splits[:3] for row in rows_of(dataset)]
    if name == "digits":  # it has images that are equal; other data sets are written without
        assert len(rows) == 1797
    elif name == "reuters":  # titles have numbers
        assert len({row.splitlines()[0] for row in rows}) == 30
    else:
        assert len(set(rows)) == len(rows) == sum(EXPECTED[name][0])


def test_the_same_arguments_give_the_same_rows(name, data_dir, load):
    first, second = (load(name, data_dir, seed=3) for _ in range(2))
    for one, other in zip(first[:3], second[:3], strict=True):
        assert rows_of(one) == rows_of(other)
        assert torch.equal(one.targets, other.targets)


def test_the_seed_moves_validation_and_never_test(name, data_dir, load):
    first, second = (load(name, data_dir, seed=seed) for seed in (0, 1))
    assert rows_of(first.validation) != rows_of(second.validation)
    assert rows_of(first.test) == rows_of(second.test)


def test_n_train_keeps_a_stratified_part(name, data_dir, load):
    everything, part = load(name, data_dir), load(name, data_dir, n_train=12)
    share = 12 / len(everything.train)
    assert len(part.train) == 12
    assert len(part.validation) == max(1, round(len(everything.validation) * share))
    assert rows_of(part.test) == rows_of(everything.test)
    assert set(rows_of(part.train)) <= set(rows_of(everything.train))
    assert set(rows_of(part.validation)) <= set(rows_of(everything.validation))
    if everything.classes is not None:
        n_classes = len(everything.classes)
        counts = torch.bincount(part.train.targets, minlength=n_classes)
        expected = torch.bincount(everything.train.targets, minlength=n_classes) * share
        assert (counts >= 1).all()
        assert (counts - expected).abs().max() <= 1


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"digits"}))
def test_missing_data_is_one_message(name, tmp_path, load):
    nowhere = tmp_path / "nowhere"
    with pytest.raises(MissingDataError) as caught:
        load(name, nowhere)
    message = str(caught.value)
    assert "\n" not in message
    assert "found no" in message
    assert str(nowhere) in message
    origin = ORIGINS.get(name.removesuffix("_regression"))
    if origin is None:
        assert "give" in message or "write one" in message
    else:
        assert origin.advice in message
        assert all(url in message for url in origin.urls)
        assert ("--download" in message) == bool(origin.urls)
    assert not nowhere.exists()


def test_test_images_are_decoded_only_when_asked_for(data_dir, load):
    write_food101(data_dir)
    broken = data_dir / "food-101" / "images" / "bird" / "11.jpg"
    broken.write_bytes(b"no image")
    test = load("food101", data_dir).test
    assert len(test) == 9
    with pytest.raises(DataError, match=r"bird/11\.jpg: is no image that can be read"):
        _ = test.images


def test_training_images_are_decoded_at_once(data_dir, load):
    write_food101(data_dir)
    (data_dir / "food-101" / "images" / "bird" / "1.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"bird/1\.jpg: is no image that can be read"):
        load("food101", data_dir)


@pytest.mark.parametrize(("image_size", "shape"), [(7, (7, 7)), ((4, 9), (4, 9)), ([4, 9], (4, 9))])
def test_image_size(image_size, shape, data_dir, load):
    assert load("digits", data_dir, image_size=image_size).train.images.shape[2:] == shape


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("cifar11", {}, r"data set 'cifar11' is unknown; known are digits, cifar10"),
        ("trec", {"task": "image_regression"}, r"trec: task is 'image_regression', but it is for text_classification"),
        ("trec", {"image_size": 8}, r"trec: image_size is 8, but texts have none"),
        ("digits", {"image_size": 0}, r"image_size is 0, expected a side or \(height, width\) of 1 pixel or more"),
        ("digits", {"image_size": (8, -1)}, r"image_size is \(8, -1\), expected"),
        ("digits", {"image_size": (8, 8, 3)}, r"image_size is \(8, 8, 3\), expected"),
        ("trec", {"label": "x"}, r"trec: option 'label' is unknown; its options: labels"),
        ("mr", {"task": "text_classification", "x": 1}, r"mr: option 'x' is unknown; its options: none"),
        ("trec", {"labels": "rough"}, r"trec: labels is 'rough', expected 'fine' or 'coarse'"),
        ("digits", {"seed": -1}, r"seed is -1, expected 0 or more"),
        ("digits", {"n_train": 9}, r"n_train is 9, expected 10 \(one of each class, .*\) to 1294"),
        ("digits", {"n_train": 1295}, r"n_train is 1295, expected 10 \(one of each class, .*\) to 1294"),
    ],
)
def test_arguments_that_do_not_fit(name, arguments, message, data_dir, load):
    with pytest.raises(DataError, match=message):
        load(name, data_dir, **arguments)


@pytest.mark.parametrize("n_train", [10, 1294])
def test_the_bounds_of_n_train(n_train, data_dir, load):
    train = load("digits", data_dir, n_train=n_train).train
    assert len(train) == n_train
    assert len(np.unique(train.targets)) == 10


@pytest.mark.parametrize("around", ["", "trec"])
def test_the_data_folder_or_one_around_it(around, data_dir, load):
    write_trec(data_dir / around)
    assert len(load("trec", data_dir).test) == 6


def test_a_path_may_be_a_text(data_dir):
    write_mr(data_dir)
    assert load_dataset("mr", str(data_dir)).classes == ["neg", "pos"]
