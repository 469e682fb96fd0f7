import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from possam_core.arithmetic import arithmetic
from possam_core.checkpoints.weights import load_model
from possam_core.errors import PossamError
from possam_core.images.batch import make_batch
from possam_core.mase import MaseConfig
from possam_core.model import InferenceConfig
from possam_core.playground import PLAYGROUND, generate_scene
from possam_core.predictor import Predictor, load_predictor
from possam_core.vocabulary.vocabulary import Vocabulary, VocabularyClass
from tests.factories import make_pixels

BALLS = Vocabulary(
    name="balls",
    classes=(
        VocabularyClass(category_id=7, name="ball", is_thing=True),
        VocabularyClass(category_id=9, name="lawn", is_thing=False),
    ),
)
LARGE_PX = 2000 * 3000
NETWORK_BYTES = 64 * 2**20  # of possam-tiny on one image


@pytest.fixture(scope="module")
def predictor(tiny_model: str) -> Predictor:
    return load_predictor(tiny_model, BALLS)


def test_mixed_sizes_come_back_at_their_own_size(predictor: Predictor) -> None:
    images = [make_pixels(48, 64), make_pixels(100, 30), make_pixels(9, 9)]
    assert [r.image_hw for r in predictor(images)] == [(48, 64), (100, 30), (9, 9)]


def test_segments_have_classes_of_the_users_vocabulary(predictor: Predictor) -> None:
    segments = [s for r in predictor([make_pixels(seed=i) for i in range(4)]) for s in r.segments]
    assert segments
    assert {s.category_id for s in segments} <= {7, 9}
    assert {s.category_name for s in segments if s.is_seen} <= {"ball"}
    for segment in segments:
        figures = (segment.score, segment.predicted_iou, segment.margin, segment.stability_score)
        assert all(0 <= f <= 1 for f in (*figures, segment.entropy))


def test_images_that_were_prepared_in_another_thread_get_the_same_labels(
    predictor: Predictor,
) -> None:
    images = [make_pixels(48, 64), make_pixels(100, 30), make_pixels(9, 9)]
    with ThreadPoolExecutor(2) as pool:
        prepared = list(pool.map(predictor.prepare, images))
    assert predictor.begin(prepared)() == predictor(images)


def test_the_same_image_gets_the_same_labels_twice(predictor: Predictor) -> None:
    first, second = predictor([make_pixels()]), predictor([make_pixels()])
    np.testing.assert_array_equal(first[0].ids, second[0].ids)
    assert first[0].segments == second[0].segments


@pytest.mark.parametrize("batch_size", [2, 3, 6])
def test_labels_are_bit_identical_in_any_batch_and_order(
    predictor: Predictor, batch_size: int
) -> None:
    images = [make_pixels(40 + 9 * i, 64 - 5 * i, seed=i) for i in range(6)]
    alone = [predictor([image])[0] for image in images]
    for order in (list(range(6)), [5, 2, 0, 3, 1, 4]):
        for start in range(0, 6, batch_size):
            chosen = order[start : start + batch_size]
            for i, result in zip(chosen, predictor([images[i] for i in chosen]), strict=True):
                np.testing.assert_array_equal(result.ids, alone[i].ids)
                assert result.segments == alone[i].segments


