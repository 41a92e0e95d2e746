"""Evaluation of images: extractors turn images into features, and metrics are pure functions of features.

Entry point: `evaluator.evaluate`. Nothing here imports torch before an image is looked at, so that names, descriptions
and protocols can be shown at once.
"""
