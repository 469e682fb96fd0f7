"""A folder of a world's scenes in the COCO panoptic format."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from possam_core.errors import ConfigError
from possam_core.labels.id_colours import rgb_from_ids
from possam_core.playground.scene import Scene, generate_scene
from possam_core.playground.world import PLAYGROUND, World


def _ignore(_: int) -> None:
    pass


def write_corpus(
    output: Path,
    *,
    num_images: int,
    seed: int,
    world: World = PLAYGROUND,
    on_image: Callable[[int], None] = _ignore,
) -> None:
    """Fill the folder `output` with scenes 0 to `num_images` - 1 of `seed` and their annotations.

    The same arguments write the same bytes: `images/*.jpg`, `panoptic/*.png` (id = R + 256 G +
    65536 B), `panoptic.json` and `vocabulary.yaml`.

    Args:
        output: absent or an empty folder.
        on_image: called with the index of each image once it is written.

    Raises:
        ConfigError: `num_images` or `seed` is out of range, or `output` holds something or cannot
            be written.
    """
    if num_images < 1 or seed < 0:
        raise ConfigError(
            "expected at least 1 image and a seed of at least 0, got"
            f" num_images={num_images} and seed={seed}; raise the one that is too small"
        )
    _make_folders(output)
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for index in range(num_images):
        scene = generate_scene(seed, index, world=world)
        stem = f"scene-{index:05d}"
        quality = int(np.random.default_rng((seed, index, 1)).integers(60, 96))
        photo = Image.fromarray(scene.image)
        photo.save(output / "images" / f"{stem}.jpg", quality=quality)
        Image.fromarray(rgb_from_ids(scene.ids)).save(output / "panoptic" / f"{stem}.png")
        images.append(
            {"id": index, "file_name": f"{stem}.jpg", "width": photo.width, "height": photo.height}
        )
        annotations.append(
            {
                "image_id": index,
                "file_name": f"{stem}.png",
                "segments_info": _describe(scene, world),
            }
        )
        on_image(index)
    content = {"images": images, "annotations": annotations, "categories": _categories(world)}
    (output / "panoptic.json").write_text(json.dumps(content), encoding="utf-8")
    records = {"name": world.vocabulary.name, "classes": world.vocabulary.to_records()}
    (output / "vocabulary.yaml").write_text(
        yaml.safe_dump(records, sort_keys=False), encoding="utf-8"
    )


def _make_folders(output: Path) -> None:
    try:
        if output.exists() and (not output.is_dir() or any(output.iterdir())):
            raise ConfigError(
                f"expected an absent or empty folder for the corpus, but {output} holds something;"
                " name another or empty it"
            )
        (output / "images").mkdir(parents=True)
        (output / "panoptic").mkdir()
    except OSError as error:
        raise ConfigError(
            f"expected a folder that can be written at {output}, got {error}; name another"
        ) from error


def _describe(scene: Scene, world: World) -> list[dict[str, object]]:
    classes = world.vocabulary.classes
    segments: list[dict[str, object]] = []
    for segment_id, class_index in enumerate(scene.class_indices, start=1):
        rows, columns = np.nonzero(scene.ids == segment_id)
        x, y = int(columns.min()), int(rows.min())
        segments.append(
            {
                "id": segment_id,
                "category_id": classes[class_index].category_id,
                "area": len(rows),
                "bbox": [x, y, int(columns.max()) + 1 - x, int(rows.max()) + 1 - y],
                "iscrowd": 0,
            }
        )
    return segments


def _categories(world: World) -> list[dict[str, object]]:
    shown = world.training_vocabulary.classes
    return [
        {
            "id": c.category_id,
            "name": c.name,
            "isthing": int(c.is_thing),
            "supercategory": "thing" if c.is_thing else "stuff",
            "seen": int(c in shown),
            "synonyms": list(c.synonyms),
        }
        for c in world.vocabulary.classes
    ]
