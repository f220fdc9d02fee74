"""All block types and versions of the image space at tiny and small scale; of the published ones four."""

import pytest
import torch
from torch import nn

from nni_dream.automl.freezing import freeze, set_training
from nni_dream.automl.models.image import (
    ChannelStatistics,
    ImagePreprocessing,
    ModelError,
    build_image_model,
    measure_channels,
)
from nni_dream.automl.scales import imagenet_size
from nni_dream.automl.task_settings import read_settings
from nni_dream.automl.weights import TIMM_NAMES, WeightsSource
from nni_dream.torchvision_compatibility import ensure_torchvision

N_CLASSES = 10
STATISTICS = ChannelStatistics((120.0,) * 3, (60.0,) * 3)
BLOCKS = [
    {"_name": "vanilla"},
    {"_name": "vanilla", "separable": True, "kernel_size": 7, "num_blocks": 3, "activation": "selu"},
    {"_name": "vanilla", "kernel_size": 5, "max_pooling": False, "activation": "tanh", "initializer": "he_uniform"},
    *({"_name": "resnet", "version": f"resnet{depth}{v}"} for depth in (50, 101, 152) for v in ("", "_v2")),
    *({"_name": "efficient", "version": f"b{i}"} for i in range(8)),
    {"_name": "xception"},
]


def build(block, image_shape=(3, 32, 32), *, scale="tiny", statistics=STATISTICS, **parameters):
    torch.manual_seed(0)
    settings = read_settings("image_classification", {"block_type": block, **parameters})
    return build_image_model(settings, N_CLASSES, image_shape, statistics=statistics, source=WeightsSource(scale))


def in_words(block):
    return "-".join(str(value) for value in block.values())


@pytest.mark.parametrize("scale", ["tiny", "small"])
@pytest.mark.parametrize("block", BLOCKS, ids=in_words)
def test_networks_train(block, scale):
    """Output shape, a gradient in every weight, no NaN."""
    model = build(block, scale=scale)
    logits = model(torch.randint(0, 256, (32, 3, 32, 32)).float())
    assert logits.shape == (32, N_CLASSES)
    nn.functional.cross_entropy(logits, torch.arange(32) % N_CLASSES).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.any(), name


@pytest.mark.parametrize("reduction_type", ["flatten", "global_max", "global_avg"])
@pytest.mark.parametrize("block", [BLOCKS[0], BLOCKS[1], *BLOCKS[3:5], BLOCKS[9], BLOCKS[-1]], ids=in_words)
def test_tiny_networks_take_images_of_any_shape(block, reduction_type):
    for image_shape in [(3, 8, 8), (3, 96, 64)]:
        logits = build(block, image_shape, reduction_type=reduction_type)(torch.rand(2, *image_shape) * 255)
        assert logits.shape == (2, N_CLASSES)
        assert torch.isfinite(logits).all()


@pytest.mark.parametrize("block", [BLOCKS[0], BLOCKS[3], BLOCKS[4], BLOCKS[9], BLOCKS[-1]], ids=in_words)
def test_small_networks_are_larger_than_tiny_ones(block):
    tiny, small = (sum(p.numel() for p in build(block, scale=scale).parameters()) for scale in ("tiny", "small"))
    assert tiny < small


@pytest.mark.parametrize("block", [BLOCKS[0], BLOCKS[3], BLOCKS[4], BLOCKS[9], BLOCKS[-1]], ids=in_words)
def test_full_networks_are_the_published_ones(block):
    model = build(block, (3, 64, 64), scale="full")
    n_weights = sum(parameter.numel() for parameter in model.backbone.parameters())
    published = {"resnet50": 23.5e6, "resnet50_v2": 23.5e6, "b0": 4.0e6, "xception": 20.8e6}  # without a classifier
    if block["_name"] != "vanilla":
        assert n_weights == pytest.approx(published[block.get("version", "xception")], rel=0.02)
    assert model(torch.rand(2, 3, 64, 64) * 255).shape == (2, N_CLASSES)


@pytest.mark.parametrize("block", [BLOCKS[3], BLOCKS[4], BLOCKS[9], BLOCKS[-1]], ids=in_words)
def test_batch_norm_of_published_networks_is_frozen_as_a_whole(block):
    """timm's own layers of batch normalisation, with an activation inside or without, count too."""
    model = build(block, (3, 64, 64), scale="full")
    freeze(model, "bn")
    set_training(model, "bn")
    modules = dict(model.backbone.named_modules())
    norms = {
        name for name, module in modules.items() if isinstance(getattr(module, "running_mean", None), torch.Tensor)
    }
    assert norms
    for name, module in modules.items():
        own = list(module.parameters(recurse=False))
        assert all(parameter.requires_grad is (name not in norms) for parameter in own), name
        assert not own or module.training is (name not in norms), name


