"""Reads whole objects from a store that may send short, damaged or no bytes.

Every client of S3 accepts, without an error, a flipped byte or a short body whose announced length
matches. The etag of most objects is the MD5 of their bytes, which reveals both; if it is something
else (server side encryption, multipart uploads), only the announced length can be checked.
"""

import hashlib
import logging
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import GenericError
from obstore.store import ObjectStore

from pipelines.storage.retry import Patience, Retries

if TYPE_CHECKING:
    from obstore import ObjectMeta

logger = logging.getLogger(__name__)

MD5_ETAG = re.compile(r'"?([0-9a-f]{32})"?')
# For requests that fail; the client itself retries for longer.
TROUBLE = Patience(tries=3, first_pause_s=0.2)
# For wrong bytes; if one read in twenty is flipped, six in a row are once in 64 million times.
DAMAGE = Patience(tries=6, first_pause_s=0.2)


class DamagedReadError(OSError):
    """The store sends other bytes than it announces, also when the read is repeated."""


class ObjectReader:
    """Reads from one store; safe to call from many threads."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._num_matches = 0  # of etag and MD5
        self._is_never_md5 = False

    def read(
        self,
        key: str,
        *,
        check: Callable[["ObjectMeta"], None] = lambda _: None,
        size: int | None = None,
    ) -> bytes:
        """The bytes of `key`.

        Args:
            key: relative to the store.
            check: raises if the object's announced etag is not the wanted one.
            size: in bytes, if known; another size counts as damage.

        Raises:
            FileNotFoundError: there is no such object.
            ValueError: the client cannot address that key.
            DamagedReadError: the bytes are short or damaged, every time.
            GenericError: the store failed, and the retries did not help.
        """
        troubles, damages = Retries(TROUBLE), Retries(DAMAGE)
        unlike_etag: set[bytes] = set()  # digests of whole bodies whose MD5 is not the etag
        while True:
            try:
                reply = obstore.get(self._store, key)
                check(reply.meta)
                data = bytes(reply.bytes())
            except GenericError:
                logger.info("reading %s failed", key, exc_info=True)
                if not troubles.again():
                    raise
                continue
            is_whole = len(data) == (reply.meta["size"] if size is None else size)
            if is_whole and self._agrees(reply.meta["e_tag"], data):
                return data
            unlike_etag.add(hashlib.blake2b(data).digest() if is_whole else b"")
            logger.info("%s came short or damaged", key)
            if not damages.again():
                break
        if len(unlike_etag) == 1 and unlike_etag != {b""}:  # always the same: this etag is no MD5
            self._is_never_md5 = self._num_matches == 0
            return data
        raise DamagedReadError(f"the store sent other bytes than it announced {DAMAGE.tries} times")

    def _agrees(self, etag: str | None, data: bytes) -> bool:
        md5 = MD5_ETAG.fullmatch(etag or "")
        if md5 is None or self._is_never_md5:
            return True
        if hashlib.md5(data, usedforsecurity=False).hexdigest() != md5[1]:
            return False
        self._num_matches += 1
        return True
