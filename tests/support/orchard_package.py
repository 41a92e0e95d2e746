"""A small package that brings a metric with a setting of its own, an extractor, a data set and a sampler."""

from pathlib import Path

CODE = '''
"""What the package orchard brings."""

import numpy as np
from pydantic import Field

from ltgen_bench.data.catalog import DataSource
from ltgen_bench.data.images import ImageSet
from ltgen_bench.data.raw import RawData
from ltgen_bench.evaluation.extractors import ExtractorKind, Features
from ltgen_bench.evaluation.metrics import Metric, Result, Settings
from ltgen_bench.sampling.samplers import Sampler


class GapSettings(Settings):
    power: float = Field(default=2.0, gt=0, title="power of the gap")


def gap(generated, real, settings, scope):
    value = (np.abs(generated.features.mean(axis=0) - real.features.mean(axis=0)) ** settings.power).mean()
    return {"gap": Result(float(value), n_real=len(real), n_generated=len(generated))}


GAP = Metric(name="gap", title="orchard gap", summary="mean gap between mean features", source="orchard", direction="lower",
             bounds=(0.0, float("inf")), needs=("features", "reference"), scopes=("all", "group"), settings=GapSettings,
             compute=gap)


class Rows:
    """Means of the rows of pixels."""

    name, resize, precision, batch_size, feature_dim = "rows", "no resize", "float32", 64, 8
    has_logits = class_logits = False
    weights_id = logits_id = "rows-1"
    sha256 = "0" * 64

    def __call__(self, images):
        return Features(images.astype(np.float32).mean(axis=(1, 3)) / 255, None)


def build(dataset, context, steps):
    return Rows()


ROWS = ExtractorKind("rows", "row means", "means of the rows of pixels", "orchard", "orchard:build")


def part(each, seed):
    """Bars of 8 x 8 pixels in three classes, each at a height of its own, under noise."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(3), each)
    images = rng.integers(0, 60, (len(labels), 1, 8, 8), dtype=np.uint8)
    images[np.arange(len(labels)), 0, 2 * labels] += 180
    return ImageSet(images, labels)


def load(config, data_root, progress):
    return RawData(part(20, 0), part(10, 1), ("low", "middle", "high"))


BARS = DataSource("bars of 8 x 8 pixels, 3 classes", "orchard", "CC0", load, flip=False, recipes=None, imbalance_factor=4.0,
                  image_shape=(1, 8, 8))


def even(steps):
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(1000, 1e-4, 0.02, clip_sample=False, timestep_spacing="linspace")
    scheduler.set_timesteps(steps)
    return scheduler


EVEN = Sampler("ddim at times that are spread evenly", "orchard", False, even)
'''
POINTS = {"ltgen_bench.metrics": {"gap": "orchard:GAP"}, "ltgen_bench.extractors": {"rows": "orchard:ROWS"},
          "ltgen_bench.datasets": {"bars": "orchard:BARS"}, "ltgen_bench.samplers": {"even": "orchard:EVEN"}}


def entry_points(points):
    return "".join(f"[{group}]\n" + "".join(f"{name} = {place}\n" for name, place in names.items())
                   for group, names in points.items())


def files(code: str = CODE, points=POINTS):
    """Path -> text of what an installation of the package leaves: its module, and its entry points beside it."""
    return {"orchard.py": code,
            "orchard_package-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: orchard-package\nVersion: 1.0\n",
            "orchard_package-1.0.dist-info/entry_points.txt": entry_points(points)}


def install(folder: Path, code: str = CODE, points=POINTS):
    """Leave the files of an installation in `folder`."""
    for name, text in files(code, points).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)


def write_project(folder: Path):
    """The package as a project that pip can build without any other package: its build backend lies in it."""
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "orchard-package"\nversion = "1.0"\n')
    about = "orchard_package-1.0.dist-info"
    wheel = {**files(), f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"}
    wheel[f"{about}/RECORD"] = "".join(f"{name},,\n" for name in (*wheel, f"{about}/RECORD"))
    (folder / "backend.py").write_text(
        f"import zipfile\n\nFILES = {wheel!r}\n\n\n"
        "def build_wheel(folder, config_settings=None, metadata_directory=None):\n"
        "    name = 'orchard_package-1.0-py3-none-any.whl'\n"
        "    with zipfile.ZipFile(f'{folder}/{name}', 'w') as archive:\n"
        "        for path, text in FILES.items():\n"
        "            archive.writestr(path, text)\n"
        "    return name\n")