def test_compiling_for_one_batch_size_keeps_the_labels(
    predictor: Predictor, tiny_model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("possam_core.predictor.COMPILE_BACKEND", "aot_eager")  # no C++ compiler
    images = [make_pixels(40 + 9 * i, 64 - 5 * i, seed=i) for i in range(3)]
    torch._dynamo.reset()
    compiled = Predictor(load_model(tiny_model), BALLS, compile_for=4)
    graphs = dict(torch._dynamo.utils.counters["stats"])
    assert graphs["unique_graphs"] > 0  # before the first image
    for chosen in (images, images[:1]):  # padded to four; too few of four to be compiled
        for eager, result in zip(predictor(chosen), compiled(chosen), strict=True):
            assert (eager.ids == result.ids).mean() > 0.99
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == graphs["unique_graphs"]


def test_an_encoder_that_cannot_be_compiled_works_without_and_says_so(
    predictor: Predictor,
    tiny_model: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", ("no-such-compiler",))
    torch._dynamo.reset()
    with torch._inductor.config.patch(force_disable_caches=True):
        other = Predictor(load_model(tiny_model), BALLS, compile_for=2)
    assert other.compiled_for is None
    assert "SAM's encoder is not compiled: " in caplog.text
    image = make_pixels(40, 64, seed=1)
    np.testing.assert_array_equal(other([image])[0].ids, predictor([image])[0].ids)


def test_tf32_is_a_gpus_and_leaves_a_cpu_and_the_process_as_they_are(
    predictor: Predictor, tiny_model: str
) -> None:
    before = torch.get_float32_matmul_precision()
    image = make_pixels(40, 64, seed=1)
    labels = Predictor(load_model(tiny_model), BALLS, precision="tf32")([image])[0]
    np.testing.assert_array_equal(labels.ids, predictor([image])[0].ids)
    with arithmetic("tf32", torch.device("cuda")):
        assert torch.get_float32_matmul_precision() == "high"
    assert torch.get_float32_matmul_precision() == before


def test_memory_is_what_the_docstring_says() -> None:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        one, four = pool.map(peak_bytes, [1, 4])
    results = 4 * LARGE_PX
    assert one < NETWORK_BYTES + 40 * LARGE_PX + results
    assert four < NETWORK_BYTES + 40 * LARGE_PX + 4 * results


def peak_bytes(num_images: int) -> int:
    """The rise of resident memory while possam-tiny labels large images."""
    predictor = load_predictor("possam-tiny")
    scene = Image.fromarray(generate_scene(5, 0).image)
    predictor([np.asarray(scene)])  # so that no first use is counted
    images = [np.asarray(scene.resize((3000, 2000)))] * num_images
    Path("/proc/self/clear_refs").write_text("5")
    before = resident_bytes("VmRSS")
    predictor(images)
    return resident_bytes("VmHWM") - before


def resident_bytes(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field + ":"))


def test_all_forms_of_a_prediction_come_from_one_forward_pass(predictor: Predictor) -> None:
    images = [make_pixels(40, 64), make_pixels(70, 30, seed=1)]
    for image, forms in zip(images, predictor.forms(images), strict=True):
        (panoptic,) = predictor([image])
        np.testing.assert_array_equal(forms.panoptic.ids, panoptic.ids)
        assert forms.panoptic.segments == panoptic.segments
        assert len(forms.class_scores) == len(panoptic.segments)
        assert {i.category_id for i in forms.instances} == {7}  # lawn is stuff
        scores = [i.score for i in forms.instances]
        assert scores == sorted(scores, reverse=True)
        assert forms.class_indices.shape == image.shape[:2]
        assert set(np.unique(forms.class_indices)) <= {0, 1}


@pytest.mark.parametrize("tau", [-1.0, 2.0], ids=["confident of all", "confident of none"])
def test_the_settings_decide_whether_ldp_or_clip_classifies_the_masks(
    predictor: Predictor, tau: float
) -> None:
    mase = MaseConfig(alpha=0.0, beta=1.0, tau=tau)
    either = Predictor(predictor.model, BALLS, inference=InferenceConfig(mase=mase))
    result = either.classify(make_batch([make_pixels()], canvas=48))
    ldp = result.class_logits[0, :, :-1].softmax(dim=-1)
    clip_logits = either.model.clip.logit_scale * either.text.class_logits(
        result.clip_embeddings[0]
    )
    has_clip = result.has_clip[0][:, None]
    by_clip = torch.where(has_clip, clip_logits.softmax(dim=-1), ldp)
    expected = ldp if tau < 0 else by_clip
    torch.testing.assert_close(either.score(result)[0].class_probs, expected)
    assert not torch.allclose(ldp, by_clip)


def test_no_images_are_refused(predictor: Predictor) -> None:
    with pytest.raises(PossamError, match="at least one image"):
        predictor([])


def test_bfloat16_agrees_with_float32_on_nearly_every_pixel() -> None:
    model = load_model("possam-tiny")
    images = [generate_scene(5, i).image for i in range(8)]
    exact, low = (Predictor(model, precision=p)(images) for p in ("float32", "bfloat16"))
    same = total = 0
    for a, b in zip(exact, low, strict=True):
        classes = []
        for result in (a, b):
            table = np.full(len(result.segments) + 1, -1)
            for segment in result.segments:
                table[segment.id] = segment.class_index
            classes.append(table[result.ids])
        same += int((classes[0] == classes[1]).sum())
        total += classes[0].size
    assert same < total  # bfloat16 was in use
    assert same >= 0.99 * total


def test_possam_tiny_finds_most_of_a_playground_scene() -> None:
    predictor = load_predictor("possam-tiny")
    names = [c.name for c in PLAYGROUND.vocabulary.classes]
    found = missed = 0
    for index in range(8):
        scene = generate_scene(5, index)
        predicted = {s.category_name for s in predictor([scene.image])[0].segments}
        truth = {names[c] for c in scene.class_indices}
        found += len(truth & predicted)
        missed += len(truth - predicted)
    assert found > missed
