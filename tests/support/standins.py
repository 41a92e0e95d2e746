"""Generated stand-ins of published data sets: files of the same layout, with few images whose first pixel is their label."""

import gzip
import hashlib
import json
import pickle
import struct
import tarfile

import numpy as np
from PIL import Image
from scipy.io import savemat
from torchvision import datasets

EACH = {"CIFAR10": (100, 20), "CIFAR100": (15, 3), "MNIST": (20, 5), "FashionMNIST": (20, 5), "SVHN": (20, 5)}  # of each class
COUNTS = [6, 5, 4]  # training images of the classes of a large set; of each there are two test images
LARGE = ("cifar10-photos", "tiny-imagenet", "imagenet-lt", "places-lt", "inaturalist-2018", "celeba-5", "cub")


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def labels_of(kind, part, classes):
    rng = np.random.default_rng(0)
    return rng.permutation(np.repeat(np.arange(classes), EACH[kind.__name__][part]))


def write_published(kind, data_root):
    """The files that torchvision's class `kind` looks for below `data_root`, as they are published."""
    {"CIFAR10": write_cifar, "CIFAR100": write_cifar, "SVHN": write_svhn}.get(kind.__name__, write_mnist)(kind, data_root)


def write_cifar(kind, data_root):
    """The archive, and beside it what is in it."""
    folder = data_root / kind.base_folder
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    classes, key = (10, "labels") if kind is datasets.CIFAR10 else (100, "fine_labels")
    train = np.array_split(labels_of(kind, 0, classes), len(kind.train_list))
    for (name, _), labels in zip((*kind.train_list, *kind.test_list), (*train, labels_of(kind, 1, classes)), strict=True):
        data = rng.integers(0, 256, (len(labels), 3072), dtype=np.uint8)
        data[:, 0] = labels
        (folder / name).write_bytes(pickle.dumps({"data": data, key: labels.tolist()}))
    names = {"label_names" if kind is datasets.CIFAR10 else "fine_label_names": [f"class {c}" for c in range(classes)]}
    (folder / kind.meta["filename"]).write_bytes(pickle.dumps(names))
    with tarfile.open(data_root / kind.filename, "w:gz") as archive:
        archive.add(folder, kind.base_folder)


def write_mnist(kind, data_root):
    """Four compressed files of the IDX format: magic number, sizes, bytes."""
    folder = data_root / kind.__name__ / "raw"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for part, prefix in enumerate(("train", "t10k")):
        labels = labels_of(kind, part, 10).astype(np.uint8)
        images = rng.integers(1, 256, (len(labels), 28, 28), dtype=np.uint8)
        images[:, 0, 0] = labels
        for name, array in ((f"{prefix}-images-idx3-ubyte.gz", images), (f"{prefix}-labels-idx1-ubyte.gz", labels)):
            head = struct.pack(f">{1 + array.ndim}i", 0x800 + array.ndim, *array.shape)
            (folder / name).write_bytes(gzip.compress(head + array.tobytes()))


def write_svhn(kind, data_root):
    """Two Matlab files: X [32, 32, 3, N] and y with the label 10 for the digit 0."""
    data_root.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for part, name in enumerate(("train", "test")):
        labels = labels_of(kind, part, 10)
        images = rng.integers(0, 256, (32, 32, 3, len(labels)), dtype=np.uint8)
        images[0, 0, 0] = labels
        savemat(data_root / kind.split_list[name][1], {"X": images, "y": np.where(labels == 0, 10, labels)[:, None]})


def adopt(kind, data_root, monkeypatch, url="http://127.0.0.1:9/nothing-listens-here"):
    """Give torchvision's class `kind` the checksums of the generated files, and the address where they are served."""
    if kind.__name__.startswith("CIFAR"):
        unpacked = data_root / kind.base_folder
        monkeypatch.setattr(kind, "url", f"{url}/{kind.filename}")
        monkeypatch.setattr(kind, "tgz_md5", md5(data_root / kind.filename))
        for part in ("train_list", "test_list"):
            monkeypatch.setattr(kind, part, [[name, md5(unpacked / name)] for name, _ in getattr(kind, part)])
        monkeypatch.setattr(kind, "meta", {**kind.meta, "md5": md5(unpacked / kind.meta["filename"])})
    elif kind.__name__ == "SVHN":
        monkeypatch.setattr(kind, "split_list", {
            part: [f"{url}/{name}", name, md5(data_root / name)] for part, (_, name, _) in kind.split_list.items()
            if part != "extra"})
    else:
        folder = data_root / kind.__name__ / "raw"
        monkeypatch.setattr(kind, "mirrors", [f"{url}/{kind.__name__}/raw/"])
        monkeypatch.setattr(kind, "resources", [(name, md5(folder / name)) for name, _ in kind.resources])


