"""Label map -> Parquet -> each export -> read back with its format's own library.

On 200 playground scenes and on 100 photographs of COCO: identical pixels and classes.
"""

import importlib.util
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from pipelines import open_run
from pipelines.formats.label_studio_brush import decode_brush
from possam_core.images.decode import decode_image
from tests.pipelines.export.true_runs import TrueImage, TrueRun
from tests.pipelines.formats.test_label_studio_brush import decode_by_bits

SPLITS = ("train", "val")
NUM_SLOWLY = 5  # tasks that are read bit by bit
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


def require_truth(image: TrueImage, ids: np.ndarray, names: dict[int, str]) -> None:
    assert (ids == image.ids).all()
    assert names == image.names


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


def test_the_reader_gives_back_what_went_into_the_parquet(true_run: TrueRun) -> None:
    seen = set()
    for image in open_run(str(true_run.run)):
        truth = true_run.images[image.image_id]
        segmentation = image.segmentation
        names = {s.id: s.category_name for s in segmentation.segments}
        require_truth(truth, segmentation.ids, names)
        assert {s.category_name for s in segmentation.segments if s.is_thing} == (
            true_run.things & set(names.values())
        )
        if len(seen) < NUM_SLOWLY:
            assert (image.pixels() == decode_image(truth.file.read_bytes()).pixels).all()
        seen.add(image.image_id)
    assert seen == set(true_run.images)


def test_coco_panoptic_keeps_panopticapis_rules_and_every_pixel(
    true_run: TrueRun, exported: Export
) -> None:
    folder = exported("coco-panoptic")
    seen = set()
    for image, annotation, png, categories in panoptic_images(
        folder, "annotations/panoptic_{split}.json"
    ):
        truth = true_run.images[image["image_id"]]
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
            truth, ids, {i: categories[s["category_id"]]["name"] for i, s in infos.items()}
        )
        assert all(c["isthing"] == (c["name"] in true_run.things) for c in categories.values())
        picture_file = folder / png.parent.name.removeprefix("panoptic_") / image["file_name"]
        assert picture_file.read_bytes() == truth.file.read_bytes()
        seen.add(image["id"])
    assert len(seen) == len(true_run.images)


def require_instances(truth: TrueImage, coco: COCO, image_id: int, *, classes: set[str]) -> None:
    """All segments of these classes, as pycocotools sees them."""
    found = []
    for annotation in coco.loadAnns(coco.getAnnIds(image_id)):
        (category,) = coco.loadCats(annotation["category_id"])
        mask = coco.annToMask(annotation)
        assert annotation["area"] == mask.sum()
        found.append((category["name"], mask.tobytes()))
    assert sorted(found) == sorted(true_masks(truth, classes))


def true_masks(truth: TrueImage, classes: set[str]) -> list[tuple[str, bytes]]:
    """Class and bytes of the mask of each segment of these classes."""
    return [
        (name, (truth.ids == i).astype(np.uint8).tobytes())
        for i, name in truth.names.items()
        if name in classes
    ]


def test_coco_instances_are_the_things(true_run: TrueRun, exported: Export) -> None:
    num_images = 0
    for split in SPLITS:
        folder = exported("coco-instances")
        coco = COCO(str(folder / f"annotations/instances_{split}.json"))
        assert {c["name"] for c in coco.loadCats(coco.getCatIds())} == true_run.things
        for image in coco.loadImgs(coco.getImgIds()):
            truth = true_run.images[image["image_id"]]
            require_instances(truth, coco, image["id"], classes=true_run.things)
            assert (folder / split / image["file_name"]).stat().st_size == truth.file.stat().st_size
            num_images += 1
    assert num_images == len(true_run.images)


def require_classes(truth: TrueImage, levels: np.ndarray, names: dict[int, str]) -> None:
    assert levels.dtype == np.uint8
    pairs = np.unique(levels.astype(np.int64) * 2**32 + truth.ids).tolist()
    assert [names[p >> 32] for p in pairs] == [truth.names.get(p % 2**32, "") for p in pairs]


def test_semantic_pngs_hold_the_class_of_every_pixel(true_run: TrueRun, exported: Export) -> None:
    folder = exported("semantic-png")
    content = read_json(folder / "classes.json")
    assert content["void"] == 255
    names = {c["index"]: c["name"] for c in content["classes"]} | {255: ""}
    pngs = [png for split in SPLITS for png in (folder / "annotations" / split).iterdir()]
    assert len(pngs) == len(true_run.images)
    for png in pngs:
        truth = true_run.images[png.stem]
        require_classes(truth, np.asarray(Image.open(png)), names)
        picture = folder / "images" / png.parent.name / f"{png.stem}.jpg"
        assert picture.read_bytes() == truth.file.read_bytes()


