"""FC-CLIP from files: the same network as from the formula, and every mistake in one sentence."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from possam_core.checkpoints.fc_clip_file import find_fc_clip
from possam_core.errors import CheckpointError, ConfigError, PossamError, VocabularyError
from possam_core.predictor import load_teacher
from possam_core.teachers.fc_clip.files import check_fc_clip, read_architecture, read_inference
from possam_core.teachers.fc_clip.network import FcClipConfig
from possam_core.teachers.fc_clip.teacher import OVRCOAT_INFERENCE, FcClipTeacher
from possam_core.vocabulary.vocabulary import Vocabulary
from tests.fc_clip_files import (
    clip_tensors,
    head_tensors,
    tensors,
    write_fc_clip,
    write_model_file,
)
from tests.fc_clip_reference import SMALL, SMALL_CONFIG, SMALL_REFERENCES, picture

WORDS = SMALL.vocabulary


def open_file(path: Path) -> FcClipTeacher:
    teacher = load_teacher(str(path), WORDS)
    assert isinstance(teacher, FcClipTeacher)
    return teacher


def check(path: Path, vocabulary: Vocabulary = WORDS) -> None:
    file = find_fc_clip(str(path))
    assert file is not None
    check_fc_clip(file, vocabulary)


def assert_labels_alike(first: FcClipTeacher, second: FcClipTeacher) -> None:
    expected, found = first.network.state_dict(), second.network.state_dict()
    assert set(expected) == set(found)
    assert all(torch.equal(expected[name], tensor) for name, tensor in found.items())


def test_head_and_tower_give_the_reference_network_and_its_probabilities(tmp_path: Path) -> None:
    references = np.load(SMALL_REFERENCES)
    seen = [
        entry.name
        for entry, is_seen in zip(WORDS.classes, references["is_seen"], strict=True)
        if is_seen
    ]
    path = write_fc_clip(tmp_path, training_vocabulary=seen)
    check(path)
    teacher = open_file(path)
    expected = SMALL.network().state_dict()
    found = teacher.network.state_dict()
    assert all(torch.equal(expected[name], tensor) for name, tensor in found.items())
    with torch.inference_mode():
        (proposals,) = teacher.propose([picture(*SMALL.pictures[0])])
    masks = proposals.masks
    theirs = torch.from_numpy(references["0/class_log_probs"]).exp() - 1e-8
    present = 1 - masks.void_probs[:, None]
    assert (masks.class_probs * present - theirs[:, :-1]).abs().max() <= 1e-5


def test_a_head_that_holds_its_towers_needs_no_other_file(tmp_path: Path) -> None:
    two = open_file(write_fc_clip(tmp_path))
    torch.save({"model": tensors()}, tmp_path / "fcclip_small.pth")
    (tmp_path / "clip.bin").unlink()
    path = write_model_file(tmp_path, clip=None)
    check(path)
    assert_labels_alike(two, open_file(path))


def test_a_safetensors_copy_is_the_same_model(tmp_path: Path) -> None:
    two = open_file(write_fc_clip(tmp_path))
    save_file(head_tensors(), tmp_path / "head.safetensors")
    save_file({n: t.contiguous() for n, t in clip_tensors().items()}, tmp_path / "c.safetensors")
    path = write_model_file(tmp_path, head="head.safetensors", clip="c.safetensors")
    assert_labels_alike(two, open_file(path))


def test_towers_beside_the_heads_own_must_be_equal(tmp_path: Path) -> None:
    path = write_fc_clip(tmp_path)
    torch.save({"model": tensors()}, tmp_path / "fcclip_small.pth")
    check(path)
    other = clip_tensors()
    other["text_projection"] = other["text_projection"] + 1
    torch.save(other, tmp_path / "clip.bin")
    with pytest.raises(CheckpointError, match=r"1 of their tensors differ .* text_projection"):
        check(path)


def test_a_model_file_without_an_architecture_is_the_published_one(tmp_path: Path) -> None:
    file = find_fc_clip(str(write_fc_clip(tmp_path, architecture=None)))
    assert file is not None
    assert read_architecture(file) == FcClipConfig()
    small = find_fc_clip(str(write_model_file(tmp_path)))
    assert small is not None
    assert read_architecture(small) == SMALL_CONFIG


def test_ovrcoat_has_rules_of_its_own(tmp_path: Path) -> None:
    file = find_fc_clip(str(write_fc_clip(tmp_path, teacher="ovrcoat", short_side=None)))
    assert file is not None
    inference = read_inference(file)
    assert inference.merge == OVRCOAT_INFERENCE.merge
    assert inference.scoring == OVRCOAT_INFERENCE.scoring
    assert (inference.short_side, inference.long_side) == (800, SMALL.long_side)


def write_without_tower(folder: Path) -> None:
    write_model_file(folder, clip=None)


def write_other_head(folder: Path) -> None:
    other = head_tensors()
    del other["void_embedding.weight"]
    other["sem_seg_head.predictor.logit_scale"] = torch.zeros(2)
    torch.save({"model": other | {"roi_heads.weight": torch.zeros(1)}}, folder / "fcclip_small.pth")


def write_other_tower(folder: Path) -> None:
    torch.save({"visual.proj": torch.zeros(2, 2)}, folder / "clip.bin")


def write_program(folder: Path) -> None:
    torch.save({"model": torch.nn.Linear(1, 1)}, folder / "fcclip_small.pth")


def write_cut_off(folder: Path) -> None:
    path = folder / "fcclip_small.pth"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def write_not_finite(folder: Path) -> None:
    name = "sem_seg_head.predictor.query_feat.weight"
    others = head_tensors() | {name: head_tensors()[name] * torch.nan}
    torch.save({"model": others}, folder / "fcclip_small.pth")


def write_booleans(folder: Path) -> None:
    name = "visual.trunk.stem.0.weight"
    torch.save(clip_tensors() | {name: clip_tensors()[name] > 0}, folder / "clip.bin")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (write_cut_off, r"expected FC-CLIP weights in .* cannot be read .*the file is cut off\)"),
        (write_not_finite, "but sem_seg_head.predictor.query_feat.weight is not finite; name"),
        (write_booleans, r"stem.0.weight is no plain tensor of real numbers \(torch.bool\); name"),
        (
            write_without_tower,
            r"expected CLIP's towers in .*fcclip_small.pth.* the head alone; name",
        ),
        (
            write_other_head,
            r"void_embedding.weight is missing, roi_heads.weight is not part of it,"
            r" sem_seg_head.predictor.logit_scale is of shape \[2\] instead of \[\]; name",
        ),
        (write_other_tower, r"expected the open_clip weights of this CLIP in .*clip.bin, but"),
        (write_program, "expected FC-CLIP weights in .* is not plain weights, so it was not run"),
    ],
)
def test_files_that_do_not_fit_are_refused_in_one_sentence(
    tmp_path: Path, change: Callable[[Path], None], message: str
) -> None:
    path = write_fc_clip(tmp_path)
    change(tmp_path)
    for attempt in (check, open_file):
        with pytest.raises(CheckpointError, match=message) as caught:
            attempt(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        ({"decoder": {"num_querys": 3}}, r"got architecture.decoder.num_querys; did you mean"),
        ({"decoder": 3}, "expected settings by name under architecture.decoder"),
        ({"widths": [1]}, r"got architecture.widths; known are"),
        ({"decoder": {"num_queries": 0}}, "num_queries must be at least 1, got 0"),
        ({"clip": {"model": "convnext"}}, "must be a model that open_clip knows"),
    ],
)
def test_an_impossible_architecture_is_refused(
    tmp_path: Path, architecture: object, message: str
) -> None:
    with pytest.raises(PossamError, match=message):
        check(write_fc_clip(tmp_path, architecture=architecture))


def test_an_impossible_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="short_side must be at least 1, got 0"):
        check(write_fc_clip(tmp_path, short_side=0))


def test_a_name_that_clip_cannot_read_to_its_end_is_named(tmp_path: Path) -> None:
    path, long = write_fc_clip(tmp_path), "very " * 80 + "long"
    records = [{"name": "cup", "kind": "thing", "synonyms": [long]}]
    with pytest.raises(VocabularyError, match=r"at most 75 tokens .*long' of class 'cup' takes 89"):
        check(path, Vocabulary.from_records("long", records))


def test_thousands_of_names_are_allowed(tmp_path: Path) -> None:
    records = [{"name": f"thing number {i}", "kind": "thing"} for i in range(5000)]
    check(write_fc_clip(tmp_path), Vocabulary.from_records("many", records))


def test_a_vocabulary_must_be_named(tmp_path: Path) -> None:
    with pytest.raises(VocabularyError, match="expected a vocabulary for fc-clip"):
        load_teacher(str(write_fc_clip(tmp_path)))
