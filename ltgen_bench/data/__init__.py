"""Data sets: readers, long-tailed splits, and the balanced images that generated images are compared with."""

from ltgen_bench.data.catalog import DATASETS
from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.data.images import ImageSet, SampleSet
from ltgen_bench.data.load import load_dataset

__all__ = ["DATASETS", "ImageSet", "LongTailDataset", "SampleSet", "load_dataset"]