@pytest.mark.parametrize("version", TIMM_NAMES)
def test_the_networks_own_input_size_is_that_of_timms_weights(version):
    ensure_torchvision()
    from timm.models import get_pretrained_cfg

    assert get_pretrained_cfg(TIMM_NAMES[version]).input_size == (3, *[imagenet_size(version, "full")] * 2)


@pytest.mark.parametrize("n_channels", [1, 3, 4])
def test_images_may_have_any_number_of_channels(n_channels):
    statistics = ChannelStatistics((0.0,) * n_channels, (1.0,) * n_channels)
    model = build({"_name": "resnet"}, (n_channels, 16, 16), statistics=statistics)
    assert model(torch.rand(2, n_channels, 16, 16)).shape == (2, N_CLASSES)


@pytest.mark.parametrize(("imagenet_size", "expected"), [(True, (36, 36)), (False, (16, 16))])
def test_imagenet_size_resizes_to_the_networks_own_input(imagenet_size, expected):
    model = build({"_name": "resnet", "imagenet_size": imagenet_size})
    assert model.preprocessing(torch.zeros(1, 3, 32, 32)).shape[2:] == expected


def test_images_that_are_too_small_for_a_network_are_one_line():
    message = (
        r"^block_type = xception cannot take images of 4 x 5 pixels: .*Kernel size can't be greater than actual input "
        r"size; imagenet_size = true, or a larger --image-size, fits it$"
    )
    with pytest.raises(ModelError, match=message):
        build({"_name": "xception"}, (3, 4, 5), scale="full")


@pytest.mark.parametrize("scale", ["tiny", "small", "full"])
def test_a_kernel_larger_than_the_image_is_padded(scale):
    block = {"_name": "vanilla", "kernel_size": 7, "num_blocks": 3, "num_layers": 2, "max_pooling": False}
    assert build(block, (3, 2, 3), scale=scale)(torch.rand(2, 3, 2, 3)).shape == (2, N_CLASSES)


def test_statistics_are_those_of_all_training_images():
    images = torch.randint(0, 256, (3000, 3, 4, 4), dtype=torch.uint8)
    statistics = measure_channels(images)
    assert statistics.mean == pytest.approx(images.float().mean(dim=(0, 2, 3)).tolist(), rel=1e-4)
    assert statistics.deviation == pytest.approx(images.float().std(dim=(0, 2, 3)).tolist(), rel=1e-3)


def test_a_channel_of_one_colour_is_not_divided_by_zero():
    images = torch.full((10, 3, 4, 4), 7, dtype=torch.uint8)
    normalised = ImagePreprocessing((4, 4), measure_channels(images))(images.float())
    assert normalised.abs().max().item() == pytest.approx(0, abs=1e-2)


def test_images_that_shrink_on_one_side_alone_are_antialiased():
    statistics = ChannelStatistics((0.0,), (1.0,))
    stripes = (torch.arange(320) % 2 * 255.0).expand(1, 1, 32, 320)
    wide = ImagePreprocessing((36, 36), statistics)(stripes)
    high = ImagePreprocessing((36, 36), statistics)(stripes.transpose(2, 3))
    assert torch.allclose(wide, high.transpose(2, 3), atol=1e-3)
    assert (wide - 127.5).abs().max() < 20


@pytest.mark.parametrize("normalize", [True, False])
def test_normalize(normalize):
    images = torch.randint(0, 256, (500, 3, 16, 16), dtype=torch.uint8)
    model = build({"_name": "resnet"}, (3, 16, 16), statistics=measure_channels(images), normalize=normalize)
    seen = model.preprocessing(images.float())
    if normalize:
        assert seen.mean().item() == pytest.approx(0, abs=1e-3)
        assert seen.std().item() == pytest.approx(1, abs=1e-3)
    else:
        assert torch.equal(seen, images.float())


def test_initializer_and_activation_reach_the_whole_plain_network():
    model = build({"_name": "vanilla", "initializer": "he_uniform", "activation": "selu"}, reduction_type="flatten")
    assert not any(isinstance(module, nn.ReLU) for module in model.modules())
    assert sum(isinstance(module, nn.SELU) for module in model.modules()) == 4
    head = model.classifier.weight
    assert head.abs().max().item() == pytest.approx((6 / head.shape[1]) ** 0.5, rel=0.05)


def test_second_versions_rectify_nothing_after_the_sum():
    features = build({"_name": "resnet", "version": "resnet50_v2"}).backbone.blocks[0]
    summed = features(torch.randn(2, 16, 8, 8))
    assert (summed < 0).any()


def test_the_seed_decides_the_weights():
    for block in BLOCKS[::4]:
        first, second = build(block).state_dict(), build(block).state_dict()
        assert all(torch.equal(first[name], second[name]) for name in first)
