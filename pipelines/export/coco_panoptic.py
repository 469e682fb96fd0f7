"""COCO panoptic: a JSON and a folder of id PNGs for each split, beside the images.

annotations/panoptic_train.json  annotations/panoptic_train/*.png  train/*.jpg
"""

from collections.abc import Iterable, Iterator

from pipelines.export.coco import coco_record, write_coco
from pipelines.export.example import Example
from pipelines.export.protocol import ImageUse, Record, Unit, Whole
from pipelines.formats.coco_panoptic import annotation_record

JSON_KEY = "annotations/panoptic_{split}.json"


class CocoPanoptic:
    """Opens with panopticapi and other readers of COCO's panoptic task."""

    image_use = ImageUse.OPTIONAL

    def write_unit(self, examples: Iterable[Example], unit: Unit) -> Iterator[tuple[str, Record]]:
        """Write a PNG for each example, and its picture."""
        for example in examples:
            png_name = f"{example.stem}.png"
            png_folder = f"annotations/panoptic_{example.split}"
            unit.folder.put(f"{png_folder}/{png_name}", example.ids_png())
            if example.picture is not None:
                unit.folder.put(f"{example.split}/{example.file_name}", example.picture.data)
            yield example.split, panoptic_record(example)

    def join(self, whole: Whole) -> None:
        """Write the JSONs."""
        write_coco(whole, JSON_KEY, whole.classes.to_json())


def panoptic_record(example: Example) -> Record:
    """The JSON records of an image and of its PNG."""
    segments = [segment.to_json() for segment in example.segments]
    return coco_record(example, [annotation_record(f"{example.stem}.png", segments)])
