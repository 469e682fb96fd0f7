"""Writes which images possam-tiny was calibrated with; its checkpoint is from before that was kept.

    python -m possam_core.training.tiny.calibration_set

The scenes are those on which the grades in its header were measured. A checkpoint that is trained
or calibrated from now on keeps the same in its header, and needs no such file.
"""

import json

from possam_core.checkpoints.header import read_header
from possam_core.checkpoints.models import SET_SUFFIX, resolve_model
from possam_core.labels.calibration_set import CalibrationSet
from possam_core.labels.quality import seen_measures
from possam_core.playground import PLAYGROUND, generate_scene
from possam_core.predictor import load_teacher

MODEL = "possam-tiny"


def main() -> None:
    """Label the scenes and write the file beside the checkpoint."""
    path = resolve_model(MODEL).checkpoint
    recipe = read_header(path)["metrics"]["recipe"]
    vocabulary = PLAYGROUND.vocabulary
    teacher = load_teacher(MODEL, vocabulary, device="cpu")
    images = []
    for index in range(recipe["report_scenes"]):
        (segmentation,) = teacher([generate_scene(recipe["report_seed"], index).image])
        images.append(seen_measures(segmentation))
    found = CalibrationSet.of(
        images, vocabulary=vocabulary.name, vocabulary_sha256=vocabulary.fingerprint
    )
    beside = path.with_name(f"{path.stem}{SET_SUFFIX}")
    beside.write_text(json.dumps(found.to_json(), indent=2) + "\n")


if __name__ == "__main__":
    main()
