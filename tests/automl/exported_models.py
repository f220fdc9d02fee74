"""Models as trials keep them, of every block type at tiny scale, on a few random samples."""

from __future__ import annotations

from dataclasses import replace

import torch

from nni_dream.automl.data import ImageDataset, Splits, TextDataset
from nni_dream.automl.digits import describe_digits
from nni_dream.automl.digits_parameters import read_digits_parameters
from nni_dream.automl.kept_model import ModelDescription
from nni_dream.automl.samples import describe
from nni_dream.automl.task_settings import read_settings
from nni_dream.automl.weights import WeightsSource

torch.set_num_threads(1)  # small tensors: a second thread only waits

N_SAMPLES = 8
IMAGE_SHAPE = (3, 20, 24)  # height and width differ, so that nobody mixes them up
CLASSES = ["cat", "dog", "cow"]
TEXTS = [f"How many w{i % 5} are there in w{i % 3} ?" for i in range(N_SAMPLES)]
CASES = {  # name -> (task, parameters)
    "vanilla": ("image_classification", {"block_type": {"_name": "vanilla", "separable": True}}),
    "resnet": ("image_classification", {"block_type": {"_name": "resnet", "version": "resnet50_v2"}}),
    "efficient": (
        "image_classification",
        {"block_type": {"_name": "efficient", "imagenet_size": True}, "reduction_type": "flatten"},
    ),
    "xception": ("image_classification", {"block_type": "xception", "reduction_type": "global_max"}),
    "one number": ("image_regression", {"block_type": "vanilla", "normalize": False}),
    "two numbers": ("image_regression", {"block_type": "resnet"}),
    "text vanilla": ("text_classification", {"block_type": "vanilla", "use_batchnorm": True}),
    "text transformer": ("text_classification", {"block_type": "transformer"}),
    "text ngram": ("text_classification", {"block_type": {"_name": "ngram", "ngrams": 2}}),
    "digits": ("digits", {"block_type": "resnet"}),
    "digits as they are": ("digits", {"block_type": "xception", "normalize": False}),
}


def random_images(task="image_classification", n_numbers=1, shape=IMAGE_SHAPE) -> Splits:
    """Disjoint random images in the three splits."""
    generator = torch.Generator().manual_seed(1)

    def part():
        images = torch.randint(256, (N_SAMPLES, *shape), dtype=torch.uint8, generator=generator)
        numbers = torch.rand((N_SAMPLES, n_numbers), generator=generator).squeeze(1)
        targets = torch.arange(N_SAMPLES) % len(CLASSES) if task == "image_classification" else numbers
        return ImageDataset(lambda: images, targets)

    classes = CLASSES if task == "image_classification" else None
    return Splits(part(), part(), part(), classes, task, "random")


def random_texts() -> Splits:
    part = TextDataset(TEXTS, torch.arange(N_SAMPLES) % len(CLASSES))
    return Splits(part, part, part, CLASSES, "text_classification", "random")


def describe_case(name) -> ModelDescription:
    task, parameters = CASES[name]
    if task == "digits":
        return describe_digits(read_digits_parameters(parameters), {"epochs": 2, "patience": 10, "seed": 0})
    data = random_texts() if task == "text_classification" else random_images(task, 2 if name == "two numbers" else 1)
    settings = read_settings(task, parameters)
    return describe(data, settings, scale="tiny", data_arguments={"name": "random", "data_dir": "/home/me/data"})


def build_case(name, description=None):
    """A model with weights and batch statistics that no other has, and its description."""
    description = description or describe_case(name)
    torch.manual_seed(3)
    model = description.build(WeightsSource("tiny"))
    model.train()
    model(raw_inputs(description))
    return model.eval(), description


def raw_inputs(description, n=N_SAMPLES):
    """Random inputs as the network takes them."""
    generator = torch.Generator().manual_seed(2)
    if description.task == "text_classification":
        return torch.randint(len(description.vocabulary()), (n, 128 // 4), generator=generator, dtype=torch.int32)
    shape = (n, *description.image_shape)
    return torch.randint(description.largest_pixel + 1, shape, generator=generator).float()


def with_data(description, **data) -> ModelDescription:
    return replace(description, data=data)
