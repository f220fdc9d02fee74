import pytest

from nni_dream.automl.scales import (
    imagenet_size,
    plain_size,
    scaled_embedding,
    scaled_heads,
    scaled_length,
    scaled_width,
)


@pytest.mark.parametrize(
    ("height", "width", "scale", "expected"),
    [
        (32, 32, "full", (32, 32)),
        (300, 200, "full", (300, 200)),
        (8, 8, "tiny", (8, 8)),
        (16, 16, "tiny", (16, 16)),
        (28, 28, "tiny", (16, 16)),
        (32, 32, "tiny", (16, 16)),
        (64, 64, "tiny", (32, 32)),
        (240, 360, "tiny", (32, 48)),
        (32, 32, "small", (32, 32)),
        (300, 300, "small", (64, 64)),
    ],
)
def test_plain_size(height, width, scale, expected):
    assert plain_size(height, width, scale) == expected


@pytest.mark.parametrize(
    ("version", "scale", "expected"),
    [
        ("resnet50", "full", 224),
        ("b0", "full", 224),
        ("b7", "full", 600),
        ("xception", "full", 299),
        ("b7", "tiny", 36),
    ],
)
def test_imagenet_size(version, scale, expected):
    assert imagenet_size(version, scale) == expected


@pytest.mark.parametrize("scale", ["tiny", "small", "full"])
@pytest.mark.parametrize(
    ("scaled", "values"),
    [
        (scaled_width, [16, 32, 64, 128, 256, 512, 1024, 2048]),
        (scaled_embedding, [32, 64, 128, 256, 512]),
        (scaled_heads, [8, 16, 32]),
        (scaled_length, [64, 128, 256, 512]),
    ],
)
def test_values_of_the_space_stay_different(scaled, values, scale):
    sizes = [scaled(value, scale) for value in values]
    assert sizes == sorted(set(sizes))
    assert sizes == values or scale != "full"


@pytest.mark.parametrize("scale", ["tiny", "small", "full"])
def test_heads_divide_embeddings(scale):
    for dimension in [32, 64, 128, 256, 512]:
        for n_heads in [8, 16, 32]:
            sizes = scaled_embedding(dimension, scale), scaled_heads(n_heads, scale)
            assert sizes[0] % sizes[1] == 0 or scale == "small"
