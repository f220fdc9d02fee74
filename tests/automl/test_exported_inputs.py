"""What a user may give, and how it becomes what the model takes."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from automl.exported_models import TEXTS, describe_case
from PIL import ExifTags, Image, ImageOps

from nni_dream.automl.data.images import ImageSize, decode_image
from nni_dream.automl.exported_inputs import InputError, image_pixels, text_ids

HEIGHT, WIDTH = 20, 24
COLOUR = describe_case("vanilla")  # 3 channels, 20 x 24 pixels
GREY = replace(COLOUR, image_shape=[1, HEIGHT, WIDTH])
DIGITS = describe_case("digits")  # 1 channel, 8 x 8 pixels, 0..16
TEXT = describe_case("text vanilla")


class Frame:
    """What a DataFrame of pandas has for a list: the names of its columns."""

    columns = ("text", "label")

    def __iter__(self):
        return iter(self.columns)


def noise(*shape, largest=255):
    return np.random.default_rng(1).integers(0, largest + 1, shape, dtype=np.uint8)


def png(folder, array, name="x.png"):
    path = folder / name
    Image.fromarray(array).save(path)
    return path


def test_an_array_of_the_right_size_is_taken_as_it_is():
    array = noise(5, HEIGHT, WIDTH, 3)
    pixels = image_pixels(array, COLOUR)
    assert pixels.dtype == torch.uint8
    assert torch.equal(pixels, torch.from_numpy(array).permute(0, 3, 1, 2))


@pytest.mark.parametrize("shape", [(5, HEIGHT, WIDTH), (5, HEIGHT, WIDTH, 1)])
def test_one_channel_needs_no_axis(shape):
    array = noise(*shape)
    assert torch.equal(image_pixels(array, GREY), torch.from_numpy(array).view(5, 1, HEIGHT, WIDTH))


def test_a_list_may_mix_paths_pictures_and_arrays_of_any_size(tmp_path):
    array = noise(HEIGHT, WIDTH, 3)
    given = [str(png(tmp_path, array)), png(tmp_path, array), Image.fromarray(array), array, noise(50, 10, 3)]
    pixels = image_pixels(given, COLOUR)
    assert pixels.shape == (5, 3, HEIGHT, WIDTH)
    assert all(torch.equal(row, torch.from_numpy(array).permute(2, 0, 1)) for row in pixels[:4])


def test_a_sequence_need_not_be_a_list():
    assert len(image_pixels((image for image in noise(2, HEIGHT, WIDTH, 3)), COLOUR)) == 2


def test_pictures_are_resized_as_those_of_the_training_were(tmp_path):
    path = tmp_path / "large.jpg"
    Image.fromarray(noise(200, 300, 3)).save(path)
    expected = decode_image("", path.read_bytes(), ImageSize(HEIGHT, WIDTH))
    assert np.array_equal(image_pixels([path], COLOUR)[0].numpy(), expected)


@pytest.mark.parametrize("format", ["png", "jpg"])
def test_photographs_are_turned_upright_as_those_of_the_training_were(tmp_path, format):
    path = tmp_path / f"photo.{format}"
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.fromarray(noise(WIDTH, HEIGHT, 3)).save(path, exif=exif)  # of the model's size when it is upright
    expected = torch.from_numpy(decode_image("", path.read_bytes(), ImageSize(HEIGHT, WIDTH)).copy())
    with Image.open(path) as picture:
        pixels = image_pixels([path, picture, picture.convert("RGB"), ImageOps.exif_transpose(picture)], COLOUR)
    assert all(torch.equal(row, expected) for row in pixels)


def test_arrays_are_resized_smoothly():
    """Halving a fine chessboard gives grey, not one of its colours."""
    board = np.indices((2 * HEIGHT, 2 * WIDTH)).sum(axis=0) % 2 * 200
    pixels = image_pixels(board.astype(np.uint8)[None], GREY)
    inside = pixels[0, 0, 1:-1, 1:-1]
    assert pixels.shape == (1, 1, HEIGHT, WIDTH)
    assert (inside.float() - 100).abs().max() <= 2


def test_pictures_become_rgb_or_grey(tmp_path):
    grey = png(tmp_path, noise(HEIGHT, WIDTH))
    as_colour = image_pixels([grey], COLOUR)
    assert torch.equal(as_colour[0, 0], as_colour[0, 2])
    assert torch.equal(image_pixels([grey], GREY)[0, 0], as_colour[0, 0])
    red = Image.new("RGB", (WIDTH, HEIGHT), (255, 0, 0))
    assert image_pixels([red], GREY).unique().tolist() == [76]  # ITU-R 601-2 luma: 0.299 of 255


@pytest.mark.parametrize("mode", ["RGBA", "P", "CMYK", "1", "LA"])
def test_pictures_of_any_8_bit_mode(mode):
    assert image_pixels([Image.new(mode, (WIDTH, HEIGHT))], COLOUR).shape == (1, 3, HEIGHT, WIDTH)


def test_pictures_are_brought_to_the_range_of_the_data():
    """Digits go from 0 to 16; a picture's white is 255."""
    white = image_pixels([Image.new("L", (8, 8), 255)], DIGITS)
    middle = image_pixels([Image.new("L", (8, 8), 128)], DIGITS)
    assert (white.unique().tolist(), middle.unique().tolist()) == ([16], [8])
    array = noise(3, 8, 8, largest=16)
    assert torch.equal(image_pixels(array, DIGITS)[:, 0], torch.from_numpy(array))


