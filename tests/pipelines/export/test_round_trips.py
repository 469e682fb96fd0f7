"""Each export read back with its format's own library: identical pixels and classes."""

import importlib.util
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from possam_core.playground import PLAYGROUND
from tests.pipelines.export.conftest import NUM_SCENES, SceneRun, TrueScene
from tests.pipelines.export.test_brush_rle import decode as decode_brush

SPLITS = ("train", "val")
THINGS = {c.name for c in PLAYGROUND.vocabulary.classes if c.is_thing}
Export = Callable[[str], Path]


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def rgb2id(picture: Image.Image | np.ndarray) -> np.ndarray:
    rgb = np.asarray(picture, np.int64)
    assert rgb.ndim == 3
    return rgb @ [1, 256, 65536]


def load_script(path: Path) -> Any:
    """The script as a training program imports it."""
    compile(path.read_text(), str(path), "exec")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def require_truth(scene: TrueScene, ids: np.ndarray, names: dict[int, str]) -> None:
    assert (ids == scene.ids).all()
    assert names == scene.names


def panoptic_images(folder: Path, json_key: str) -> Iterator[tuple[dict, dict, Path, dict]]:
    """Image, annotation, PNG and categories of each split of COCO panoptic files."""
    for split in SPLITS:
        path = folder / json_key.format(split=split)
        content = read_json(path)
        categories = {c["id"]: c for c in content["categories"]}
        annotations = {a["image_id"]: a for a in content["annotations"]}
        assert [a["image_id"] for a in content["annotations"]] == [
            image["id"] for image in content["images"]
        ]
        for image in content["images"]:
            annotation = annotations[image["id"]]
            yield image, annotation, path.with_suffix("") / annotation["file_name"], categories


def test_coco_panoptic_keeps_panopticapis_rules_and_every_pixel(
    scene_run: SceneRun, exported: Export
) -> None:
    folder = exported("coco-panoptic")
    seen = set()
    for image, annotation, png, categories in panoptic_images(
        folder, "annotations/panoptic_{split}.json"
    ):
        scene = scene_run.scenes[image["image_id"]]
        with Image.open(png) as picture:
            assert picture.mode == "RGB"
            ids = rgb2id(picture)
        assert ids.shape == (image["height"], image["width"])
        infos = {info["id"]: info for info in annotation["segments_info"]}
        assert len(infos) == len(annotation["segments_info"])
        assert set(np.unique(ids)) - {0} == set(infos)
        for i, info in infos.items():
            rows, columns = np.nonzero(ids == i)
            x, y = columns.min(), rows.min()
            assert info["area"] == len(rows)
            assert info["bbox"] == [x, y, columns.max() + 1 - x, rows.max() + 1 - y]
            assert info["iscrowd"] == 0
        require_truth(
            scene, ids, {i: categories[s["category_id"]]["name"] for i, s in infos.items()}
        )
        assert all(c["isthing"] == (c["name"] in THINGS) for c in categories.values())
        picture_file = folder / png.parent.name.removeprefix("panoptic_") / image["file_name"]
        assert picture_file.read_bytes() == scene.file.read_bytes()
        seen.add(image["id"])
    assert len(seen) == NUM_SCENES


def require_instances(scene: TrueScene, coco: COCO, image_id: int, *, classes: set[str]) -> None:
    """All segments of these classes, as pycocotools sees them."""
    found = []
    for annotation in coco.loadAnns(coco.getAnnIds(image_id)):
        (category,) = coco.loadCats(annotation["category_id"])
        mask = coco.annToMask(annotation)
        assert annotation["area"] == mask.sum()
        found.append((category["name"], mask.tobytes()))
    expected = [
        (name, (scene.ids == i).astype(np.uint8).tobytes())
        for i, name in scene.names.items()
        if name in classes
    ]
    assert sorted(found) == sorted(expected)


