"""Loads one split of this folder into FiftyOne.

    import load_fiftyone
    dataset = load_fiftyone.load("train")

Field `segments` has every segment, things and stuff, with its mask; field `semantic` has the class
of each pixel. Only `load` needs fiftyone.
"""

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent


def read_mask_targets() -> dict[int, str]:
    """The class name of each grey level of the semantic masks; 0 is void."""
    content = json.loads((ROOT / "categories.json").read_text(encoding="utf-8"))
    return {level: category["name"] for level, category in enumerate(content, start=1)}


def load(split: str = "train", name: str | None = None) -> Any:
    """A new FiftyOne data set of the images of `split`."""
    import fiftyone  # type: ignore[import-not-found, unused-ignore]

    folder = ROOT / split
    dataset = fiftyone.Dataset.from_dir(
        dataset_dir=str(folder),
        dataset_type=fiftyone.types.COCODetectionDataset,
        label_types=["segmentations"],
        label_field="segments",
        name=name,
    )
    dataset.default_mask_targets = read_mask_targets()
    for sample in dataset.iter_samples(autosave=True):
        mask = folder / "semantic" / f"{Path(sample.filepath).stem}.png"
        sample["semantic"] = fiftyone.Segmentation(mask_path=str(mask))
    return dataset
