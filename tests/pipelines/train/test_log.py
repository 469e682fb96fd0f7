import time
from pathlib import Path

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pipelines.train.log import SIDE_PX, TensorBoardLog, draw_example
from possam_core.playground import PLAYGROUND
from possam_core.training.data.labelled import GroundTruthImage
from possam_core.training.files import LocalFolder
from possam_core.training.validation import ValidatedImage
from tests.factories import make_panoptic, make_segment

VOCABULARY = PLAYGROUND.vocabulary
APPLE = VOCABULARY.class_index("apple")


def make_example(*, is_found: bool = True, height: int = 40, width: int = 60) -> ValidatedImage:
    """A grey image whose left half is an apple."""
    ids = np.zeros((height, width), np.int32)
    ids[:, : width // 2] = 1
    image = GroundTruthImage(
        name="grey",
        pixels=np.full((height, width, 3), 128, np.uint8),
        ids=ids,
        class_indices=(APPLE,),
    )
    category_id = VOCABULARY.classes[APPLE].category_id
    segments = (make_segment(class_index=APPLE, category_id=category_id),) if is_found else ()
    return ValidatedImage(
        image, make_panoptic(ids.tolist() if is_found else (0 * ids).tolist(), segments)
    )


def test_an_example_is_the_image_then_the_truth_then_the_prediction() -> None:
    image, truth, prediction = np.split(draw_example(make_example(), VOCABULARY), 3, axis=1)
    assert (image == 128).all()
    assert (truth[:, 32:] == 128).all()  # void, beyond the outline
    assert (truth[5, 5] != 128).any()
    np.testing.assert_array_equal(prediction, truth)


def test_what_was_not_found_is_not_drawn() -> None:
    _, truth, prediction = np.split(
        draw_example(make_example(is_found=False), VOCABULARY), 3, axis=1
    )
    assert (truth != 128).any()
    assert (prediction == 128).all()


def test_a_large_example_is_reduced() -> None:
    strip = draw_example(make_example(height=100, width=2 * SIDE_PX), VOCABULARY)
    assert strip.shape == (50, 3 * SIDE_PX, 3)


def test_a_second_run_hides_later_steps_of_the_first(tmp_path: Path) -> None:
    folder = LocalFolder(tmp_path)
    for first, figure in ((1, 1.0), (3, 2.0)):
        time.sleep(1)  # TensorBoard orders files by the second that they were begun in
        log = TensorBoardLog(str(tmp_path), folder, VOCABULARY)
        for step in range(first, first + 4):
            log.scalars(step, {"train/loss": figure})
        log.examples(first, [make_example()])
        log.close()
    events = EventAccumulator(str(tmp_path / "logs"))
    events.Reload()
    logged = [(e.step, e.value) for e in events.Scalars("train/loss")]
    assert logged == [(1, 1.0), (2, 1.0), (3, 2.0), (4, 2.0), (5, 2.0), (6, 2.0)]
    assert events.Tags()["images"] == ["held-out/0"]
