"""A few small pictures of a run: images with their labels drawn over them.

Axes: H W pixels of the image, h w pixels of the picture.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image

from pipelines.fetch.image_reader import ImageReader
from pipelines.reader.image import LabelledImage
from pipelines.reader.run import LabelledRun, open_run
from pipelines.report.overlay import draw_overlay
from pipelines.run.grading import shown_grade
from pipelines.run.id_map import id_map
from pipelines.storage.store import STORE_ERRORS
from possam_core.images.decode import ImageError

SIDE_PX = 176  # at most
JPEG_QUALITY = 70


@dataclass(frozen=True, slots=True, kw_only=True)
class Thumbnail:
    """One labelled image, small enough to embed in a text."""

    name: str
    grade: str
    jpeg: bytes  # some 6 KB


def make_thumbnails(
    location: str, num_images: int, *, allowed_hosts: tuple[str, ...] = ()
) -> list[Thumbnail]:
    """Pictures of up to `num_images` labelled images, spread evenly over the run at `location`.

    Raises:
        ConfigError: there is no run, or a file of it is damaged.
    """
    reader = ImageReader(allowed_hosts)
    thumbnails = []
    run = open_run(location)
    for image in _some_images(run, num_images):
        quality = image.row["quality"]
        try:
            pixels = image.pixels(reader)
        except (ImageError, *STORE_ERRORS):  # gone or changed since it was labelled
            continue
        thumbnails.append(
            Thumbnail(
                name=PurePosixPath(image.uri).name or image.uri,
                grade=shown_grade(quality["grade"], quality["reasons"], run.uncalibrated),
                jpeg=_jpeg(pixels, image),
            )
        )
    return thumbnails


def _some_images(run: LabelledRun, num_images: int) -> Iterator[LabelledImage]:
    """Images at equal distances, fewer where shards have few labels."""
    shards = run.shards()
    places = np.linspace(0, len(shards), num_images, endpoint=False)
    for shard in dict.fromkeys(places.astype(int).tolist()):
        wanted = int(np.count_nonzero(places.astype(int) == shard))
        images = run.labelled_shard(shards[shard])
        step = max(1, len(images) // wanted)
        yield from (images[i] for i in range(0, len(images), step)[:wanted])


def _jpeg(pixels: UInt8[ndarray, "H W 3"], image: LabelledImage) -> bytes:
    overlay = draw_overlay(image.row["segments_info"], id_map(image.row), max_side_px=SIDE_PX)
    height, width = overlay.rgba.shape[:2]
    picture = Image.fromarray(pixels).resize((width, height)).convert("RGBA")
    picture.alpha_composite(Image.fromarray(overlay.rgba))
    stream = io.BytesIO()
    picture.convert("RGB").save(stream, "JPEG", quality=JPEG_QUALITY)
    return stream.getvalue()
