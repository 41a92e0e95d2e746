"""What the tests of the evaluation share: the small data set with one cache, and an extractor that only counts.

Nothing of ltgen_bench is imported at the top: jaxtyping hooks into the imports after this file was read.
"""

import pytest


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory):
    """One cache for tests that do not look at caching, so that classifiers are trained once."""
    return tmp_path_factory.mktemp("features")


@pytest.fixture
def quick_recipes(monkeypatch, use_quick_recipes):
    """Classifiers of a few steps, where it does not matter how good they are."""
    use_quick_recipes(monkeypatch)


@pytest.fixture(scope="session")
def use_quick_recipes():
    """`use_quick_recipes(patch)`: the same for fixtures that live longer than a test."""
    from dataclasses import replace

    from ltgen_bench.evaluation import evaluator as evaluate
    from ltgen_bench.evaluation.classifiers import classifier_recipe as recipes
    from ltgen_bench.evaluation.extractors import domain_classifier as domain

    def quick_extractor(image_shape, flip, steps=None):
        return replace(recipes.extractor_recipe(image_shape, flip, steps), steps=steps or 20, batch_size=16)

    def quick_downstream(image_shape, flip, longtail_images, steps=None):
        recipe = recipes.downstream_recipe(image_shape, flip, longtail_images, steps)
        return replace(recipe, steps=steps or 15, batch_size=16)

    def use(patch):
        patch.setattr(domain, "extractor_recipe", quick_extractor)
        patch.setattr(evaluate, "downstream_recipe", quick_downstream)

    return use


@pytest.fixture
def images(make_images):
    """Thirty images of three classes."""
    return make_images((10, 10, 10)).images


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of 12 images: 30 images are three of them."""
    from ltgen_bench.evaluation.features import feature_file as features_file

    monkeypatch.setattr(features_file, "BLOCK", 12)
