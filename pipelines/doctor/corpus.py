"""Checks the images: they can be listed, read and decoded."""

from collections.abc import Sequence

from pipelines.corpus.image import InputImage
from pipelines.corpus.source import read_source
from pipelines.doctor.check import Check
from pipelines.fetch.image_reader import ImageReader
from possam_core.images.decode import ImageError, decode_image

MAX_TRIED = 5  # a corpus may begin with a bad image


def check_images(images: str, allowed_hosts: Sequence[str]) -> Check:
    """One of the first images of a listing can be read and decoded.

    Raises:
        ConfigError: the images cannot be listed, or there is none.
        Exception: the store failed, and the retries did not help.
    """
    first = next(read_source(images, allowed_hosts=allowed_hosts))
    rows = first.slice(0, MAX_TRIED).to_pylist()
    reader = ImageReader(allowed_hosts)
    problems = []
    for row in rows:
        image = InputImage(
            image_id=row["image_id"] or "",
            uri=row["uri"],
            size=row["size"],
            etag=row["etag"],
            container=row["container"],
            offset=row["offset"],
        )
        try:
            height, width, _ = decode_image(reader.read(image)).pixels.shape
        except ImageError as error:
            problems.append(f"{image.uri} is {error.code.value} ({error})")
        else:
            finding = f"{image.uri} can be read: {width} x {height} pixels"
            return Check(name="images", verdict="ok", finding="; ".join([finding, *problems]))
    return Check(
        name="images",
        verdict="failed",
        finding=f"none of the first {len(rows)} can be labelled: {problems[0]}",
        remedy="look at that file, and check that the address is that of the images",
    )
