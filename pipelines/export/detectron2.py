"""detectron2 and Mask2Former: folders, and a script that registers them with contiguous ids.

train/*.jpg  panoptic_train.json  panoptic_train/*.png  semantic_train/*.png  register_possam.py
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from pipelines.export import detectron2_script
from pipelines.export.coco import write_coco
from pipelines.export.coco_panoptic import panoptic_record
from pipelines.export.example import Example
from pipelines.export.protocol import ImageUse, Record, Unit, Whole
from pipelines.export.semantic_png import semantic_png, void_level


class Detectron2:
    """Opens with detectron2 through the registration script in the folder."""

    image_use = ImageUse.COPIED

    def write_unit(self, examples: Iterable[Example], unit: Unit) -> Iterator[tuple[str, Record]]:
        """Write the picture of each example, its ids and its classes."""
        for example in examples:
            assert example.picture is not None
            split, png = example.split, f"{example.stem}.png"
            classes = semantic_png(example, unit.classes)
            unit.folder.put(f"{split}/{example.file_name}", example.picture.data)
            unit.folder.put(f"panoptic_{split}/{png}", example.ids_png())
            unit.folder.put(f"semantic_{split}/{png}", classes)
            yield split, panoptic_record(example)

    def join(self, whole: Whole) -> None:
        """Write the JSONs, the categories and the script."""
        categories = whole.classes.to_json()
        write_coco(whole, "panoptic_{split}.json", categories)
        content = {"void": void_level(whole.classes), "categories": categories}
        whole.folder.put_json("categories.json", content)
        whole.folder.put("register_possam.py", Path(detectron2_script.__file__).read_bytes())
