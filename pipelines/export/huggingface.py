"""Hugging Face: Parquet that `datasets` loads with decoded images, and a dataset card.

data/train-00000042.parquet  data/validation-00000042.parquet  README.md
"""

import json
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.export.classes import ClassMap
from pipelines.export.example import VAL, Example
from pipelines.export.huggingface_card import dataset_card
from pipelines.export.protocol import ImageUse, Record, Unit, Whole

ROWS_A_GROUP = 100  # so that a viewer reads a page without the whole file
IMAGE_TYPE = pa.struct({"bytes": pa.binary(), "path": pa.string()})
SEGMENT_TYPE = pa.struct(
    {
        "id": pa.int64(),
        "category_id": pa.int64(),
        "label": pa.int64(),
        "area": pa.int64(),
        "bbox": pa.list_(pa.int64()),
        "iscrowd": pa.bool_(),
        "isthing": pa.bool_(),
        "score": pa.float32(),
    }
)
SCHEMA = pa.schema(
    {
        "image": IMAGE_TYPE,
        "panoptic": IMAGE_TYPE,
        "image_id": pa.string(),
        "uri": pa.string(),
        "width": pa.int64(),
        "height": pa.int64(),
        "grade": pa.string(),
        "corrected_by": pa.string(),
        "corrected_at": pa.string(),
        "segments_info": pa.list_(SEGMENT_TYPE),
    }
)


class HuggingFace:
    """Loads with `datasets.load_dataset(folder)`."""

    image_use = ImageUse.COPIED

    def write_unit(self, examples: Iterable[Example], unit: Unit) -> Iterator[tuple[str, Record]]:
        """Write a Parquet file for each split, which stays in a temporary file until complete."""
        metadata = {"huggingface": json.dumps({"info": {"features": features(unit.classes)}})}
        schema = SCHEMA.with_metadata(metadata)
        waiting: dict[str, list[Record]] = {}
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="possam-export-")))
            writers: dict[str, pq.ParquetWriter] = {}
            for example in examples:
                split = example.split
                if split not in writers:
                    writer = pq.ParquetWriter(folder / split, schema, compression="snappy")
                    writers[split] = stack.enter_context(writer)
                    waiting[split] = []
                waiting[split].append(_row(example))
                if len(waiting[split]) == ROWS_A_GROUP:
                    writers[split].write_table(pa.Table.from_pylist(waiting[split], schema))
                    waiting[split].clear()
                yield split, {}
            for split, writer in writers.items():
                if waiting[split]:
                    writer.write_table(pa.Table.from_pylist(waiting[split], schema))
                writer.close()
                key = f"data/{split_name(split)}-{unit.number:08d}.parquet"
                unit.folder.replace_file(key, folder / split)

    def join(self, whole: Whole) -> None:
        """Write the dataset card, which also maps files to splits."""
        splits = {split_name(split): num for split, num in whole.num_images.items()}
        card = dataset_card(whole.provenance, splits, whole.classes)
        whole.folder.put("README.md", card.encode())


def split_name(split: str) -> str:
    """Hugging Face's name of a split."""
    return "validation" if split == VAL else split


def features(classes: ClassMap) -> dict[str, Any]:
    """The columns as features of `datasets`, so that it decodes images and names classes."""

    def value(dtype: str) -> dict[str, str]:
        return {"dtype": dtype, "_type": "Value"}

    label = {"names": [c.name for c in classes.classes], "_type": "ClassLabel"}
    segment = {
        "id": value("int64"),
        "category_id": value("int64"),
        "label": label,
        "area": value("int64"),
        "bbox": [value("int64")],
        "iscrowd": value("bool"),
        "isthing": value("bool"),
        "score": value("float32"),
    }
    return {
        "image": {"_type": "Image"},
        "panoptic": {"_type": "Image"},
        "image_id": value("string"),
        "uri": value("string"),
        "width": value("int64"),
        "height": value("int64"),
        "grade": value("string"),
        "corrected_by": value("string"),
        "corrected_at": value("string"),
        "segments_info": [segment],
    }


def _row(example: Example) -> Record:
    assert example.picture is not None
    height, width = example.image_hw
    return {
        "image": {"bytes": example.picture.data, "path": example.file_name},
        "panoptic": {"bytes": example.ids_png(), "path": f"{example.stem}.png"},
        **example.facts(),
        "width": width,
        "height": height,
        "segments_info": [
            segment.to_json()
            | {"label": segment.category.index, "isthing": segment.category.is_thing}
            | {"iscrowd": segment.is_crowd}
            for segment in example.segments
        ],
    }
