"""Small data sets in the formats in which the real ones are published, written by the tests."""

import json
import pickle
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import scipy.io
from PIL import Image

CLASSES = ("airplane", "bird", "cat")
E_ACUTE = "\N{LATIN SMALL LETTER E WITH ACUTE}"
WNIDS = ("n02124075", "n01443537", "n04067472")  # not in alphabetical order, as published


def noise(rng, *shape):
    return rng.integers(0, 256, shape, dtype=np.uint8)


def encoded(pixels, format="PNG"):
    """An image file's bytes, from (H, W, 3) or (H, W)."""
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, format)
    return stream.getvalue()


def write_files(root, contents):
    """Write name -> bytes or text."""
    for name, content in contents.items():
        path = Path(root, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def image_files(parts, size=(6, 5), classes=CLASSES, format="PNG", suffix="png"):
    """Name -> bytes; ``parts`` is prefix -> images of each class; every image is another."""
    rng = np.random.default_rng(0)
    return {
        f"{prefix}{name}/{number:04d}.{suffix}": encoded(noise(rng, *size, 3), format)
        for prefix, n_images in parts.items()
        for name in classes
        for number in range(n_images)
    }


def write_zip(path, contents):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)


def write_digits(folder):
    """Nothing: they come with scikit-learn."""


def write_pickle(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol=2))


def write_cifar10(folder):
    rng = np.random.default_rng(0)
    root = folder / "cifar-10-batches-py"
    for name in [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]:
        labels = [row % 3 for row in range(12)]
        write_pickle(root / name, {"data": noise(rng, 12, 3072), "labels": labels, "batch_label": name})
    write_pickle(root / "batches.meta", {"label_names": list(CLASSES), "num_vis": 3072})