def test_hugging_face_loads_with_datasets_and_decodes_images(
    true_run: TrueRun, exported: Export, tmp_path: Path
) -> None:
    import datasets

    folder = exported("huggingface")
    loaded = datasets.load_dataset(str(folder), cache_dir=str(tmp_path))
    assert set(loaded) == {"train", "validation"}
    seen = set()
    for split in loaded.values():
        labels = split.features["segments_info"].feature["label"]
        for row in split:
            truth = true_run.images[row["image_id"]]
            names = {s["id"]: labels.int2str(s["label"]) for s in row["segments_info"]}
            require_truth(truth, rgb2id(row["panoptic"]), names)
            assert row["image"].format == "JPEG"
            assert row["image"].size == (row["width"], row["height"])
            assert [s["isthing"] for s in row["segments_info"]] == [
                n in true_run.things for n in names.values()
            ]
            seen.add(row["image_id"])
        raw = split.cast_column("image", datasets.Image(decode=False))[0]
        assert raw["image"]["bytes"] == true_run.images[raw["image_id"]].file.read_bytes()
    assert seen == set(true_run.images)


def test_webdataset_streams_jpg_png_and_json(true_run: TrueRun, exported: Export) -> None:
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
                truth = true_run.images[raw["__key__"]]
                assert raw["jpg"] == truth.file.read_bytes()
            for sample in tar.decode("pil"):
                names = {s["id"]: s["category_name"] for s in sample["json"]["segments_info"]}
                truth = true_run.images[sample["json"]["image_id"]]
                require_truth(truth, rgb2id(sample["png"]), names)
                seen.add(sample["__key__"])
    assert seen == set(true_run.images)


def test_the_registration_script_of_detectron2_gives_records_with_contiguous_ids(
    true_run: TrueRun, exported: Export
) -> None:
    folder = exported("detectron2")
    script = load_script(folder / "register_possam.py")
    metadata = script.read_metadata()
    names = metadata["stuff_classes"]
    assert set(names[: len(metadata["thing_classes"])]) == true_run.things
    places = metadata["stuff_dataset_id_to_contiguous_id"]
    assert sorted(places.values()) == list(range(len(names)))
    assert all(places[id_] == p for id_, p in metadata["thing_dataset_id_to_contiguous_id"].items())
    records = [record for split in SPLITS for record in script.read_records(split)]
    assert len({record["image_id"] for record in records}) == len(true_run.images)
    levels = dict(enumerate(names)) | {metadata["ignore_label"]: ""}
    for record in records:
        truth = true_run.images[Path(record["file_name"]).stem]
        ids = rgb2id(Image.open(record["pan_seg_file_name"]))
        found = {s["id"]: names[s["category_id"]] for s in record["segments_info"]}
        require_truth(truth, ids, found)
        assert [s["isthing"] for s in record["segments_info"]] == [
            n in true_run.things for n in found.values()
        ]
        require_classes(truth, np.asarray(Image.open(record["sem_seg_file_name"])), levels)
        assert (record["height"], record["width"]) == ids.shape
        assert Path(record["file_name"]).read_bytes() == truth.file.read_bytes()


