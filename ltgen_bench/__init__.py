"""ltgen_bench: benchmark generative models of images on long-tailed (class-imbalanced) data."""

__version__ = "0.1.0"
