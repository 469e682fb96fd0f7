"""What the formats of the COCO family share: a JSON of images and annotations for each split."""

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pipelines.export.example import Example
from pipelines.export.json_lists import JsonLists
from pipelines.export.protocol import Record, Whole
from pipelines.formats.coco_panoptic import image_record


def coco_record(example: Example, annotations: list[Record]) -> Record:
    """One image and its annotations; `write_coco` adds the ids."""
    image = image_record(example.file_name, example.image_hw, example.facts())
    return {"image": image, "annotations": annotations}


def write_coco(whole: Whole, key: str, categories: list[dict[str, Any]]) -> None:
    """Write the JSON of each split, one image in memory at a time.

    Args:
        whole: an export whose records are `coco_record`s.
        key: the key of a JSON, with `{split}` in it.
        categories: the JSON's categories.
    """
    head = {
        "info": {
            "description": f"labels of plan {whole.provenance['plan_id']}, made by possam",
            "teacher": whole.provenance["teacher"],
            "grades": whole.provenance["grades"],
        },
        "licenses": [],
        "categories": categories,
    }
    with ExitStack() as stack:
        lists: dict[str, JsonLists] = {}
        for split in whole.num_images:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="possam-export-"))
            lists[split] = JsonLists(Path(folder), ("images", "annotations"))
        num_annotations = 0
        for image_id, (split, record) in enumerate(whole.records(), start=1):
            lists[split].append("images", {"id": image_id, **record["image"]})
            for annotation in record["annotations"]:
                num_annotations += 1
                numbers = {"id": num_annotations, "image_id": image_id}
                lists[split].append("annotations", numbers | annotation)
        for split, items in lists.items():
            whole.folder.replace_file(key.format(split=split), items.finish(head))


def instance_annotations(example: Example, *, is_stuff_too: bool) -> list[Record]:
    """The segments as annotations of COCO's detection task."""
    size = list(example.image_hw)
    pairs = zip(example.segments, example.rle_counts(), strict=True)
    return [
        {k: v for k, v in segment.to_json().items() if k != "id"}
        | {"segmentation": {"size": size, "counts": counts}}
        for segment, counts in pairs
        if segment.category.is_thing or is_stuff_too
    ]
