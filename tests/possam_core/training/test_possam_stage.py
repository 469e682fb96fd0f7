from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from possam_core.model import PosSAM
from possam_core.playground import PLAYGROUND
from possam_core.training.batches import ViewedImages
from possam_core.training.data.augment import AugmentConfig
from possam_core.training.data.feature_cache import FeatureCache
from possam_core.training.data.labelled import PlaygroundImages
from possam_core.training.files import LocalFolder
from possam_core.training.loop import DivergedError
from possam_core.training.loss_config import LossConfig
from possam_core.training.possam_stage import MaskTraining, train_possam
from possam_core.training.schedule import ScheduleConfig
from possam_core.training.stage import LoopConfig, LoopReport
from tests.factories import small_model

VOCABULARY = PLAYGROUND.vocabulary.subset(("apple", "star", "sky", "grass"), name="few")
LOOP = LoopConfig(
    num_steps=2,
    batch_size=4,
    learning_rate=1e-2,
    schedule=ScheduleConfig(warmup_steps=0),
    precision="float32",
    log_every=1,
)


def make_training(num_steps: int = 2, **changes: object) -> MaskTraining:
    """Two steps on the same four scenes."""
    images = PlaygroundImages(seed=3, num_scenes=4, vocabulary=VOCABULARY)
    fixed = AugmentConfig(min_scale=1.0, max_scale=1.0)
    batches = ViewedImages(images, fixed, LOOP, canvas=48)
    loop = replace(LOOP, num_steps=num_steps)
    return replace(MaskTraining(vocabulary=VOCABULARY, batches=batches, loop=loop), **changes)


def run(
    training: MaskTraining, folder: Path, model: PosSAM | None = None
) -> tuple[PosSAM, LoopReport]:
    model = model or small_model()
    return model, train_possam(model, training, LocalFolder(folder))


class Losses:
    """An observer that records the losses."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        self.values.append(values["train/loss"])

    def examples(self, step: int, examples: Sequence[object]) -> None: ...


def test_losses_fall(tmp_path: Path) -> None:
    losses = Losses()
    train_possam(small_model(), make_training(12), LocalFolder(tmp_path), observer=losses)
    assert losses.values[-1] < 0.9 * losses.values[0]


def test_a_batch_in_parts_gives_the_same_losses(tmp_path: Path) -> None:
    whole_model, whole = run(make_training(), tmp_path / "whole")
    parted = make_training(loop=replace(LOOP, images_at_once=1))
    parted_model, parts = run(parted, tmp_path / "parts")
    assert parts.loss == pytest.approx(whole.loss, rel=1e-5)
    torch.testing.assert_close(parted_model.ldp.void, whole_model.ldp.void)


def test_frozen_encoders_stay_unchanged_and_the_rest_is_trained(tmp_path: Path) -> None:
    before = {name: t.clone() for name, t in small_model().state_dict().items()}
    model, _ = run(make_training(), tmp_path)
    moved = {n for n, t in model.state_dict().items() if not torch.equal(t, before[n])}
    assert {name.partition(".")[0] for name in moved} == {
        "pyramid",
        "pixel_decoder",
        "mask_decoder",
        "ldp",
    }
    assert not model.clip.training
    assert not model.sam.training


def test_sam_may_be_trained_for_the_first_part_of_the_steps(tmp_path: Path) -> None:
    weights = []

    class Watching(PosSAM):
        def encode(self, batch):
            weights.append(next(self.sam.parameters()).detach().clone())
            return super().encode(batch)

    model = small_model()
    model.__class__ = Watching
    model, _ = run(make_training(4, sam_learns_until=0.5), tmp_path, model)
    first, second, third, fourth = weights
    assert not torch.equal(first, second)
    assert not torch.equal(second, third)
    torch.testing.assert_close(third, fourth, rtol=0, atol=0)


def test_training_from_the_feature_cache_differs_only_by_half_precision(tmp_path: Path) -> None:
    _, without = run(make_training(), tmp_path / "without")
    reports = [
        run(
            make_training(cache=FeatureCache(tmp_path / "cache", key="k", num_images=4)),
            tmp_path / name,
        )[1]
        for name in ("making", "finding")
    ]
    assert reports[0].loss == reports[1].loss  # bit for bit
    assert reports[0].loss == pytest.approx(without.loss, rel=1e-2)


def test_masks_may_be_compared_at_points(tmp_path: Path) -> None:
    at_points = make_training(loss=LossConfig(num_points=64))
    first, again = (run(at_points, tmp_path / name)[1] for name in ("first", "again"))
    assert first.loss == again.loss
    _, parts = run(replace(at_points, loop=replace(LOOP, images_at_once=2)), tmp_path / "parts")
    assert parts.loss == pytest.approx(first.loss, rel=1e-5)  # points go by image


def test_a_batch_with_non_finite_losses_is_kept_with_the_names_of_its_images(
    tmp_path: Path,
) -> None:
    model = small_model()
    with torch.no_grad():
        model.ldp.gamma.fill_(torch.nan)
    with pytest.raises(DivergedError, match="3 steps in a row"):
        run(make_training(5), tmp_path, model)
    (part,) = torch.load(tmp_path / "possam.skipped-step-3.worker-0.pt", weights_only=True)
    assert sorted(part["names"]) == [f"scene {i} of seed 3" for i in range(4)]
    assert part["pixels"].shape == (4, 3, 48, 48)


def test_given_text_embeddings_replace_the_text_tower(tmp_path: Path) -> None:
    own = small_model().clip.embed_vocabulary(VOCABULARY)
    turned = replace(own, embeddings=-own.embeddings)
    losses = [
        run(make_training(1, text=text), tmp_path / name)[1].loss
        for name, text in (("tower", None), ("own", own), ("turned", turned))
    ]
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]
