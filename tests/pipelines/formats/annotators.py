"""Files as annotators' tools write them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray
from PIL import Image

Segments = Mapping[int, str]  # id in the map -> class


def write_coco(path: Path, images: Mapping[str, tuple[ndarray, Segments]]) -> Path:
    """A COCO panoptic JSON and its PNGs: by file name a label map and the classes in it."""
    names = sorted({name for _, segments in images.values() for name in segments.values()})
    folder = path.with_suffix("")
    folder.mkdir(exist_ok=True)
    annotations = []
    for number, (ids, segments) in enumerate(images.values()):
        rgb = np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)
        Image.fromarray(rgb).save(folder / f"{number}.png")
        infos = [
            {
                "id": i,
                "category_id": 100 + names.index(name),
                "area": int((ids == i).sum()),
                "iscrowd": 0,
            }
            for i, name in segments.items()
        ]
        annotations.append(
            {"image_id": number, "file_name": f"{number}.png", "segments_info": infos}
        )
    content = {
        "categories": [{"id": 100 + i, "name": name, "isthing": 1} for i, name in enumerate(names)],
        "images": [{"id": i, "file_name": name} for i, name in enumerate(images)],
        "annotations": annotations,
    }
    path.write_text(json.dumps(content))
    return path


def task(image: str, results: Sequence[dict[str, Any]], **data: str) -> dict[str, Any]:
    """A finished task of Label Studio."""
    annotation = {"completed_by": 1, "result": list(results), "updated_at": "2026-01-02T00:00:00Z"}
    return {"id": 1, "data": {"image": image, **data}, "annotations": [annotation]}


def region(
    kind: str, value: Mapping[str, Any], name: str, image_hw: tuple[int, int]
) -> dict[str, Any]:
    """One region of `brush`, `polygon` or `rectangle` labels."""
    return {
        "id": "r1",
        "type": f"{kind}labels",
        "value": {**value, f"{kind}labels": [name]},
        "original_height": image_hw[0],
        "original_width": image_hw[1],
        "image_rotation": 0,
    }


def brush(mask: ndarray, name: str) -> dict[str, Any]:
    """A region that the brush has painted."""
    value = {"format": "rle", "rle": brush_rle(mask)}
    return region("brush", value, name, (mask.shape[0], mask.shape[1]))


def brush_rle(mask: ndarray, alpha: int = 255) -> list[int]:
    """What the brush writes: colour where it has been, so that pixels there are no repetition.

    Words that repeat three times or more become one block, all between them another.
    """
    words = np.zeros((*mask.shape, 4), np.uint8)
    words[mask] = (10, 20, 30, alpha)
    flat = words.ravel().tolist()
    bits = f"{len(flat):032b}{7:05b}" + "".join(f"{size - 1:04b}" for size in (3, 4, 8, 16))
    place, literals = 0, []
    while place < len(flat):
        end = place
        while end < len(flat) and flat[end] == flat[place] and end - place < 2**16:
            end += 1
        if end - place > 2:
            bits += _literal(literals) + f"1{3:02b}{end - place - 1:016b}{flat[place]:08b}"
            literals, place = [], end
        else:
            literals.append(flat[place])
            place += 1
        if len(literals) == 16:
            bits += _literal(literals)
            literals = []
    bits += _literal(literals)
    bits += "0" * (-len(bits) % 8)
    return [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]


def _literal(words: Sequence[int]) -> str:
    return f"0{1:02b}{len(words) - 1:04b}" + "".join(f"{w:08b}" for w in words) if words else ""
