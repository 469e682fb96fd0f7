"""FiftyOne: its COCO layout with a mask for every segment, semantic masks, and a loading script.

FiftyOne has no panoptic type: its detections with masks hold things and stuff alike.

train/data/*.jpg  train/labels.json  train/semantic/*.png  categories.json  load_fiftyone.py
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from pipelines.export import fiftyone_script
from pipelines.export.coco import coco_record, instance_annotations, write_coco
from pipelines.export.example import Example
from pipelines.export.protocol import ImageUse, Record, Unit, Whole

BACKGROUND = 0  # FiftyOne does not draw this level


class FiftyOne:
    """Opens with `fiftyone.types.COCODetectionDataset`, one split at a time."""

    image_use = ImageUse.COPIED

    def write_unit(self, examples: Iterable[Example], unit: Unit) -> Iterator[tuple[str, Record]]:
        """Write the picture of each example, and its classes."""
        bit_depth: Literal[8, 16] = 8 if len(unit.classes.classes) < 2**8 else 16
        for example in examples:
            assert example.picture is not None
            png = example.classes_png(void=BACKGROUND, bit_depth=bit_depth, first=BACKGROUND + 1)
            data_key = f"{example.split}/data/{example.file_name}"
            unit.folder.put(data_key, example.picture.data)
            unit.folder.put(f"{example.split}/semantic/{example.stem}.png", png)
            annotations = instance_annotations(example, is_stuff_too=True)
            yield example.split, coco_record(example, annotations)

    def join(self, whole: Whole) -> None:
        """Write the JSONs, the categories and the script."""
        categories = whole.classes.to_json()
        write_coco(whole, "{split}/labels.json", categories)
        whole.folder.put_json("categories.json", categories)
        whole.folder.put("load_fiftyone.py", Path(fiftyone_script.__file__).read_bytes())
