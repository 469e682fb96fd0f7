"""The image files of an export: the original bytes unless they must be re-encoded."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np
import simplejpeg  # type: ignore[import-untyped]
from numpy import ndarray
from PIL import Image

from pipelines.corpus.image import InputImage
from pipelines.fetch.image_reader import Fetched, ImageReader
from pipelines.storage.addresses import is_remote
from possam_core.ahead import in_order
from possam_core.images.decode import UPRIGHT, decode_image

READ_THREADS = 8
CONTAINER_THREADS = 2  # each holds a range of a file, of many images
UNITS_A_TURN = 4  # read in a row by one thread, because a turn costs as much as a small file
JPEG_QUALITY = 95  # of images that are re-encoded
JPEG = "jpg"
SUFFIXES = {
    b"\xff\xd8\xff": JPEG,
    b"\x89PNG": "png",
    b"RIFF": "webp",
    b"GIF8": "gif",
    b"BM": "bmp",
}


@dataclass(frozen=True, slots=True)
class Picture:
    """An image file."""

    data: bytes
    suffix: str  # of its name, without a dot

    def as_jpeg(self) -> "Picture":
        """The same picture as JPEG, for formats that hold only JPEG."""
        if self.suffix == JPEG:
            return self
        return Picture(_encode_jpeg(decode_image(self.data).pixels), JPEG)


def make_picture(data: bytes, exif_orientation: int) -> Picture:
    """The file to export: `data` itself, or turned upright as the labels are.

    Otherwise programs that ignore the EXIF orientation would lay the labels over a turned image.

    Raises:
        ImageError: it has to be turned, but can no longer be decoded.
    """
    suffix = next((s for begin, s in SUFFIXES.items() if data.startswith(begin)), "bin")
    if exif_orientation == UPRIGHT:
        return Picture(data, suffix)
    pixels = decode_image(data).pixels
    if suffix == JPEG:
        return Picture(_encode_jpeg(pixels), JPEG)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return Picture(stream.getvalue(), "png")


def read_images(reader: ImageReader, images: Sequence[InputImage]) -> Iterator[Fetched]:
    """The images in order; remote ones are read in parallel."""
    units = reader.units(images)
    if not any(is_remote(image.container or image.uri) for image in images[:1]):
        return chain.from_iterable(map(reader.fetch, units))

    def read(turn: list[list[InputImage]]) -> Iterator[Fetched]:
        for unit in turn:
            yield from reader.fetch(unit)

    is_packed = images[0].container is not None
    threads = CONTAINER_THREADS if is_packed else READ_THREADS
    turns = iter(lambda: list(islice(units, 1 if is_packed else UNITS_A_TURN)), [])
    return in_order(map(read, turns), threads=threads, ahead=UNITS_A_TURN)


def _encode_jpeg(pixels: ndarray) -> bytes:
    data: bytes = simplejpeg.encode_jpeg(
        np.ascontiguousarray(pixels), quality=JPEG_QUALITY, colorsubsampling="444"
    )
    return data