def write_image(path, size=(70, 50), value=None, mode="RGB", seed=0):
    """An image file of width x height `size`, of one `value` or of random content, which is returned."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
    array = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8) if value is None \
        else np.full(shape, value, np.uint8)
    Image.fromarray(array).save(path)
    return array


def write_large(name, data_root):
    """A large set of three classes in its own layout; the grey level of an image is 50 times its label."""
    root = data_root / name
    {"cifar10-photos": _photos, "tiny-imagenet": _tiny, "imagenet-lt": _imagenet, "places-lt": _places,
     "inaturalist-2018": _inaturalist, "celeba-5": _celeba, "cub": _cub}[name](root)
    return root


def numbered(counts=COUNTS):
    """(label, number within the class) of every image."""
    return [(label, number) for label, count in enumerate(counts) for number in range(count)]


def _photos(root):
    for part, counts in (("train", COUNTS), ("test", [2, 2, 2])):
        for label, number in numbered(counts):
            write_image(root / part / ["airplane", "automobile", "bird"][label] / f"{number:04}.jpg", (32, 32), 50 * label)


def _tiny(root):
    wnids = ["n01443537", "n01629819", "n02058221"]
    for label, number in numbered():
        write_image(root / "train" / wnids[label] / "images" / f"{wnids[label]}_{number}.JPEG", (64, 64), 50 * label)
        (root / "train" / wnids[label] / f"{wnids[label]}_boxes.txt").write_text("x\t0\t0\t62\t62\n")
    lines = []
    for label, number in reversed(numbered([2, 2, 2])):
        write_image(root / "val" / "images" / f"val_{label}{number}.JPEG", (64, 64), 50 * label)
        lines.append(f"val_{label}{number}.JPEG\t{wnids[label]}\t0\t32\t44\t62\n")
    (root / "val" / "val_annotations.txt").write_text("".join(lines))
    write_image(root / "test" / "images" / "test_0.JPEG", (64, 64), 3)  # without a label, as published


def write_lists(root, train, test, names):
    """Two index lists: `train` and `test` are (path, label)."""
    for name, pairs in zip(names, (train, test), strict=True):
        (root / name).write_text("".join(f"{path} {label}\n" for path, label in pairs))


def _listed(root, train_path, test_path, names):
    train = [(train_path(label, number), label) for label, number in numbered()]
    test = [(test_path(label, number), label) for label, number in numbered([2, 2, 2])]
    for path, label in train + test:
        write_image(root / path, value=50 * label)
    write_lists(root, train, test, names)


def _imagenet(root):
    wnids = ["n01440764", "n01443537", "n01484850"]
    _listed(root, lambda label, number: f"train/{wnids[label]}/{wnids[label]}_{number}.JPEG",
            lambda label, number: f"val/ILSVRC2012_val_{label:05}{number:03}.JPEG",
            ("ImageNet_LT_train.txt", "ImageNet_LT_test.txt"))


def _places(root):
    folders = ["a/airfield", "a/apartment_building/outdoor", "b/balcony/outdoor"]  # two of one name
    _listed(root, lambda label, number: f"data_256/{folders[label]}/{number:08}.jpg",
            lambda label, number: f"val_256/Places365_val_{label:05}{number:03}.jpg",
            ("Places_LT_train.txt", "Places_LT_test.txt"))


def _inaturalist(root):
    groups = ["Plantae/7477", "Aves/3000", "Plantae/12"]
    ids = [12, 3000, 7477]
    for part, counts in (("train", COUNTS), ("val", [2, 2, 2])):
        images, annotations = [], []
        for label, number in numbered(counts):
            folder = next(group for group in groups if group.endswith(f"/{ids[label]}"))
            name = f"train_val2018/{folder}/{part}{number}.jpg"
            write_image(root / name, value=50 * label)
            images.append({"id": 100 * label + number, "file_name": name, "width": 70, "height": 50})
            annotations.append({"id": len(annotations), "image_id": 100 * label + number, "category_id": ids[label]})
        (root / f"{part}2018.json").write_text(json.dumps({"images": images, "annotations": annotations[::-1]}))


def _celeba(root):
    for part, counts in (("train", COUNTS), ("test", [2, 2, 2])):
        for label, number in numbered(counts):
            write_image(root / part / ["black", "blond", "brown"][label] / f"{number:06}.jpg", value=50 * label)


def _cub(root):
    inner = root / "CUB_200_2011"
    folders = ["001.Black_footed_Albatross", "002.Laysan_Albatross", "003.Sooty_Albatross"]
    images, labels, splits = [], [], []
    for label, count in enumerate(COUNTS):
        for number in range(count + 2):
            images.append(f"{len(images) + 1} {folders[label]}/bird_{number}.jpg")
            labels.append(f"{len(images)} {label + 1}")
            splits.append(f"{len(images)} {int(number < count)}")
            write_image(inner / "images" / folders[label] / f"bird_{number}.jpg", value=50 * label)
    for name, lines in (("images.txt", images), ("image_class_labels.txt", labels), ("train_test_split.txt", splits)):
        (inner / name).write_text("\n".join(lines) + "\n")
