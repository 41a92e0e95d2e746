"""The kinds of files that evaluations leave in the cache folder, for their writers and for listing it. Imports no torch."""

import json
from pathlib import Path

from ltgen_bench.core.cache_folder import CacheKind, register_kind
from ltgen_bench.data.image_cache import shape_words
from ltgen_bench.evaluation.extractors.published_weights import PUBLISHED


def _features_words(folder: Path) -> str:
    """Return extractor, number and shape of the images of cached features, in words."""
    features = f"features of {folder.name.rpartition('-')[0]}"
    try:
        note = json.loads((folder / "note.json").read_text(encoding="utf-8"))
        count, block = note["images"][0], note["block"]
        done = sum(min(block, count - place * block) for place, checksum in enumerate(note["checksums"]) if checksum)
        return f"{features}, {'' if done == count else f'{done:,} of '}{shape_words(note['images'])}"
    except FileNotFoundError:
        return f"{features}, no images yet"
    except (OSError, ValueError, KeyError, TypeError):
        return f"{features}, its note cannot be read"


FEATURES = register_kind(CacheKind("features", "features", "{name}-{hex32}", _features_words, lock="inside", is_folder=True))
CLASSIFIER = register_kind(
    CacheKind("classifiers", "features", "classifier-{hex8}-{hex16}.safetensors", "domain classifier", lock="beside"))
PREDICTIONS = register_kind(
    CacheKind("classifiers", "features", "downstream-{hex16}.safetensors", "downstream predictions", lock="beside"))
BATCH_SIZE = register_kind(CacheKind("features", "features", "batch-{name}-{hex16}.json", "batch size of an extractor"))
register_kind(
    CacheKind("features", "features", "{hex64}.safetensors", "features of an earlier version, not read any more"))
for _file in PUBLISHED.values():
    register_kind(CacheKind("weights", "features", _file.file_name, _file.file_name))