def test_coco_instances_are_the_things(scene_run: SceneRun, exported: Export) -> None:
    num_images = 0
    for split in SPLITS:
        folder = exported("coco-instances")
        coco = COCO(str(folder / f"annotations/instances_{split}.json"))
        assert {c["name"] for c in coco.loadCats(coco.getCatIds())} == THINGS
        for image in coco.loadImgs(coco.getImgIds()):
            scene = scene_run.scenes[image["image_id"]]
            require_instances(scene, coco, image["id"], classes=THINGS)
            assert (folder / split / image["file_name"]).stat().st_size == scene.file.stat().st_size
            num_images += 1
    assert num_images == NUM_SCENES


def require_classes(scene: TrueScene, png: Path, names: dict[int, str]) -> None:
    levels = np.asarray(Image.open(png))
    assert levels.dtype == np.uint8
    pairs = np.unique(levels.astype(np.int64) * 2**32 + scene.ids).tolist()
    assert [names[p >> 32] for p in pairs] == [scene.names.get(p % 2**32, "") for p in pairs]


def test_semantic_pngs_hold_the_class_of_every_pixel(scene_run: SceneRun, exported: Export) -> None:
    folder = exported("semantic-png")
    content = read_json(folder / "classes.json")
    assert content["void"] == 255
    names = {c["index"]: c["name"] for c in content["classes"]} | {255: ""}
    pngs = [png for split in SPLITS for png in (folder / "annotations" / split).iterdir()]
    assert len(pngs) == NUM_SCENES
    for png in pngs:
        scene = scene_run.scenes[png.stem]
        require_classes(scene, png, names)
        picture = folder / "images" / png.parent.name / f"{png.stem}.jpg"
        assert picture.read_bytes() == scene.file.read_bytes()


def test_hugging_face_loads_with_datasets_and_decodes_images(
    scene_run: SceneRun, exported: Export, tmp_path: Path
) -> None:
    import datasets

    folder = exported("huggingface")
    loaded = datasets.load_dataset(str(folder), cache_dir=str(tmp_path))
    assert set(loaded) == {"train", "validation"}
    seen = set()
    for split in loaded.values():
        labels = split.features["segments_info"].feature["label"]
        for row in split:
            scene = scene_run.scenes[row["image_id"]]
            names = {s["id"]: labels.int2str(s["label"]) for s in row["segments_info"]}
            require_truth(scene, rgb2id(row["panoptic"]), names)
            assert row["image"].format == "JPEG"
            assert row["image"].size == (row["width"], row["height"])
            assert [s["isthing"] for s in row["segments_info"]] == [
                n in THINGS for n in names.values()
            ]
            seen.add(row["image_id"])
        raw = split.cast_column("image", datasets.Image(decode=False))[0]
        assert raw["image"]["bytes"] == scene_run.scenes[raw["image_id"]].file.read_bytes()
    assert len(seen) == NUM_SCENES


def test_webdataset_streams_jpg_png_and_json(scene_run: SceneRun, exported: Export) -> None:
    import webdataset

    folder = exported("webdataset")
    seen = set()
    for split in SPLITS:
        index = read_json(folder / f"{split}-index.json")
        for shard in index["shardlist"]:
            tar = webdataset.WebDataset([str(folder / shard["url"])], shardshuffle=False)
            samples = list(tar)
            assert len(samples) == shard["nsamples"]
            for raw in samples:
                scene = scene_run.scenes[raw["__key__"]]
                assert raw["jpg"] == scene.file.read_bytes()
            for sample in tar.decode("pil"):
                names = {s["id"]: s["category_name"] for s in sample["json"]["segments_info"]}
                scene = scene_run.scenes[sample["json"]["image_id"]]
                require_truth(scene, rgb2id(sample["png"]), names)
                seen.add(sample["__key__"])
    assert len(seen) == NUM_SCENES


