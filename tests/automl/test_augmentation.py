"""What real images have beyond digits: contrast and flips; shifts, turns and zooms are in test_training.py."""

import pytest
import torch

from nni_dream.automl.augmentation import augment
from nni_dream.automl.image_settings import ImageAugmentation

NOTHING = {
    "translation": 0.0,
    "rotation": 0.0,
    "zoom": 0.0,
    "contrast": 0.0,
    "horizontal_flip": False,
    "vertical_flip": False,
}


def augmented(pixels, **changes):
    return augment(pixels, ImageAugmentation(**{**NOTHING, **changes}), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def pixels():
    return torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(1)).expand(64, -1, -1, -1) * 255


def test_nothing_changes_nothing(pixels):
    assert torch.allclose(augmented(pixels), pixels, atol=1e-3)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (64, 96), (96, 64)])
def test_a_turn_leaves_lengths_and_right_angles_whatever_the_shape(height, width):
    """Of a bar, the covariance of its bright pixels has the same size in all directions after a turn as before."""

    def spread(image, across, along):
        y, x = torch.nonzero(image > 0.5, as_tuple=True)
        bar = torch.stack([x, y]).float()
        values = torch.linalg.eigvalsh(torch.cov(bar))
        assert values.tolist() == pytest.approx([across, along], rel=0.15)

    bars = torch.zeros(8, 1, height, width)
    bars[:, :, height // 2 - 3 : height // 2 + 3, width // 2 - 12 : width // 2 + 12] = 1
    for turned in augmented(bars, rotation=0.5):
        spread(turned[0], across=35 / 12, along=575 / 12)  # (n^2 - 1) / 12 of n pixels in a row


@pytest.mark.parametrize(("name", "dimension"), [("horizontal_flip", 3), ("vertical_flip", 2)])
def test_about_half_of_the_images_are_flipped(pixels, name, dimension):
    flipped = augmented(pixels, **{name: True})
    is_same = torch.tensor([torch.allclose(one, pixels[0], atol=1e-3) for one in flipped])
    is_mirrored = torch.tensor([torch.allclose(one, pixels[0].flip(dimension - 1), atol=1e-3) for one in flipped])
    assert (is_same ^ is_mirrored).all()
    assert 16 < is_mirrored.sum().item() < 48


def test_contrast_scales_around_the_mean_of_each_channel(pixels):
    changed = augmented(pixels, contrast=0.1)
    assert torch.allclose(changed.mean(dim=(2, 3)), pixels.mean(dim=(2, 3)), rtol=1e-3)
    factors = changed.std(dim=(2, 3)) / pixels.std(dim=(2, 3))  # (64, 3)
    assert torch.allclose(factors, factors[:, :1].expand(-1, 3), atol=1e-3)
    assert 0.9 <= factors.min().item() < 0.93
    assert 1.07 < factors.max().item() <= 1.1


def test_augmenting_commutes_with_normalising(pixels):
    mean, deviation = torch.tensor([1.0, 2.0, 3.0])[:, None, None], torch.tensor([4.0, 5.0, 6.0])[:, None, None]
    changes = {"translation": 0.1, "rotation": 0.1, "zoom": 0.1, "contrast": 0.1, "horizontal_flip": True}
    before = augmented((pixels - mean) / deviation, **changes)
    after = (augmented(pixels, **changes) - mean) / deviation
    assert torch.allclose(before, after, atol=1e-3)
