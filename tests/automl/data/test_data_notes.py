"""What is said of data that can be read, but may surprise."""

import pytest
from automl.data.published_files import image_files, write_files

from nni_dream.automl.data import data_notes


def rows(*texts, labels=("x", "y")):
    return "text,label\n" + "".join(f"{text},{labels[i % len(labels)]}\n" for i, text in enumerate(texts))


@pytest.mark.parametrize(("n_shared", "is_told"), [(0, False), (1, False), (2, True), (20, True)])
def test_texts_of_train_among_those_of_test(n_shared, is_told, data_dir, load):
    train = [f"a{i}" for i in range(30)]
    test = [f"a{i}" if i < n_shared else f"b{i}" for i in range(20)]
    validation = [f"c{i}" for i in range(20)]
    write_files(data_dir, {"train.csv": rows(*train), "validation.csv": rows(*validation), "test.csv": rows(*test)})
    told = f"{n_shared} of the 20 test texts are training texts too: the test score says less about new texts"
    assert data_notes(load("table", data_dir)) == ([told] if is_told else [])


@pytest.mark.parametrize("name", ["NaN", "nan", "NA", "N/A", "null", "None"])
def test_a_written_word_for_no_label_is_a_class_but_told(name, data_dir, load):
    write_files(data_dir, {"t.csv": rows(*(f"a{i}" for i in range(60)), labels=("x", name, "y"))})
    splits = load("table", data_dir)
    assert name in splits.classes
    (told,) = data_notes(splits)
    assert told.startswith(f"{name!r} is a class, of 14 training texts; if it stands for no label, take those rows out")


def test_nothing_is_said_of_images(data_dir, load):
    write_files(data_dir, image_files({"": 9}, classes=("cat", "none")))
    assert data_notes(load("folder", data_dir)) == []
