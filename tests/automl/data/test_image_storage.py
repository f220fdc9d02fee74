import multiprocessing
import os
import resource

import numpy as np
import pytest
import torch
from automl.data.published_files import encoded, noise, write_files

from nni_dream.automl.data.errors import DataError
from nni_dream.automl.data.files import open_tree
from nni_dream.automl.data.images import ArrayImages, EncodedImages, ImageSize
from nni_dream.automl.data.storage import ImageStorage, default_cache_folder

SHAPE = (3, 6, 5)
N_IMAGES = 10
N_BYTES = N_IMAGES * 3 * 6 * 5


class CountedImages(EncodedImages):
    """Writes a line for each time it is decoded, whichever process does it."""

    def __init__(self, files, log):
        super().__init__(files)
        self._log = log

    def blocks(self, size):
        with self._log.open("a") as log:
            log.write("decoded\n")
        yield from super().blocks(size)


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    write_files(tmp_path / "images", {f"{row}.png": encoded(noise(rng, 6, 5, 3)) for row in range(N_IMAGES)})
    return tmp_path


def open_images(folder):
    return CountedImages(list(open_tree(folder / "images").files.values()), folder / "log")


def n_decoded(folder):
    return len((folder / "log").read_text().splitlines())


def kept_files(folder):
    return list((folder / "cache").glob("*.npy"))


def load(folder, size=None, **settings):
    return ImageStorage(**{"cache_folder": folder / "cache", **settings}).load(open_images(folder), size)


def plain(folder):
    return torch.from_numpy(np.concatenate(list(open_images(folder).blocks(None))))


def test_the_second_load_does_not_decode(folder):
    first, second = load(folder), load(folder)
    assert n_decoded(folder) == 1
    assert torch.equal(first, second)
    assert torch.equal(first, plain(folder))
    assert (first.dtype, first.shape) == (torch.uint8, (N_IMAGES, *SHAPE))


def test_each_size_is_kept_for_itself(folder):
    assert load(folder, ImageSize(3, 4)).shape == (N_IMAGES, 3, 3, 4)
    assert load(folder, ImageSize(4, 3)).shape == (N_IMAGES, 3, 4, 3)
    assert len(kept_files(folder)) == 2


def test_a_changed_file_is_decoded_again(folder):
    before = load(folder)
    write_files(folder / "images", {"3.png": encoded(np.zeros((6, 5, 3), np.uint8))})
    after = load(folder)
    assert (after[3] == 0).all()
    assert torch.equal(after[4:], before[4:])
    assert n_decoded(folder) == 2


@pytest.mark.parametrize(("limit", "is_mapped"), [(N_BYTES, False), (N_BYTES - 1, True)])
def test_the_memory_limit(limit, is_mapped, folder):
    for _ in range(2):  # decoded, then found
        images = load(folder, memory_limit_bytes=limit)
        assert torch.equal(images, plain(folder))
        mapped = [line for line in open("/proc/self/maps") if kept_files(folder)[0].name in line]
        assert bool(mapped) == is_mapped
        del images


def test_what_a_trial_writes_into_mapped_images_stays_its_own(folder):
    images = load(folder, memory_limit_bytes=1)
    images.zero_()
    assert torch.equal(load(folder, memory_limit_bytes=1), plain(folder))


def test_arrays_in_memory_need_no_file(folder):
    pixels = noise(np.random.default_rng(0), 4, 1, 2, 2)
    images = ImageStorage(cache_folder=folder / "cache").load(ArrayImages(pixels, str), None)
    assert np.array_equal(images.numpy(), pixels)
    assert not kept_files(folder)


def test_arrays_above_the_limit_are_mapped(folder):
    pixels = noise(np.random.default_rng(0), 4, 1, 2, 2)
    storage = ImageStorage(memory_limit_bytes=15, cache_folder=folder / "cache")
    assert np.array_equal(storage.load(ArrayImages(pixels, str), None).numpy(), pixels)
    assert len(kept_files(folder)) == 1