def test_the_registration_script_of_detectron2_gives_records_with_contiguous_ids(
    scene_run: SceneRun, exported: Export
) -> None:
    folder = exported("detectron2")
    script = load_script(folder / "register_possam.py")
    metadata = script.read_metadata()
    names = metadata["stuff_classes"]
    assert set(names[: len(metadata["thing_classes"])]) == THINGS
    places = metadata["stuff_dataset_id_to_contiguous_id"]
    assert sorted(places.values()) == list(range(len(names)))
    assert all(places[id_] == p for id_, p in metadata["thing_dataset_id_to_contiguous_id"].items())
    records = [record for split in SPLITS for record in script.read_records(split)]
    assert len({record["image_id"] for record in records}) == NUM_SCENES
    levels = dict(enumerate(names)) | {metadata["ignore_label"]: ""}
    for record in records:
        scene = scene_run.scenes[Path(record["file_name"]).stem]
        ids = rgb2id(Image.open(record["pan_seg_file_name"]))
        found = {s["id"]: names[s["category_id"]] for s in record["segments_info"]}
        require_truth(scene, ids, found)
        assert [s["isthing"] for s in record["segments_info"]] == [
            n in THINGS for n in found.values()
        ]
        require_classes(scene, Path(record["sem_seg_file_name"]), levels)
        assert (record["height"], record["width"]) == ids.shape
        assert Path(record["file_name"]).read_bytes() == scene.file.read_bytes()


def test_fiftyones_coco_layout_has_masks_of_things_and_stuff_and_semantic_masks(
    scene_run: SceneRun, exported: Export
) -> None:
    folder = exported("fiftyone")
    script = load_script(folder / "load_fiftyone.py")
    levels = script.read_mask_targets()
    assert min(levels) == 1
    num_images = 0
    for split in SPLITS:
        coco = COCO(str(folder / split / "labels.json"))
        for image in coco.loadImgs(coco.getImgIds()):
            scene = scene_run.scenes[image["image_id"]]
            require_instances(scene, coco, image["id"], classes=set(scene.names.values()))
            png = folder / split / "semantic" / f"{image['image_id']}.png"
            require_classes(scene, png, levels | {0: ""})
            picture = folder / split / "data" / image["file_name"]
            assert picture.read_bytes() == scene.file.read_bytes()
            num_images += 1
    assert num_images == NUM_SCENES


def test_fiftyone_loads_what_its_script_says(scene_run: SceneRun, exported: Export) -> None:
    pytest.importorskip("fiftyone", reason="fiftyone, with its database, is not installed")
    dataset = load_script(exported("fiftyone") / "load_fiftyone.py").load("val")
    for sample in dataset:
        scene = scene_run.scenes[Path(sample.filepath).stem]
        labels = sorted(detection.label for detection in sample.segments.detections)
        assert labels == sorted(scene.names.values())


def test_label_studio_tasks_hold_every_segment_as_a_brush(
    scene_run: SceneRun, exported: Export
) -> None:
    folder = exported("label-studio")
    config = (folder / "label_config.xml").read_text()
    tasks = [task for file in sorted((folder / "tasks").iterdir()) for task in read_json(file)]
    assert len({task["data"]["image_id"] for task in tasks}) == NUM_SCENES
    for task in tasks[:: NUM_SCENES // 10]:  # reading bit by bit is slow
        scene = scene_run.scenes[task["data"]["image_id"]]
        assert task["data"]["image"] == str(scene.file)
        (prediction,) = task["predictions"]
        assert len(prediction["result"]) == len(scene.names)
        for result in prediction["result"]:
            segment = int(result["id"].rpartition("-")[2])
            words = decode_brush(result["value"]["rle"])
            assert (words.reshape(-1, 4) == 255 * (scene.ids.reshape(-1, 1) == segment)).all()
            (name,) = result["value"]["brushlabels"]
            assert name == scene.names[segment]
            assert f'<Label value="{name}"' in config
            size = (result["original_height"], result["original_width"])
            assert size == scene.ids.shape
