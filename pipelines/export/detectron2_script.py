"""Registers this folder with detectron2, for Mask2Former and its relatives.

Put in a training program, with this folder on `sys.path`:

    import register_possam
    register_possam.register()  # "possam_train" and, if there is one, "possam_val"

Only `register` needs detectron2.
"""

import json
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent


def read_metadata() -> dict[str, Any]:
    """The metadata that trainers and evaluators read.

    The list of stuff names also holds the things, because a model for panoptic segmentation has
    one output for each class; the contiguous id of a class is its place in that list.
    """
    content = json.loads((ROOT / "categories.json").read_text(encoding="utf-8"))
    categories = content["categories"]  # things first
    places = {category["id"]: place for place, category in enumerate(categories)}
    things = [category for category in categories if category["isthing"]]
    return {
        "thing_classes": [category["name"] for category in things],
        "thing_colors": [category["color"] for category in things],
        "stuff_classes": [category["name"] for category in categories],
        "stuff_colors": [category["color"] for category in categories],
        "thing_dataset_id_to_contiguous_id": {c["id"]: places[c["id"]] for c in things},
        "stuff_dataset_id_to_contiguous_id": places,
        "ignore_label": content["void"],
        "label_divisor": 1000,
        "evaluator_type": "coco_panoptic_seg",
    }


def read_records(split: str) -> list[dict[str, Any]]:
    """One record an image, in detectron2's standard form, with contiguous category ids."""
    content = json.loads((ROOT / f"panoptic_{split}.json").read_text(encoding="utf-8"))
    places = read_metadata()["stuff_dataset_id_to_contiguous_id"]
    is_thing = {category["id"]: bool(category["isthing"]) for category in content["categories"]}
    annotations = {annotation["image_id"]: annotation for annotation in content["annotations"]}
    records = []
    for image in content["images"]:
        annotation = annotations[image["id"]]
        records.append(
            {
                "file_name": str(ROOT / split / image["file_name"]),
                "image_id": image["id"],
                "height": image["height"],
                "width": image["width"],
                "pan_seg_file_name": str(ROOT / f"panoptic_{split}" / annotation["file_name"]),
                "sem_seg_file_name": str(ROOT / f"semantic_{split}" / annotation["file_name"]),
                "segments_info": [
                    segment
                    | {
                        "category_id": places[segment["category_id"]],
                        "isthing": is_thing[segment["category_id"]],
                    }
                    for segment in annotation["segments_info"]
                ],
            }
        )
    return records


def register(prefix: str = "possam") -> list[str]:
    """Register `<prefix>_train` and `<prefix>_val` if they exist; return their names."""
    from detectron2.data import (  # type: ignore[import-not-found, unused-ignore]
        DatasetCatalog,
        MetadataCatalog,
    )

    names = []
    for split in ("train", "val"):
        panoptic_json = ROOT / f"panoptic_{split}.json"
        if panoptic_json.exists():
            name = f"{prefix}_{split}"
            DatasetCatalog.register(name, partial(read_records, split))
            MetadataCatalog.get(name).set(
                image_root=str(ROOT / split),
                panoptic_root=str(ROOT / f"panoptic_{split}"),
                panoptic_json=str(panoptic_json),
                sem_seg_root=str(ROOT / f"semantic_{split}"),
                **read_metadata(),
            )
            names.append(name)
    return names