@pytest.mark.parametrize("damage", [b"", b"no array", "cut", "short", "type"])
def test_a_torn_file_is_written_again(damage, folder, caplog):
    load(folder)
    (kept,) = kept_files(folder)
    if damage == "cut":
        kept.write_bytes(kept.read_bytes()[:-1])
    elif damage == "short":
        np.save(kept, np.zeros((N_IMAGES - 1, *SHAPE), np.uint8))
    elif damage == "type":
        np.save(kept, np.zeros((N_IMAGES, *SHAPE), np.int8))
    else:
        kept.write_bytes(damage)
    assert torch.equal(load(folder), plain(folder))
    assert "decoded again" in caplog.text
    caplog.clear()
    load(folder)
    assert not caplog.text


def test_a_broken_image_leaves_nothing_behind(folder):
    (folder / "images" / "7.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"7\.png: is no image"):
        load(folder)
    assert [path.suffix for path in (folder / "cache").iterdir()] == [".lock"]


def test_an_unfinished_file_is_under_no_name_that_is_read(folder):
    class SlowImages(CountedImages):
        def blocks(self, size):
            for block in super().blocks(size):
                assert not kept_files(folder)
                yield block
            assert not kept_files(folder)

    images = SlowImages(list(open_tree(folder / "images").files.values()), folder / "log")
    ImageStorage(cache_folder=folder / "cache").load(images, None)
    assert len(kept_files(folder)) == 1


def test_what_a_killed_process_left_is_removed(folder):
    load(folder)
    (kept,) = kept_files(folder)
    kept.rename(kept.with_suffix(".draft1"))
    load(folder)
    assert sorted(path.suffix for path in (folder / "cache").iterdir()) == [".lock", ".npy"]


@pytest.fixture
def no_cache_folder(folder):
    (folder / "file").write_text("")
    return folder / "file" / "cache"  # cannot be made, by root neither


def test_without_a_cache_every_load_decodes_and_says_so(folder, no_cache_folder, caplog):
    for _ in range(2):
        assert torch.equal(load(folder, cache_folder=no_cache_folder), plain(folder))
        assert "every trial decodes its images" in caplog.text
        caplog.clear()


def test_without_a_cache_the_limit_holds(folder, no_cache_folder):
    with pytest.raises(
        DataError, match=r"cannot be written .* memory limit of 899 bytes; set XDG_CACHE_HOME"
    ) as caught:
        load(folder, cache_folder=no_cache_folder, memory_limit_bytes=N_BYTES - 1)
    assert str(no_cache_folder) in str(caught.value)
    assert torch.equal(load(folder, cache_folder=no_cache_folder, memory_limit_bytes=N_BYTES), plain(folder))


def test_a_full_disk_is_an_error_and_no_crash(folder):
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (500, hard)
    )  # what a file may have; the next byte fails as on a full disk
    try:
        images = load(folder)
        with pytest.raises(DataError, match="cannot be written"):
            load(folder, memory_limit_bytes=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, hard))
    assert torch.equal(images, plain(folder))
    assert not kept_files(folder)


def load_when_all_are_ready(folder, barrier, answers):
    barrier.wait(timeout=60)
    answers.put(int(load(folder).sum()))


def test_of_several_trials_at_once_one_decodes(folder):
    context = multiprocessing.get_context("fork")
    barrier, answers = context.Barrier(4), context.Queue()
    trials = [context.Process(target=load_when_all_are_ready, args=(folder, barrier, answers)) for _ in range(4)]
    for trial in trials:
        trial.start()
    sums = {answers.get(timeout=60) for _ in trials}
    for trial in trials:
        trial.join(timeout=60)
    assert n_decoded(folder) == 1
    assert sums == {int(plain(folder).sum())}


@pytest.mark.parametrize("is_set", [True, False])
def test_the_cache_folder(is_set, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own") if is_set else "")
    expected = tmp_path / "own" if is_set else tmp_path / "home" / ".cache"
    assert default_cache_folder() == expected / "nni_dream"


def test_the_cache_folder_is_the_users_own(folder):
    load(folder)
    assert os.stat(folder / "cache").st_mode & 0o077 == 0