def write_cifar100(folder):
    rng = np.random.default_rng(0)
    root = folder / "cifar-100-python"
    for name, n_rows in (("train", 60), ("test", 12)):
        fine = [row % 3 for row in range(n_rows)]
        coarse = [label // 2 for label in fine]
        write_pickle(root / name, {"data": noise(rng, n_rows, 3072), "fine_labels": fine, "coarse_labels": coarse})
    write_pickle(root / "meta", {"fine_label_names": list(CLASSES), "coarse_label_names": ["air", "ground"]})


def write_stl10(folder):
    rng = np.random.default_rng(0)
    root = folder / "stl10_binary"
    root.mkdir(parents=True)
    for part, n_rows in (("train", 30), ("test", 6)):
        noise(rng, n_rows, 3, 96, 96).tofile(root / f"{part}_X.bin")
        (np.arange(n_rows, dtype=np.uint8) % 3 + 1).tofile(root / f"{part}_y.bin")
    (root / "class_names.txt").write_text("\n".join(CLASSES) + "\n")


def write_food101(folder):
    parts = {"train": range(10), "test": range(10, 13)}
    lists = {
        part: {name: [f"{name}/{number}" for number in numbers] for name in reversed(CLASSES)}
        for part, numbers in parts.items()
    }
    rng = np.random.default_rng(0)
    names = [name for part in lists.values() for own in part.values() for name in own]
    contents = {f"images/{name}.jpg": encoded(noise(rng, 30, 40, 3), "JPEG") for name in names}
    contents |= {f"meta/{part}.json": json.dumps(own) for part, own in lists.items()}
    write_files(folder / "food-101", contents)


def write_annotations(path, names, labels, with_class=True):
    fields = [("bbox_x1", "O"), ("fname", "O")] + ([("class", "O")] if with_class else [])
    rows = [(1, name, label) if with_class else (1, name) for name, label in zip(names, labels, strict=True)]
    path.parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(path, {"annotations": np.array(rows, dtype=fields)})


def write_stanford_cars(folder):
    rng = np.random.default_rng(0)
    root = folder / "stanford_cars"
    lists = {"cars_train": root / "devkit/cars_train_annos.mat", "cars_test": root / "cars_test_annos_withlabels.mat"}
    for (images, annotations), n_rows in zip(lists.items(), (15, 6), strict=True):
        names = [f"{row + 1:05d}.jpg" for row in range(n_rows)]
        write_files(root / images, {name: encoded(noise(rng, 20, 30, 3), "JPEG") for name in names})
        write_annotations(annotations, names, [row % 3 + 1 for row in range(n_rows)])
    names = np.array([f"{name} 2012" for name in CLASSES], dtype=object)
    scipy.io.savemat(root / "devkit/cars_meta.mat", {"class_names": names})


def tiny_imagenet_files():
    rng = np.random.default_rng(0)
    contents = {
        "wnids.txt": "\n".join(WNIDS) + "\n",
        "words.txt": "n01443537\tgoldfish, Carassius auratus\nn1\tother\n",
    }
    for wnid in WNIDS:
        names = [f"{wnid}_{number}.JPEG" for number in range(10)]
        contents |= {f"train/{wnid}/images/{name}": encoded(noise(rng, 64, 64, 3), "JPEG") for name in names}
        boxes = "".join(f"{name}\t{row}\t1\t62\t63\n" for row, name in enumerate(names))
        contents[f"train/{wnid}/{wnid}_boxes.txt"] = boxes
    contents |= {f"val/images/val_{row}.JPEG": encoded(noise(rng, 64, 64), "JPEG") for row in range(6)}  # grey
    lines = [f"val_{row}.JPEG\t{WNIDS[row % 3]}\t0\t32\t44\t62\n" for row in range(6)]
    return contents | {
        "val/val_annotations.txt": "".join(lines),
        "test/images/test_0.JPEG": encoded(noise(rng, 64, 64, 3)),
    }


def write_tiny_imagenet(folder):
    write_files(folder / "tiny-imagenet-200", tiny_imagenet_files())


def reuters_story(number, *, split="TRAIN", topics=("earn",), marked="YES", text=None):
    tags = "".join(f"<D>{topic}</D>" for topic in topics)
    body = (
        text
        or f"<TITLE>TITLE {number}</TITLE>\n<DATELINE>    ROME, </DATELINE><BODY>Shares &lt;ABC> rose.\n&#3;</BODY>"
    )
    return (
        f'<REUTERS TOPICS="{marked}" LEWISSPLIT="{split}" CGISPLIT="TRAINING-SET" OLDID="1" NEWID="{number}">\n'
        f"<DATE>26-FEB-1987</DATE>\n<TOPICS>{tags}</TOPICS>\n<PLACES><D>usa</D></PLACES>\n"
        f"<UNKNOWN>\n&#5;&#5;</UNKNOWN>\n<TEXT>&#2;\n{body}</TEXT>\n</REUTERS>\n"
    )


def write_reuters(folder):
    splits = ["TRAIN"] * 24 + ["TEST"] * 6
    stories = [reuters_story(row, split=split, topics=(("earn", "acq")[row % 2],)) for row, split in enumerate(splits)]
    head = '<!DOCTYPE lewis SYSTEM "lewis.dtd">\n'
    write_files(folder, {f"reut2-00{half}.sgm": head + "".join(stories[half::2]) for half in (0, 1)})


def write_trec(folder):
    labels = ("NUM:date", "NUM:count", "HUM:ind")
    train = "".join(f"{labels[row % 3]} What happened on day {row} ?\n" for row in range(30))
    test = "".join(f"{labels[row % 3]} Who was the {row} . ?\n" for row in range(6))
    write_files(folder, {"train_5500.label": train + "HUM:ind Who is the sister\N{LATIN SMALL LETTER ETH}city ?\n"})
    write_files(folder, {"TREC_10.label": test})


def write_imdb(folder):
    write_files(
        folder / "aclImdb",
        {
            f"{part}/{name}/{number}_{rating}.txt": f"{part} {name} {number} <br /> caf{E_ACUTE}"
            for part, n_reviews in (("train", 12), ("test", 4))
            for name, rating in (("pos", 7), ("neg", 3))
            for number in range(n_reviews)
        },
    )
    write_files(folder / "aclImdb", {"train/unsup/0_0.txt": "no label", "train/urls_pos.txt": "http://"})


def write_mr(folder):
    for name in ("pos", "neg"):
        write_files(folder, {f"rt-polarity.{name}": "".join(f"{name} snippet {row} . \n" for row in range(40))})


def write_folder(folder):
    write_files(folder, image_files({"train/": 10, "test/": 3}))


def write_table(folder):
    rows = "".join(f'"text {row}, quoted ""twice""\nover two lines",{CLASSES[row % 3]}\n' for row in range(45))
    write_files(folder, {"reviews.csv": "text,label\n" + rows})


def write_arrays(folder):
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "own.npz", images=noise(rng, 60, 5, 4, 3), targets=np.arange(60) % 3)


WRITERS = {
    "digits": write_digits,
    "cifar10": write_cifar10,
    "cifar100": write_cifar100,
    "stl10": write_stl10,
    "food101": write_food101,
    "stanford_cars": write_stanford_cars,
    "tiny_imagenet": write_tiny_imagenet,
    "tiny_imagenet_regression": write_tiny_imagenet,
    "reuters": write_reuters,
    "trec": write_trec,
    "imdb": write_imdb,
    "mr": write_mr,
    "folder": write_folder,
    "table": write_table,
    "arrays": write_arrays,
}
