"""Whole and sound objects from a store that may send short, damaged or no bytes.

Every client of S3 silently accepts a flipped byte, or a short body whose announced length matches.
The etag of most objects is the MD5 of their bytes, which tells; where it is something else (server
side encryption, multipart uploads), all that can be asked for is the announced length.
"""

import hashlib
import logging
import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import GenericError
from obstore.store import ObjectStore

if TYPE_CHECKING:
    from obstore import ObjectMeta

logger = logging.getLogger(__name__)

MD5_ETAG = re.compile(r'"?([0-9a-f]{32})"?')
TROUBLE_TRIES = 3
DAMAGE_TRIES = 6  # one flipped read in twenty gives six in a row once in 64 million times
FIRST_PAUSE_S = 0.1  # doubles with every try; the client itself waits out longer trouble


class DamagedReadError(OSError):
    """The store sends other bytes than it announces, however often it is asked."""


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
            size: in bytes, if known; anything else counts as damage.

        Raises:
            FileNotFoundError: there is no such object.
            ValueError: the client cannot address that key.
            DamagedReadError: the bytes are short or damaged, every time.
            GenericError: trouble that outlasted the retries.
        """
        num_troubles = num_damaged = 0
        unlike_etag: set[bytes] = set()  # digests of what is whole but not of the etag's MD5
        while num_damaged < DAMAGE_TRIES:
            time.sleep(FIRST_PAUSE_S * (2 ** (num_troubles + num_damaged) - 1))
            try:
                reply = obstore.get(self._store, key)
                check(reply.meta)
                data = bytes(reply.bytes())
            except GenericError:
                num_troubles += 1
                if num_troubles == TROUBLE_TRIES:
                    raise
                logger.info("reading %s failed, once more", key, exc_info=True)
                continue
            is_whole = len(data) == (reply.meta["size"] if size is None else size)
            if is_whole and self._agrees(reply.meta["e_tag"], data):
                return data
            num_damaged += 1
            unlike_etag.add(hashlib.blake2b(data).digest() if is_whole else b"")
            logger.info("%s came short or damaged, once more", key)
        if len(unlike_etag) == 1 and unlike_etag != {b""}:  # always the same: this etag is no MD5
            self._is_never_md5 = self._num_matches == 0
            return data
        raise DamagedReadError(f"the store sent other bytes than it announced {DAMAGE_TRIES} times")

    def _agrees(self, etag: str | None, data: bytes) -> bool:
        md5 = MD5_ETAG.fullmatch(etag or "")
        if md5 is None or self._is_never_md5:
            return True
        if hashlib.md5(data, usedforsecurity=False).hexdigest() != md5[1]:
            return False
        self._num_matches += 1
        return True
