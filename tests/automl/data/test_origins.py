"""Downloads, from file:// addresses; nothing here needs a network."""

import hashlib
import io
import tarfile
from concurrent.futures import ThreadPoolExecutor

import pytest
from automl.data.published_files import (
    write_cifar10,
    write_mr,
    write_reuters,
    write_tiny_imagenet,
    write_trec,
    write_zip,
)
from filelock import FileLock
from waiting import wait_until

from nni_dream.automl.data import DataError, MissingDataError
from nni_dream.automl.data.catalogue import ENTRIES
from nni_dream.automl.data.origins import ORIGINS, Origin
from nni_dream.automl.data.trec import read_trec


@pytest.fixture
def served(tmp_path):
    folder = tmp_path / "served"
    folder.mkdir()
    return folder


@pytest.fixture
def publish(served, monkeypatch):
    """Make files of ``served`` the origin of a data set, with the sum of the first unless another is given."""

    def publish(name, *files, md5=None):
        digest = hashlib.md5((served / files[0]).read_bytes()).hexdigest() if md5 == "right" else md5
        urls = tuple((served / file).as_uri() for file in files)
        monkeypatch.setitem(ORIGINS, name, Origin("as published", urls, digest))

    return publish


def write_tar(path, folder):
    with tarfile.open(path, "w:gz") as archive:
        for entry in sorted(folder.iterdir()):
            archive.add(entry, entry.name)


def test_an_archive_of_one_folder(served, publish, tmp_path, load):
    write_cifar10(tmp_path / "made")
    write_tar(served / "cifar.tar.gz", tmp_path / "made")
    publish("cifar10", "cifar.tar.gz", md5="right")
    splits = load("cifar10", tmp_path / "new" / "data", download=True)
    assert len(splits.test) == 12
    assert sorted(path.name for path in (tmp_path / "new" / "data").iterdir()) == [
        ".cifar10.lock",
        "cifar-10-batches-py",
    ]


def test_an_archive_of_loose_files_gets_a_folder(served, publish, data_dir, tmp_path, load):
    write_reuters(tmp_path / "made")
    write_tar(served / "reuters.tar.gz", tmp_path / "made")
    publish("reuters", "reuters.tar.gz")
    load("reuters", data_dir, download=True)
    assert len(list((data_dir / "reuters").glob("*.sgm"))) == 2


def test_files_that_are_no_archive(served, publish, data_dir, load):
    write_trec(served)
    publish("trec", "train_5500.label", "TREC_10.label")
    assert len(load("trec", data_dir, download=True).test) == 6
    assert len(list((data_dir / "trec").iterdir())) == 2


def test_a_zip_for_both_of_its_tasks(served, publish, data_dir, tmp_path, load):
    write_tiny_imagenet(tmp_path / "made")
    root = tmp_path / "made"
    write_zip(served / "tiny.zip", {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()})
    publish("tiny_imagenet", "tiny.zip", md5="right")
    load("tiny_imagenet_regression", data_dir, download=True)
    (served / "tiny.zip").unlink()
    load("tiny_imagenet", data_dir, download=True)  # it is there: nothing is fetched


def test_nothing_is_fetched_unless_asked(served, publish, data_dir, load):
    write_trec(served)
    publish("trec", "train_5500.label", "TREC_10.label")
    with pytest.raises(MissingDataError, match="allow the download"):
        load("trec", data_dir)
    assert list(data_dir.iterdir()) == []


def test_of_several_that_ask_one_fetches(served, publish, data_dir, load, caplog, monkeypatch):
    caplog.set_level("INFO")
    write_trec(served)
    publish("trec", "train_5500.label", "TREC_10.label")
    reads = []

    def read_counted(folder, *, labels="fine"):
        reads.append(folder)
        return read_trec(folder, labels=labels)

    monkeypatch.setitem(ENTRIES, "trec", ENTRIES["trec"]._replace(read=read_counted))
    with ThreadPoolExecutor(4) as pool:
        with FileLock(data_dir / ".trec.lock"):
            loading = [pool.submit(load, "trec", data_dir, download=True) for _ in range(4)]
            wait_until(lambda: len(reads) == 4, "all find it missing")
        assert [len(splits.result().test) for splits in loading] == [6] * 4
    assert caplog.text.count("trec: downloading") == 2  # one for each of its files


def leftovers(folder):
    return [path.name for path in folder.rglob("*") if not path.name.endswith(".lock")]


def test_a_wrong_sum(served, publish, data_dir, tmp_path, load):
    write_mr(tmp_path / "made")
    write_tar(served / "mr.tar.gz", tmp_path / "made")
    publish("mr", "mr.tar.gz", md5="0" * 32)
    with pytest.raises(
        DataError, match=rf"mr: file:.*mr\.tar\.gz has the MD5 sum \w+, published is {'0' * 32}: nothing"
    ):
        load("mr", data_dir, download=True)
    assert leftovers(data_dir) == []


def test_an_archive_that_is_cut_off(served, publish, data_dir, tmp_path, load):
    write_mr(tmp_path / "made")
    write_tar(served / "mr.tar.gz", tmp_path / "made")
    (served / "mr.tar.gz").write_bytes((served / "mr.tar.gz").read_bytes()[:-30])
    publish("mr", "mr.tar.gz")
    with pytest.raises(DataError, match=r"mr: download into .* failed: .*; get it by hand from file:"):
        load("mr", data_dir, download=True)
    assert leftovers(data_dir) == []


def test_an_archive_that_leads_out_of_its_folder(served, publish, data_dir, load):
    with tarfile.open(served / "mr.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo("../../../escaped")
        member.size = 1
        archive.addfile(member, io.BytesIO(b"x"))
    publish("mr", "mr.tar.gz")
    with pytest.raises(DataError, match=r"mr: download into .* failed: .*outside the destination"):
        load("mr", data_dir, download=True)
    assert leftovers(data_dir) == []
    assert not list(served.parent.rglob("escaped"))


def test_an_address_that_does_not_answer(served, publish, data_dir, load):
    publish("mr", "absent.tar.gz")
    with pytest.raises(DataError, match=r"mr: download into .* failed: .*absent\.tar\.gz"):
        load("mr", data_dir, download=True)
    assert leftovers(data_dir) == []


def test_what_nobody_serves(data_dir, load):
    with pytest.raises(DataError, match=r"stanford_cars: cannot be downloaded: its authors no longer serve it"):
        load("stanford_cars", data_dir, download=True)


@pytest.mark.parametrize("name", ["CIFAR10", "CIFAR100", "STL10"])
def test_addresses_and_sums_are_those_of_torchvision(name):
    from nni_dream.torchvision_compatibility import ensure_torchvision

    ensure_torchvision()
    from torchvision import datasets

    theirs = getattr(datasets, name)
    assert ORIGINS[name.lower()][1:] == ((theirs.url,), theirs.tgz_md5)


def test_food101_has_torchvisions_address():
    from nni_dream.torchvision_compatibility import ensure_torchvision

    ensure_torchvision()
    from torchvision.datasets import Food101

    assert ORIGINS["food101"][1:] == ((Food101._URL,), Food101._MD5)
