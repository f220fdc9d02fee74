"""The data sets themselves, where they are at hand: $NNI_DREAM_DATA, else shared/data beside the repository."""

import os
from pathlib import Path

import pytest
import torch

DATA = Path(os.environ.get("NNI_DREAM_DATA") or Path(__file__).parents[4] / "shared" / "data")


def folder(name):
    path = DATA / name
    if not path.is_dir():
        pytest.skip(f"no data set at {path}; set NNI_DREAM_DATA to the folder that holds {name}/")
    return path


def test_cifar10(load):
    splits = load("cifar10", folder("cifar10"), n_train=500)
    assert [len(dataset) for dataset in splits[:3]] == [500, 125, 5000]
    assert splits.classes[:3] == ["airplane", "automobile", "bird"]
    assert torch.bincount(splits.train.targets).tolist() == [50] * 10
    assert splits.train.images.shape == (500, 3, 32, 32)
    mean = splits.train.images.float().mean(dim=(0, 2, 3)) / 255
    assert torch.allclose(mean, torch.tensor([0.4913, 0.4821, 0.4465]), atol=0.03)  # published, of all images


@pytest.mark.parametrize(("labels", "n_classes"), [("fine", 50), ("coarse", 6)])
def test_trec(labels, n_classes, load):
    splits = load("trec", folder("trec"), labels=labels)
    assert len(splits.train) + len(splits.validation) == 5452
    assert len(splits.test) == 500
    assert len(splits.classes) == n_classes
    assert len(torch.unique(splits.train.targets)) == n_classes
    shared = set(splits.test.texts) & {*splits.train.texts, *splits.validation.texts}
    assert len(shared) == 10  # as published


def test_mr(load):
    splits = load("mr", folder("mr"))
    texts = [text for dataset in splits[:3] for text in dataset.texts]
    assert len(set(texts)) == len(texts) == 10662
    for dataset in splits[:3]:
        assert abs(float(dataset.targets.float().mean()) - 0.5) < 0.001
