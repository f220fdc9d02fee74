import itertools

import pytest
import torch
from torch import nn

from nni_dream.automl.digits_parameters import read_digits_parameters
from nni_dream.automl.models.digits import build_digits_model

IMAGE_SHAPE = (1, 8, 8)
N_CLASSES = 10

VERSIONS = [
    {"_name": "vanilla"},
    {"_name": "vanilla", "separable": True, "kernel_size": 5, "num_blocks": 3, "activation": "selu"},
    {"_name": "vanilla", "kernel_size": 7, "max_pooling": False, "activation": "tanh", "initializer": "he_uniform"},
    {"_name": "resnet", "version": "resnet8"},
    {"_name": "resnet", "version": "resnet14"},
    {"_name": "resnet", "version": "resnet20"},
    {"_name": "efficient", "version": "b0"},
    {"_name": "efficient", "version": "b1"},
    {"_name": "efficient", "version": "b2"},
    {"_name": "xception"},
]


def build(block, image_shape=IMAGE_SHAPE, **parameters):
    torch.manual_seed(0)
    return build_digits_model(read_digits_parameters({"block_type": block, **parameters}), N_CLASSES, image_shape)


def in_words(block):
    return "-".join(str(value) for value in block.values())


@pytest.mark.parametrize("reduction_type", ["flatten", "global_max", "global_avg"])
@pytest.mark.parametrize("image_shape", [(1, 8, 8), (3, 32, 28)])
@pytest.mark.parametrize("block", VERSIONS, ids=in_words)
def test_output_has_a_logit_per_class(block, image_shape, reduction_type):
    model = build(block, image_shape, reduction_type=reduction_type)
    logits = model(torch.randn(4, *image_shape))
    assert logits.shape == (4, N_CLASSES)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("block", VERSIONS, ids=in_words)
def test_a_gradient_reaches_every_trainable_tensor(block):
    model = build(block)
    loss = nn.functional.cross_entropy(model(torch.randn(32, *IMAGE_SHAPE)), torch.arange(32) % N_CLASSES)
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.any(), name


@pytest.mark.parametrize("block", VERSIONS, ids=in_words)
def test_the_seed_decides_the_weights(block):
    first, second = build(block).state_dict(), build(block).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("kernel_size", "separable", "max_pooling", "num_blocks", "num_layers"),
    list(itertools.product([3, 5, 7], [True, False], [True, False], [1, 2, 3], [1, 2])),
)
def test_every_vanilla_network_fits_a_small_image(kernel_size, separable, max_pooling, num_blocks, num_layers):
    block = {
        "_name": "vanilla",
        "kernel_size": kernel_size,
        "separable": separable,
        "max_pooling": max_pooling,
        "num_blocks": num_blocks,
        "num_layers": num_layers,
        "filters": 8,
    }
    model = build(block)
    n_convolutions = sum(isinstance(module, nn.Conv2d) for module in model.modules())
    assert n_convolutions == num_blocks * num_layers * (2 if separable else 1)
    assert model(torch.randn(2, *IMAGE_SHAPE)).shape == (2, N_CLASSES)


@pytest.mark.parametrize(
    ("initializer", "limit"),
    [("he_uniform", (6 / 288) ** 0.5), ("lecun_uniform", (3 / 288) ** 0.5), ("glorot_uniform", (6 / 576) ** 0.5)],
)
def test_initializers_draw_uniformly_within_their_limits(initializer, limit):
    model = build({"_name": "vanilla", "filters": 32, "num_layers": 2, "initializer": initializer})
    weight = [module.weight for module in model.modules() if isinstance(module, nn.Conv2d)][1]  # fans 32 * 9
    assert weight.abs().max().item() == pytest.approx(limit, rel=0.01)
    assert weight.std().item() == pytest.approx(limit / 3**0.5, rel=0.05)


@pytest.mark.parametrize(("version", "n_layers"), [("resnet8", 8), ("resnet14", 14), ("resnet20", 20)])
def test_resnets_have_the_layers_of_their_name(version, n_layers):
    model = build({"_name": "resnet", "version": version})
    layers = [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    shortcuts = [layer for layer in layers if isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1)]
    assert len(layers) - len(shortcuts) == n_layers


def test_efficient_networks_grow_with_their_version():
    sizes = [
        sum(parameter.numel() for parameter in build({"_name": "efficient", "version": version}).parameters())
        for version in ("b0", "b1", "b2")
    ]
    assert sizes[0] < sizes[1] < sizes[2]


def test_building_leaves_batch_statistics_alone():
    model = build({"_name": "resnet"})
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert all(norm.num_batches_tracked == 0 and not norm.running_mean.any() for norm in norms)
    assert all(module.training for module in model.modules())