class Catalogs(ModuleType):
    """Stands in for `detectron2.data`: two catalogues that record what they are called with."""

    def __init__(self) -> None:
        super().__init__("detectron2.data")
        self.readers: dict[str, Callable[[], list[dict[str, Any]]]] = {}
        self.metadata: dict[str, SimpleNamespace] = defaultdict(SimpleNamespace)
        self.DatasetCatalog = SimpleNamespace(register=self.readers.__setitem__)
        self.MetadataCatalog = SimpleNamespace(get=self._settable)

    def _settable(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(set=lambda **facts: vars(self.metadata[name]).update(facts))


def test_the_registration_script_registers_both_splits_with_detectron2(
    true_run: TrueRun, exported: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogs = Catalogs()
    monkeypatch.setitem(sys.modules, "detectron2", ModuleType("detectron2"))
    monkeypatch.setitem(sys.modules, "detectron2.data", catalogs)
    script = load_script(exported("detectron2") / "register_possam.py")
    assert script.register() == ["possam_train", "possam_val"]
    records = [record for read in catalogs.readers.values() for record in read()]
    assert len(records) == len(true_run.images)
    for name in ("possam_train", "possam_val"):
        facts = catalogs.metadata[name]
        content = read_json(Path(facts.panoptic_json))
        files = {Path(record["file_name"]).name for record in catalogs.readers[name]()}
        assert files == {image["file_name"] for image in content["images"]}
        assert {path.name for path in Path(facts.image_root).iterdir()} == files
        assert len(list(Path(facts.panoptic_root).iterdir())) == len(files)
        assert len(list(Path(facts.sem_seg_root).iterdir())) == len(files)
        assert facts.ignore_label == 255


def test_fiftyones_coco_layout_has_masks_of_things_and_stuff_and_semantic_masks(
    true_run: TrueRun, exported: Export
) -> None:
    folder = exported("fiftyone")
    script = load_script(folder / "load_fiftyone.py")
    levels = script.read_mask_targets()
    assert min(levels) == 1
    num_images = 0
    for split in SPLITS:
        coco = COCO(str(folder / split / "labels.json"))
        for image in coco.loadImgs(coco.getImgIds()):
            truth = true_run.images[image["image_id"]]
            require_instances(truth, coco, image["id"], classes=set(truth.names.values()))
            png = folder / split / "semantic" / f"{image['image_id']}.png"
            require_classes(truth, np.asarray(Image.open(png)), levels | {0: ""})
            picture = folder / split / "data" / image["file_name"]
            assert picture.read_bytes() == truth.file.read_bytes()
            num_images += 1
    assert num_images == len(true_run.images)


def test_fiftyone_itself_loads_every_mask_and_class(true_run: TrueRun, exported: Export) -> None:
    fiftyone = pytest.importorskip("fiftyone", reason="fiftyone, with its database, is not there")
    script = load_script(exported("fiftyone") / "load_fiftyone.py")
    levels = script.read_mask_targets() | {0: ""}
    num_images = 0
    for split in SPLITS:
        dataset = script.load(split)
        assert dataset.default_mask_targets == script.read_mask_targets()
        for sample in dataset:
            truth = true_run.images[Path(sample.filepath).stem]
            found = [
                (d.label, whole_mask(d, truth.ids.shape).tobytes())
                for d in sample.segments.detections
            ]
            assert sorted(found) == sorted(true_masks(truth, set(truth.names.values())))
            require_classes(truth, sample.semantic.get_mask(), levels)
            num_images += 1
        fiftyone.delete_dataset(dataset.name)
    assert num_images == len(true_run.images)


def whole_mask(detection: Any, image_hw: tuple[int, int]) -> np.ndarray:
    """A detection's mask, which FiftyOne keeps inside its box, in shares of the image."""
    mask = np.zeros(image_hw, np.uint8)
    left, top = detection.bounding_box[:2]
    y, x = round(top * image_hw[0]), round(left * image_hw[1])
    height, width = detection.mask.shape
    mask[y : y + height, x : x + width] = detection.mask
    return mask


def label_studio_tasks(folder: Path) -> list[dict[str, Any]]:
    return [task for file in sorted((folder / "tasks").iterdir()) for task in read_json(file)]


def require_brush(words: np.ndarray, truth: TrueImage, result: dict[str, Any]) -> None:
    """All four channels of the RGBA picture are the mask."""
    segment = int(result["id"].rpartition("-")[2])
    assert (words.reshape(-1, 4) == 255 * (truth.ids.reshape(-1, 1) == segment)).all()


def test_label_studio_tasks_hold_every_segment_as_a_brush(
    true_run: TrueRun, exported: Export
) -> None:
    folder = exported("label-studio")
    config = (folder / "label_config.xml").read_text()
    tasks = label_studio_tasks(folder)
    assert {task["data"]["image_id"] for task in tasks} == set(true_run.images)
    for number, task in enumerate(tasks):
        truth = true_run.images[task["data"]["image_id"]]
        assert task["data"]["image"] == str(truth.file)
        (prediction,) = task["predictions"]
        assert len(prediction["result"]) == len(truth.names)
        for result in prediction["result"]:
            segment = int(result["id"].rpartition("-")[2])
            size = (result["original_height"], result["original_width"])
            assert size == truth.ids.shape
            mask = decode_brush(result["value"]["rle"], size)
            assert (mask == (truth.ids == segment)).all()
            if number < NUM_SLOWLY:
                require_brush(decode_by_bits(result["value"]["rle"]), truth, result)
            (name,) = result["value"]["brushlabels"]
            assert name == truth.names[segment]
            assert f'<Label value="{name}"' in config


def test_label_studios_own_package_reads_the_brushes(true_run: TrueRun, exported: Export) -> None:
    brush = pytest.importorskip(
        "label_studio_sdk.converter.brush", reason="label-studio-sdk is not there"
    )
    for task in label_studio_tasks(exported("label-studio"))[:NUM_SLOWLY]:
        truth = true_run.images[task["data"]["image_id"]]
        for result in task["predictions"][0]["result"]:
            require_brush(brush.decode_rle(result["value"]["rle"]), truth, result)
