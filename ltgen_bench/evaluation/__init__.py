"""Evaluation of images: extractors turn images into features, and metrics are pure functions of features.

`evaluator.evaluate` scores images. The modules import torch only where features are computed, so that names, descriptions and
protocols are shown without delay.
"""
