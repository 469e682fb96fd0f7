"""The whole recipe on a handful of scenes: it runs, resumes, and writes a loadable checkpoint."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from possam_core.checkpoints.weights import load_model
from possam_core.model import InferenceConfig
from possam_core.playground import PLAYGROUND, WORKSHOP, generate_scene
from possam_core.training.data.scenes import NO_CLASS, SceneSet, SceneStore
from possam_core.training.tiny import train as recipe
from possam_core.training.tiny.encoder_stages import EncoderRecipe
from possam_core.training.tiny.evaluate import HeldOutScenes
from possam_core.training.tiny.world_stage import WorldRecipe
from tests.factories import small_model


def test_scenes_on_disk_are_those_of_the_generator_and_survive_reopening(tmp_path: Path) -> None:
    scene_set = SceneSet(seed=4, num_scenes=6, canvas=48, class_names=("apple", "star", "sky"))
    store = SceneStore(scene_set, tmp_path / "scenes")
    again = SceneStore(scene_set, tmp_path / "scenes")
    np.testing.assert_array_equal(store.pixels, again.pixels)
    names = [c.name for c in PLAYGROUND.vocabulary.classes]
    shown = {names[c] for c in np.unique(store.classes) if c != NO_CLASS}
    assert shown <= {"apple", "star", "sky"}


def test_scenes_of_another_world_are_rendered_by_its_name(tmp_path: Path) -> None:
    scene_set = SceneSet(seed=4, num_scenes=2, canvas=48, world="workshop")
    store = SceneStore(scene_set, tmp_path / "scenes")
    drawn = generate_scene(4, 1, world=WORKSHOP).class_indices
    assert store.classes[1].tolist() == [*drawn, *[NO_CLASS] * (24 - len(drawn))]


def test_a_folder_with_scenes_of_another_set_is_rendered_again(tmp_path: Path) -> None:
    first = SceneStore(SceneSet(seed=4, num_scenes=2, canvas=48), tmp_path / "scenes")
    kept = first.pixels.copy()
    second = SceneStore(SceneSet(seed=5, num_scenes=2, canvas=48), tmp_path / "scenes")
    assert not np.array_equal(second.pixels, kept)


def test_a_flipped_scene_keeps_image_and_segments_aligned(tmp_path: Path) -> None:
    store = SceneStore(SceneSet(seed=4, num_scenes=1, canvas=48), tmp_path / "scenes")
    seen = set()
    for seed in range(8):
        batch = store.batch(np.random.default_rng(seed), 1)
        height, width = batch.images.resized_hw[0]
        pixels, ids = batch.images.pixels[0, :, :height, :width], batch.ids[0, :height, :width]
        is_flipped = not np.array_equal(pixels.numpy(), store.pixels[0][:, :height, :width])
        expected = store.ids[0][:height, :width]
        np.testing.assert_array_equal(ids.numpy(), expected[:, ::-1] if is_flipped else expected)
        seen.add(is_flipped)
    assert seen == {False, True}


def test_masks_are_the_share_of_each_cell(tmp_path: Path) -> None:
    store = SceneStore(SceneSet(seed=4, num_scenes=2, canvas=48), tmp_path / "scenes")
    batch = store.batch(np.random.default_rng(0), 2)
    for ids, masks in zip(batch.ids, batch.masks(12), strict=True):
        for i, mask in enumerate(masks, start=1):
            assert float(mask.sum()) * 16 == pytest.approx(float((ids == i).sum()), rel=1e-4)


def test_measuring_during_training_leaves_every_parameter_trainable(tiny_model: str) -> None:
    model = load_model(tiny_model).requires_grad_(True)
    HeldOutScenes(seed=1, num_scenes=1).pq(model, InferenceConfig())
    assert all(p.requires_grad for p in model.parameters())


def test_seen_classes_in_another_world_follow_from_the_trained_names(
    tiny_model: str,
) -> None:
    model = load_model(tiny_model)
    model.card = replace(model.card, training_names=("apple", "automobile", "lawn"))
    scenes = HeldOutScenes(seed=1, num_scenes=1, world=WORKSHOP)
    seen = {c.name for c in scenes.categories(model) if c.is_seen}
    assert seen == {"apple", "automobile", "lawn"}
    assert len(scenes.measure(model, InferenceConfig()).classes) == 40


def test_the_recipe_runs_resumes_and_ships_the_measured_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("possam_core.training.tiny.evaluate.GRID", {"merge.eta": (0.0, 1.0)})
    small = recipe.TinyRecipe(
        encoders=EncoderRecipe(
            num_scenes=16, clip_steps=2, sam_steps=2, batch_size=8, held_out_scenes=32
        ),
        head=WorldRecipe(num_scenes=16, num_steps=1, batch_size=8, progress_scenes=1),
        tuning_scenes=2,
        report_scenes=2,
        calibration_scenes=2,
    )
    config, cpu = small_model().config, torch.device("cpu")
    recipe.train_tiny(small, config, tmp_path, cpu)
    first = load_model(str(tmp_path / "possam-tiny.safetensors"))
    assert first.card.metrics["recipe"]["encoders"]["clip_steps"] == 2
    assert first.card.metrics["calibration"]["measured_images"] == 2
    assert set(first.card.metrics["quality"]) == {"all", "things", "stuff", "seen", "unseen"}
    trained = PLAYGROUND.vocabulary.seen_in(first.card.training_names)
    shown = PLAYGROUND.training_vocabulary.classes
    assert trained == tuple(c in shown for c in PLAYGROUND.vocabulary.classes)

    recipe.train_tiny(
        small, config, tmp_path, cpu
    )  # every stage is done: the same weights come out
    second = load_model(str(tmp_path / "possam-tiny.safetensors"))
    for name, value in first.state_dict().items():
        torch.testing.assert_close(value, second.state_dict()[name])
