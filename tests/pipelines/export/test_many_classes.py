"""Exports of a vocabulary with more classes than a byte can hold."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from possam_core.labels.id_colours import rgb_from_ids
from possam_core.vocabulary.vocabulary import Vocabulary, VocabularyClass
from tests.pipelines.export.test_round_trips import load_script, read_json, rgb2id
from tests.pipelines.export.true_runs import TrueRun, write_true_run

NUM_CLASSES = 300
# Things have odd ids and come first in an export: 1, 3, ... 299, 2, 4, ... 300.
CATEGORY_IDS = {1: 1, 2: 256, 3: 300}  # of each segment
INDICES = {1: 0, 2: 277, 3: 299}
IDS = np.repeat(np.repeat([[1, 2], [3, 0]], 8, axis=0), 8, axis=1).astype(np.int32)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> TrueRun:
    """One image of 16 x 16 pixels: a quarter of each segment, and one of void."""
    folder = tmp_path_factory.mktemp("many")
    for name in ("images", "panoptic"):
        (folder / name).mkdir()
    Image.new("RGB", (16, 16), (9, 8, 7)).save(folder / "images" / "a.png")
    Image.fromarray(rgb_from_ids(IDS)).save(folder / "panoptic" / "a.png")
    entries = [
        VocabularyClass(category_id=i, name=f"class {i}", is_thing=i % 2 == 1)
        for i in range(1, NUM_CLASSES + 1)
    ]
    segments = [
        {"id": i, "category_id": c, "iscrowd": 0, "area": 64} for i, c in CATEGORY_IDS.items()
    ]
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": 16, "height": 16}],
        "annotations": [{"image_id": 1, "file_name": "a.png", "segments_info": segments}],
        "categories": [
            {"id": c.category_id, "name": c.name, "isthing": int(c.is_thing)} for c in entries
        ],
    }
    (folder / "panoptic.json").write_text(json.dumps(content))
    return write_true_run(
        folder / "run",
        images=folder / "images",
        annotations=folder / "panoptic.json",
        pngs=folder / "panoptic",
        vocabulary=Vocabulary(name="many", classes=tuple(entries)),
        shard_size=1,
    )


def levels(folder: Path) -> np.ndarray:
    """The grey levels of the only PNG in a folder."""
    (png,) = folder.iterdir()
    picture = np.asarray(Image.open(png))
    return picture[[0, 0, 15, 15], [0, 15, 0, 15]]  # a pixel of each quarter


def test_coco_panoptic_names_every_class_by_its_own_id(many: TrueRun, tmp_path: Path) -> None:
    many.export(tmp_path / "out", "coco-panoptic")
    content = read_json(tmp_path / "out" / "annotations" / "panoptic_train.json")
    assert [c["id"] for c in content["categories"]] == [*range(1, 300, 2), *range(2, 301, 2)]
    (annotation,) = content["annotations"]
    assert {s["id"]: s["category_id"] for s in annotation["segments_info"]} == CATEGORY_IDS
    png = tmp_path / "out" / "annotations" / "panoptic_train" / annotation["file_name"]
    assert (rgb2id(Image.open(png)) == IDS).all()


def test_semantic_pngs_have_16_bits(many: TrueRun, tmp_path: Path) -> None:
    many.export(tmp_path / "out", "semantic-png")
    assert read_json(tmp_path / "out" / "classes.json")["void"] == 65535
    assert levels(tmp_path / "out" / "annotations" / "train").tolist() == [0, 277, 299, 65535]


def test_detectron2s_semantic_pngs_agree_with_its_contiguous_ids(
    many: TrueRun, tmp_path: Path
) -> None:
    many.export(tmp_path / "out", "detectron2")
    script = load_script(tmp_path / "out" / "register_possam.py")
    assert script.read_metadata()["ignore_label"] == 65535
    (record,) = script.read_records("train")
    assert {s["id"]: s["category_id"] for s in record["segments_info"]} == INDICES
    assert levels(tmp_path / "out" / "semantic_train").tolist() == [0, 277, 299, 65535]


def test_fiftyone_gets_16_bits_and_all_names(many: TrueRun, tmp_path: Path) -> None:
    many.export(tmp_path / "out", "fiftyone")
    assert levels(tmp_path / "out" / "train" / "semantic").tolist() == [1, 278, 300, 0]
    coco = COCO(str(tmp_path / "out" / "train" / "labels.json"))
    assert len(coco.getCatIds()) == NUM_CLASSES
    assert {a["category_id"] for a in coco.anns.values()} == set(CATEGORY_IDS.values())
