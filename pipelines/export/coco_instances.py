"""COCO instances: the things of each image, with boxes and masks; stuff is left out.

annotations/instances_train.json  train/*.jpg
"""

from collections.abc import Iterable, Iterator

from pipelines.export.coco import coco_record, instance_annotations, write_coco
from pipelines.export.example import Example
from pipelines.export.protocol import ImageUse, Record, Unit, Whole

JSON_KEY = "annotations/instances_{split}.json"


class CocoInstances:
    """Opens with pycocotools and other readers of COCO's detection task."""

    image_use = ImageUse.OPTIONAL

    def write_unit(self, examples: Iterable[Example], unit: Unit) -> Iterator[tuple[str, Record]]:
        """Write the picture of each example."""
        for example in examples:
            if example.picture is not None:
                unit.folder.put(f"{example.split}/{example.file_name}", example.picture.data)
            annotations = instance_annotations(example, is_stuff_too=False)
            yield example.split, coco_record(example, annotations)

    def join(self, whole: Whole) -> None:
        """Write the JSONs."""
        things = [c.to_json() for c in whole.classes.classes if c.is_thing]
        write_coco(whole, JSON_KEY, things)