def test_the_input_is_left_as_it_was():
    array = noise(2, HEIGHT, WIDTH, 3)
    before = array.copy()
    image_pixels(array, COLOUR).zero_()
    assert np.array_equal(array, before)


def broken_png():
    content = io.BytesIO()
    Image.fromarray(noise(HEIGHT, WIDTH, 3)).save(content, "PNG")
    return Image.open(io.BytesIO(content.getvalue()[:200]))


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ("a.png", r"inputs is str, expected a sequence: put it into a list"),
        (Path("a.png"), r"inputs is \w+Path, expected a sequence: put it into a list"),
        (Image.new("RGB", (2, 2)), r"inputs is Image, expected a sequence: put it into a list"),
        (None, r"inputs is NoneType, expected a sequence of images or texts"),
        ([], r"inputs is empty, expected one image or text at least"),
        (noise(0, HEIGHT, WIDTH, 3), r"inputs is an array of shape \(0, 20, 24, 3\): it is empty"),
        (noise(1, 0, WIDTH, 3), r"inputs is an array of shape \(1, 0, 24, 3\): it is empty"),
        (noise(HEIGHT, WIDTH, 3), r"inputs is an array of shape \(20, 24, 3\), expected \(N, height, width, 3\)"),
        (noise(5, 3, HEIGHT, WIDTH), r"inputs is an array of shape \(5, 3, 20, 24\), expected \(N, height, width, 3\)"),
        (noise(5, HEIGHT, WIDTH, 1), r"expected \(N, height, width, 3\)"),
        (np.zeros((1, HEIGHT, WIDTH, 3)), r"inputs is an array of float64, expected uint8 from 0 to 255"),
        (
            [noise(HEIGHT, WIDTH, 3), noise(HEIGHT, WIDTH)],
            r"inputs\[1\] is an array of shape \(20, 24\), expected \(heig",
        ),
        ([np.zeros((2, 2, 3), int)], r"inputs\[0\] is an array of int64, expected uint8 from 0 to 255"),
        ([5], r"inputs\[0\] is int, this model takes images: paths, PIL images or arrays of bytes"),
        (["absent.png"], r"inputs\[0\]: 'absent.png' cannot be read: No such file or directory"),
        (["a\x00b"], r"inputs\[0\]: 'a\\x00b' cannot be read: embedded null byte"),
        (["."], r"inputs\[0\]: '\.' cannot be read: Is a directory"),
        ([Image.new("F", (2, 2))], r"inputs\[0\]: has pixels of mode 'F', expected 8 bits a channel; convert it"),
        ([Image.new("RGB", (0, 0))], r"inputs\[0\]: is a picture of 0x0 pixels: it is empty"),
        ([Image.new("L", (0, 5))], r"inputs\[0\]: is a picture of 0x5 pixels: it is empty"),
        ([broken_png()], r"inputs\[0\]: is no image that can be read: "),
        ([__file__], r"inputs\[0\]: .*test_exported_inputs.py: is no image that can be read: "),
    ],
)
def test_what_is_no_image_of_the_model_is_named(inputs, words):
    with pytest.raises(InputError, match=words):
        image_pixels(inputs, COLOUR)


def test_a_pixel_beyond_the_range_of_the_data_is_named():
    with pytest.raises(
        InputError, match=r"inputs has a pixel of 17, but in the training data they go from 0 to 16; sca"
    ):
        image_pixels(np.full((1, 8, 8), 17, np.uint8), DIGITS)


def test_pictures_do_not_fit_models_of_other_channels():
    with pytest.raises(InputError, match="this model takes arrays of 4 channels; a picture has 3"):
        image_pixels([Image.new("RGB", (2, 2))], replace(COLOUR, image_shape=[4, HEIGHT, WIDTH]))


def test_texts_become_the_ids_that_training_used():
    assert torch.equal(text_ids(TEXTS, TEXT), TEXT.vocabulary().encode(TEXTS, 128 // 4))
    assert torch.equal(text_ids(np.array(TEXTS), TEXT), text_ids(tuple(TEXTS), TEXT))


def test_a_text_without_a_known_word_is_a_text():
    ids = text_ids(["", "!?", "Zebra"], TEXT)
    assert ids.shape == (3, 128 // 4)
    assert ids.sum(dim=1).tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ("one text", r"inputs is str, expected a sequence: put it into a list"),
        (b"one text", r"inputs is bytes, expected a sequence: put it into a list"),
        (np.array("one text"), r"inputs is an array without an axis, expected a sequence of images or texts"),
        (7, r"inputs is int, expected a sequence of images or texts"),
        ({"text": TEXTS}, r"inputs is dict, expected a sequence: give one column, such as df\['text'\]"),
        (Frame(), r"inputs is Frame, expected a sequence: give one column, such as df\['text'\]"),
        ([], r"inputs is empty"),
        (["one", None], r"inputs\[1\] is NoneType, this model takes texts \(str\)"),
        ([b"one"], r"inputs\[0\] is bytes, this model takes texts \(str\)"),
        (noise(1, HEIGHT, WIDTH, 3), r"inputs\[0\] is ndarray, this model takes texts \(str\)"),
    ],
)
def test_what_is_no_text_is_named(inputs, words):
    with pytest.raises(InputError, match=words):
        text_ids(inputs, TEXT)
