"""Annotators correct an export; the next export holds corrections and the model's labels."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipelines.corrections import correct_run
from pipelines.export import ExportConfig, ExportFormat, run_export
from tests.pipelines.conftest import SmallRun


@pytest.fixture
def small(make_run) -> SmallRun:
    return make_run(4)


def export(small: SmallRun, output: Path, format: ExportFormat) -> Any:
    config = ExportConfig(run=str(small.run), output=str(output), format=format, num_workers=1)
    return run_export(config)


def read_panoptic(folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The JSON, and the ids of each image by its id in the run."""
    content = json.loads((folder / "annotations" / "panoptic_train.json").read_text())
    pngs = folder / "annotations" / "panoptic_train"
    ids = {
        image["image_id"]: np.asarray(Image.open(pngs / annotation["file_name"]))[..., 0]
        for image, annotation in zip(content["images"], content["annotations"], strict=True)
    }
    return content, ids


def test_an_image_corrected_in_coco_panoptic_is_exported_beside_the_others(small, tmp_path):
    export(small, tmp_path / "first", ExportFormat.COCO_PANOPTIC)
    content, before = read_panoptic(tmp_path / "first")
    image, annotation = content["images"][1], content["annotations"][1]
    wrong = annotation["segments_info"][0]
    names = {category["id"]: category for category in content["categories"]}
    right = next(c for c in names.values() if c["isthing"] and c["id"] != wrong["category_id"])
    wrong["category_id"] = right["id"]
    file = tmp_path / "first" / "annotations" / "panoptic_train.json"
    file.write_text(json.dumps(content | {"images": [image], "annotations": [annotation]}))
    correct_run(str(small.run), file, author="Ada")

    report = export(small, tmp_path / "second", ExportFormat.COCO_PANOPTIC)
    assert (report.num_corrected, report.num_images) == (1, {"train": 4})
    content, after = read_panoptic(tmp_path / "second")
    assert [x.get("corrected_by") for x in content["images"]] == [None, "Ada", None, None]
    assert content["images"][1]["grade"] == "A"
    corrected = content["annotations"][1]["segments_info"]
    place = np.argwhere(before[image["image_id"]] == wrong["id"])[0]
    now = next(s for s in corrected if s["id"] == after[image["image_id"]][tuple(place)])
    assert now["category_id"] == right["id"]
    for image_id in before.keys() - {image["image_id"]}:
        assert (before[image_id] == after[image_id]).all()
    provenance = json.loads((tmp_path / "second" / "provenance.json").read_text())
    assert provenance["num_corrected"] == 1


def test_unchanged_tasks_of_label_studio_change_no_pixel(small, tmp_path):
    export(small, tmp_path / "panoptic", ExportFormat.COCO_PANOPTIC)
    export(small, tmp_path / "tasks", ExportFormat.LABEL_STUDIO)
    (file,) = (f for f in (tmp_path / "tasks" / "tasks").iterdir() if "00000000" in f.name)
    tasks = json.loads(file.read_text())
    for task in tasks:  # what submitting a task does with its pre-annotations
        task["annotations"] = [{"result": p["result"]} for p in task.pop("predictions")]
    file.write_text(json.dumps(tasks))
    assert correct_run(str(small.run), file, author="Ada").num_images == len(tasks) == 3

    export(small, tmp_path / "again", ExportFormat.COCO_PANOPTIC)
    _, before = read_panoptic(tmp_path / "panoptic")
    content, after = read_panoptic(tmp_path / "again")
    assert all((before[image_id] == after[image_id]).all() for image_id in before)
    assert sum("corrected_by" in image for image in content["images"]) == 3
