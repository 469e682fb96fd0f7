from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from possam_core.model import EncoderFeatures, PosSAM
from possam_core.playground import PLAYGROUND
from possam_core.training.batches import ViewedImages
from possam_core.training.data.augment import AugmentConfig
from possam_core.training.data.feature_cache import FeatureCache, cache_key
from possam_core.training.data.labelled import PlaygroundImages
from possam_core.training.stage import LoopConfig
from tests.factories import small_model

FIXED = AugmentConfig(min_scale=1.0, max_scale=1.0)


def make_batches(seed: int = 0) -> ViewedImages:
    images = PlaygroundImages(seed=3, num_scenes=4, vocabulary=PLAYGROUND.vocabulary)
    return ViewedImages(images, FIXED, LoopConfig(num_steps=1, batch_size=4, seed=seed), canvas=48)


@contextmanager
def counting_images(model: PosSAM) -> Iterator[list[int]]:
    """The number of images in each call of the SAM encoder."""
    counts: list[int] = []
    hook = model.sam.register_forward_hook(
        lambda _, inputs, __: counts.append(len(inputs[0].pixels))
    )
    yield counts
    hook.remove()


def half(features: EncoderFeatures) -> tuple[torch.Tensor, torch.Tensor]:
    return features.sam.half().float(), features.clip.half().float()


def test_a_view_is_encoded_once_and_comes_back_at_half_precision(tmp_path: Path) -> None:
    model, batches = small_model().eval(), make_batches()
    batch = batches.read(0, range(4))
    expected = half(model.encode(batch.images))
    cache = FeatureCache(tmp_path, key="k", num_images=4)
    for attempt in range(2):
        with counting_images(model) as counts:
            found = cache.features(model, batch)
        for got, wanted in zip((found.sam, found.clip), expected, strict=True):
            torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-3)
        assert sum(counts) == (0 if attempt else 5)  # one for the shapes


def test_an_existing_cache_is_reused_and_completed(tmp_path: Path) -> None:
    model, batches = small_model().eval(), make_batches()
    whole = batches.read(0, range(4))
    first = FeatureCache(tmp_path, key="k", num_images=4).features(model, whole.select([0, 2]))
    with counting_images(model) as counts:
        found = FeatureCache(tmp_path, key="k", num_images=4).features(model, whole)
    assert counts == [2]
    torch.testing.assert_close(found.sam[[0, 2]], first.sam, rtol=0, atol=0)
    torch.testing.assert_close(found.clip[[0, 2]], first.clip, rtol=0, atol=0)


def test_a_flipped_image_is_a_separate_view(tmp_path: Path) -> None:
    model, cache = small_model().eval(), FeatureCache(tmp_path, key="k", num_images=4)
    seen: dict[tuple[int, bool], torch.Tensor] = {}
    for step in range(8):
        batch = make_batches().read(step, range(4))
        for source, sam in zip(batch.sources, cache.features(model, batch).sam, strict=True):
            torch.testing.assert_close(seen.setdefault((source.index, source.is_flipped), sam), sam)
    both = [i for i in range(4) if {(i, False), (i, True)} <= set(seen)]
    assert both
    assert not torch.equal(seen[both[0], False], seen[both[0], True])


def test_the_key_changes_with_everything_that_determines_the_features() -> None:
    model = small_model()
    keys = {
        cache_key(model, "data", canvas=48, precision="float32"),
        cache_key(model, "other data", canvas=48, precision="float32"),
        cache_key(model, "data", canvas=32, precision="float32"),
        cache_key(model, "data", canvas=48, precision="bfloat16"),
        cache_key(small_model(seed=1), "data", canvas=48, precision="float32"),
    }
    assert len(keys) == 5
    assert cache_key(small_model(), "data", canvas=48, precision="float32") in keys
