"""Batches that run out of memory, or on which the model fails."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.corpus.image import InputImage
from pipelines.fetch.image_reader import ImageReader
from pipelines.label import labeller as labeller_module
from pipelines.label.labeller import ImageLabeller
from possam_core.evaluation.consistency import is_sampled
from possam_core.labels.segmentation import PanopticSegmentation
from tests.factories import encode, list_images, make_pixels


class Model:
    """Finds nothing, in at most `max_images` images at once; records the sizes of its batches."""

    fingerprint = ""

    def __init__(self, max_images: int) -> None:
        self.max_images = max_images
        self.asked: list[int] = []

    def __call__(self, images: list[np.ndarray]) -> list[PanopticSegmentation]:
        self.asked.append(len(images))
        if len(images) > self.max_images:
            raise torch.OutOfMemoryError("out of memory")
        return [
            PanopticSegmentation(ids=np.zeros(i.shape[:2], np.int32), segments=()) for i in images
        ]


@pytest.fixture
def images(tmp_path: Path) -> list[InputImage]:
    for i in range(20):
        (tmp_path / f"{i:02d}.jpg").write_bytes(encode(make_pixels(16, 16 + i, seed=i)))
    return list_images(str(tmp_path))


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    num_threads = torch.get_num_threads()
    yield
    torch.set_num_threads(num_threads)


def test_a_batch_that_does_not_fit_is_halved_and_grows_back(
    images: list[InputImage], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labeller_module, "GROW_AFTER", 3)
    model = Model(max_images=2)
    labeller = ImageLabeller(lambda: model, ImageReader())
    rows = list(labeller.rows(images))
    assert [(row["image_id"], row["status"]) for row in rows] == [
        (image.image_id, "ok") for image in images
    ]
    # 8 and 4 do not fit; after three good batches 4 is tried again and fails.
    assert model.asked == [8, 4, 2, 2, 2, 2, 4, 2, 2, 2, 2, 4, 2, 2]
    assert labeller.num_halvings == 4


def test_the_batch_stays_small_until_memory_has_sufficed_for_a_while(
    images: list[InputImage],
) -> None:
    model = Model(max_images=4)
    labeller = ImageLabeller(lambda: model, ImageReader())
    assert [row["status"] for row in labeller.rows(images)] == ["ok"] * 20
    assert model.asked == [8, 4, 4, 4, 4, 4]
    assert labeller.num_halvings == 1


def test_an_image_that_does_not_fit_alone_is_out_of_memory(images: list[InputImage]) -> None:
    labeller = ImageLabeller(lambda: Model(max_images=0), ImageReader())
    rows = list(labeller.rows(images[:3]))
    assert [row["error_code"] for row in rows] == ["out_of_memory"] * 3


def test_the_sampled_images_are_labelled_twice_more_after_their_batch(
    images: list[InputImage],
) -> None:
    model = Model(max_images=8)
    labeller = ImageLabeller(lambda: model, ImageReader(), consistency_share=0.5)
    rows = list(labeller.rows(images[:10]))
    sampled = [is_sampled(image.image_id, 0.5) for image in images[:10]]
    assert set(sampled) == {True, False}
    # The model finds nothing in any of them, which agrees.
    expected = [1.0 if is_chosen else None for is_chosen in sampled]
    assert [row["quality"]["consistency"] for row in rows] == expected
    assert model.asked == [8, *[2] * sum(sampled[:8]), 2, *[2] * sum(sampled[8:])]


def test_a_copy_that_fails_costs_the_image_its_consistency_alone(
    images: list[InputImage],
) -> None:
    class FailsOnCopies(Model):
        def __call__(self, images: list[np.ndarray]) -> list[PanopticSegmentation]:
            if self.asked:
                raise RuntimeError("no copies")
            return super().__call__(images)

    model = FailsOnCopies(max_images=8)
    labeller = ImageLabeller(lambda: model, ImageReader(), consistency_share=1.0)
    (row,) = labeller.rows(images[:1])
    assert (row["status"], row["quality"]["consistency"]) == ("ok", None)


def test_every_stage_is_timed(images: list[InputImage]) -> None:
    labeller = ImageLabeller(lambda: Model(max_images=8), ImageReader())
    list(labeller.rows(images))
    seconds = labeller.clock.seconds
    assert all(seconds[stage] > 0 for stage in ("fetch", "decode", "model", "encode"))
