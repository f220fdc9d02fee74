from io import BytesIO

import numpy as np
import pytest
from automl.data.published_files import encoded, noise, write_files
from PIL import ExifTags, Image, ImageOps

from nni_dream.automl.data.errors import DataError
from nni_dream.automl.data.files import open_tree
from nni_dream.automl.data.images import ArrayImages, EncodedImages, ImageSize, decode_image

RNG = np.random.default_rng(0)
COLOURS = noise(RNG, 6, 5, 3)


def saved(image, format, **options):
    stream = BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "PPM", "WEBP"])
def test_formats_without_loss(format):
    content = saved(Image.fromarray(COLOURS), format, **({"lossless": True} if format == "WEBP" else {}))
    assert np.array_equal(decode_image("x", content, None), COLOURS.transpose(2, 0, 1))


def test_a_jpeg_is_what_pillow_makes_of_it():
    content = encoded(COLOURS, "JPEG")
    expected = np.asarray(Image.open(BytesIO(content)).convert("RGB")).transpose(2, 0, 1)
    assert np.array_equal(decode_image("x", content, None), expected)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK"])
def test_every_eight_bit_mode_becomes_rgb(mode):
    image = Image.new("RGB", (4, 3), (255, 255, 255)).convert(mode)
    pixels = decode_image("x", saved(image, "TIFF"), None)
    assert pixels.shape == (3, 3, 4)
    assert (pixels == 255).all()


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_more_bits_are_refused(mode):
    content = saved(Image.new(mode, (4, 3)), "TIFF")
    with pytest.raises(DataError, match=rf"^x: has pixels of mode '{mode}', expected 8 bits a channel"):
        decode_image("x", content, None)


@pytest.mark.parametrize(
    "content",
    [b"", b"text", encoded(COLOURS, "JPEG")[:-40], encoded(COLOURS)[:60], encoded(COLOURS)[:20] + b"\0" * 60],
    ids=["empty", "text", "cut JPEG", "cut PNG", "broken PNG"],
)
def test_what_is_no_image(content):
    with pytest.raises(DataError, match=r"^x: is no image that can be read"):
        decode_image("x", content, None)


def test_content_of_no_known_format_is_told_in_our_words():
    with pytest.raises(DataError, match=r"^x: is no image that can be read: its content is in no known format$"):
        decode_image("x", b"text", None)


@pytest.mark.filterwarnings("error")
def test_opacities_of_a_palette_do_not_change_colours():
    image = Image.fromarray(COLOURS).convert("P", palette=Image.Palette.ADAPTIVE)
    content = saved(image, "PNG", transparency=bytes(range(256)))
    assert isinstance(Image.open(BytesIO(content)).info["transparency"], bytes)
    assert np.array_equal(decode_image("x", content, None), np.asarray(image.convert("RGB")).transpose(2, 0, 1))


@pytest.mark.parametrize("mark", range(1, 9))
@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_images_are_turned_upright(mark, format):
    image = Image.fromarray(COLOURS)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = mark
    content = saved(image, format, exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(BytesIO(content)))).transpose(2, 0, 1)
    assert np.array_equal(decode_image("x", content, None), expected)
    assert expected.shape == ((3, 6, 5) if mark < 5 else (3, 5, 6))


