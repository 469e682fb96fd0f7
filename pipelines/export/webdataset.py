"""WebDataset: a tar for each shard and split, with jpg, png and json of each image.

train-00000042.tar  val-00000042.tar  train-index.json  categories.json
"""

import io
import json
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

from pipelines.export.example import Example
from pipelines.export.protocol import ImageUse, Record, Unit, Whole


class WebDataset:
    """Streams with webdataset; the PNG holds ids as COCO panoptic has them."""

    image_use = ImageUse.COPIED

    def write_unit(self, examples: Iterable[Example], unit: Unit) -> Iterator[tuple[str, Record]]:
        """Write the tars, each in a temporary file until complete."""
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="possam-export-")))
            tars: dict[str, tarfile.TarFile] = {}
            for example in examples:
                if example.split not in tars:
                    path = folder / example.split
                    tars[example.split] = stack.enter_context(
                        tarfile.open(path, "w", format=tarfile.USTAR_FORMAT)
                    )
                for name, data in _members(example):
                    # No time and no owner, so that the same labels give the same bytes.
                    member = tarfile.TarInfo(name)
                    member.size = len(data)
                    tars[example.split].addfile(member, io.BytesIO(data))
                yield example.split, {}
            for split, tar in tars.items():
                tar.close()
                unit.folder.replace_file(tar_key(split, unit.number), folder / split)

    def join(self, whole: Whole) -> None:
        """Write the number of images of each tar, and the categories."""
        for split, units in whole.num_images_in.items():
            shards = [{"url": tar_key(split, n), "nsamples": num} for n, num in units.items()]
            index = {"wids_version": 1, "__kind__": "wids-shard-index-v1", "shardlist": shards}
            whole.folder.put_json(f"{split}-index.json", index)
        whole.folder.put_json("categories.json", whole.classes.to_json())


def tar_key(split: str, unit: int) -> str:
    """The key of the tar of a shard and split."""
    return f"{split}-{unit:08d}.tar"


def _members(example: Example) -> Iterator[tuple[str, bytes]]:
    assert example.picture is not None
    height, width = example.image_hw
    content = {
        **example.facts(),
        "width": width,
        "height": height,
        "segments_info": [
            segment.to_json() | {"category_name": segment.category.name}
            for segment in example.segments
        ],
    }
    yield f"{example.stem}.jpg", example.picture.as_jpeg().data
    yield f"{example.stem}.png", example.ids_png()
    yield f"{example.stem}.json", json.dumps(content, ensure_ascii=False).encode()
