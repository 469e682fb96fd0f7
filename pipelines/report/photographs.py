"""The photographs of a page: read from wherever they are, or for a reason not there."""

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import urlsplit

from pipelines.corpus.image import InputImage
from pipelines.fetch.image_reader import ImageReader
from pipelines.redaction import without_secrets
from pipelines.storage.store import STORE_ERRORS
from possam_core.errors import counted, first_line
from possam_core.images.decode import ImageError


class Photographs:
    """Reads planned images for pages, which are made without those that cannot be read.

    A store that fails before it has given a single image is not asked again: each further image
    would take as long to fail. Safe to call from many threads.
    """

    def __init__(self, allowed_hosts: Sequence[str] = ()) -> None:
        """Read web addresses of `allowed_hosts` only."""
        self._reader = ImageReader(allowed_hosts)
        self._lock = threading.Lock()
        self._num_read: Counter[str] = Counter()  # by store
        self._given_up: dict[str, str] = {}  # store -> why
        self._num_missing = 0
        self._first_reason = ""

    def units(self, images: Iterable[InputImage]) -> Iterator[list[InputImage]]:
        """The images in order, in lists for `read`."""
        return self._reader.units(images)

    def read(self, unit: list[InputImage]) -> list[bytes | None]:
        """The bytes of each image of a unit, or None."""
        store = _store_of(unit[0])
        reason = self._given_up.get(store)
        contents: Sequence[bytes | ImageError]
        if reason is None:
            try:
                contents = [fetched.data for fetched in self._reader.fetch(unit)]
            except STORE_ERRORS as error:
                reason = without_secrets(first_line(error))
        with self._lock:
            if reason is not None:
                if not self._num_read[store]:
                    self._given_up[store] = reason
                self._note_missing(len(unit), reason)
                return [None] * len(unit)
            for content in contents:
                if isinstance(content, ImageError):
                    self._note_missing(1, str(content))
                else:
                    self._num_read[store] += 1
        return [None if isinstance(c, ImageError) else c for c in contents]

    def _note_missing(self, number: int, reason: str) -> None:
        self._num_missing += number
        self._first_reason = self._first_reason or reason

    @property
    def note(self) -> str:
        """A sentence about the photographs that could not be read; empty: all could."""
        if not self._num_missing:
            return ""
        many = counted(self._num_missing, "photograph")
        return (
            f"{many} could not be read (the first: {self._first_reason}), so the labels are shown"
            " alone; restore the images, or the access to them, and write the page again"
        )


def _store_of(image: InputImage) -> str:
    parts = urlsplit(image.container or image.uri)
    return f"{parts.scheme}://{parts.netloc}"