def test_a_turned_photograph_is_not_read_too_small():
    """A JPEG is read at a part of its size, as it is stored."""
    pixels = np.kron(noise(RNG, 40, 10, 3), np.ones((16, 16, 1), np.uint8))  # (640, 160, 3)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    content = saved(Image.fromarray(pixels), "JPEG", exif=exif, quality=95)
    full = ImageOps.exif_transpose(Image.open(BytesIO(content)))  # 640 wide, 160 high
    expected = np.asarray(full.resize((320, 20), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    assert np.abs(decode_image("x", content, ImageSize(20, 320)).astype(int) - expected).mean() < 8


def test_broken_marks_turn_nothing():
    content = saved(Image.fromarray(COLOURS), "PNG", exif=b"Exif\0\0no marks")
    assert np.array_equal(decode_image("x", content, None), COLOURS.transpose(2, 0, 1))


def test_an_image_too_large_to_be_honest(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(DataError, match=r"^x: is no image that can be read: .*decompression bomb"):
        decode_image("x", encoded(COLOURS), None)


def test_resizing_is_bilinear_and_antialiased():
    smooth = np.add.outer(np.arange(0, 240, 2), np.arange(0, 160, 2))[..., None].repeat(3, axis=2) // 2
    pixels = smooth.astype(np.uint8)  # (120, 80, 3)
    expected = np.asarray(Image.fromarray(pixels).resize((20, 30), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    assert np.array_equal(decode_image("x", encoded(pixels), ImageSize(30, 20)), expected)
    array = ArrayImages(np.ascontiguousarray(pixels.transpose(2, 0, 1))[None], str)
    assert np.abs(next(array.blocks(ImageSize(30, 20)))[0].astype(int) - expected).max() <= 1
    jpeg = decode_image("x", encoded(pixels, "JPEG"), ImageSize(30, 20))  # decoded at half size first
    assert np.abs(jpeg.astype(int) - expected).max() <= 8


@pytest.fixture
def two_sizes(tmp_path):
    write_files(tmp_path, {"a.png": encoded(COLOURS), "b.png": encoded(noise(RNG, 4, 9, 3))})
    return EncodedImages(list(open_tree(tmp_path).files.values()))


def test_images_that_differ_in_size_need_a_size(two_sizes):
    with pytest.raises(
        DataError, match=r"b\.png: is 9x4, but .*a\.png is 5x6: images differ in size, give an image_size"
    ):
        list(two_sizes.blocks(None))
    assert next(two_sizes.blocks(ImageSize(2, 3))).shape == (2, 3, 2, 3)


def test_sizes_are_compared_across_blocks(monkeypatch, two_sizes):
    monkeypatch.setattr("nni_dream.automl.data.images.BLOCK_ROWS", 1)
    with pytest.raises(DataError, match=r"b\.png: is 9x4, but .*a\.png is 5x6"):
        list(two_sizes.blocks(None))


def test_rows_are_taken_before_anything_is_decoded(two_sizes):
    only_second = two_sizes.take(np.array([1]))
    assert np.concatenate(list(only_second.blocks(None))).shape == (1, 3, 4, 9)
    assert list(only_second.identity()) == list(two_sizes.identity())[1:]


def test_rows_of_rows_of_an_array():
    pixels = noise(RNG, 600, 1, 2, 2)
    images = ArrayImages(pixels, lambda: "source").take(np.arange(599, -1, -1)).take(np.arange(300))
    expected = pixels[599:299:-1]
    assert np.array_equal(images.to_array(), expected)
    blocks = list(images.blocks(None))
    assert [len(block) for block in blocks] == [256, 44]
    assert np.array_equal(np.concatenate(blocks), expected)


def test_the_identity_of_array_rows():
    pixels = noise(RNG, 4, 1, 2, 2)
    one, same, other, elsewhere = (
        list(ArrayImages(pixels, lambda source=source: source).take(np.array(rows)).identity())
        for source, rows in (("a", [0, 1]), ("a", [0, 1]), ("a", [1, 0]), ("b", [0, 1]))
    )
    assert one == same
    assert len({tuple(one), tuple(other), tuple(elsewhere)}) == 3


@pytest.mark.parametrize(("largest", "white"), [(0, 1), (1, 1), (16, 16), (63, 63), (64, 255), (200, 255), (255, 255)])
def test_white_of_an_array(largest, white, monkeypatch):
    monkeypatch.setattr("nni_dream.automl.data.images.BLOCK_ROWS", 2)
    pixels = np.full((5, 1, 2, 2), 255, np.uint8)
    pixels[1:] = 0
    pixels[4, 0, 1, 1] = largest
    assert ArrayImages(pixels, str).take(np.arange(1, 5)).largest_pixel() == white
