"""Lists a bucket in the order of its keys, many prefixes in parallel and a few pages ahead."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import Any

import botocore.session
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    ParamValidationError,
)
from botocore.parsers import ResponseParserError

from pipelines.corpus.found_image import FoundImage
from pipelines.corpus.glob_pattern import GlobPattern, split_glob
from pipelines.storage.addresses import S3_SCHEME, split_s3
from pipelines.storage.retry import Patience, retry
from possam_core.ahead import in_order
from possam_core.errors import ConfigError, one_line

THREADS = 16
PAGES_AHEAD = 8  # of each prefix
ENOUGH_PREFIXES = 64  # to keep the threads busy although some hold little
MAX_DEPTH = 8  # of looking for them
PATIENCE = Patience(tries=5, first_pause_s=0.5)  # with one question

# Raised when the XML of a damaged answer is parsed, or by the connection.
DAMAGE = (BotoCoreError, ResponseParserError, ValueError, KeyError, TypeError, AttributeError)


def list_s3(images: str, endings: tuple[str, ...]) -> Iterator[FoundImage]:
    """The objects of these endings below a prefix or in a glob, or a single object.

    Raises:
        ConfigError: the bucket cannot be listed.
    """
    _, key = split_s3(images)
    literal, is_glob = split_glob(key)
    listing = _Listing(
        client=_client(),
        images=images,
        endings=endings,
        pattern=GlobPattern(key) if is_glob else None,
    )
    if not is_glob and key:
        if key.lower().endswith(endings) and (named := listing.find(key)):
            yield named
            return
        literal = f"{key}/"
    for page in in_order(listing.sources(literal), threads=THREADS, ahead=PAGES_AHEAD):
        yield from page


@dataclass(frozen=True, slots=True)
class _Wide:
    """A prefix with more entries than one page."""

    prefix: str


_Page = list[FoundImage]
_Unit = str | _Wide | _Page  # a prefix to list, a wide one, or objects that are listed already


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listing:
    """Lists the wanted objects of one bucket."""

    client: Any
    images: str
    endings: tuple[str, ...]
    pattern: GlobPattern | None  # of keys

    def find(self, key: str) -> FoundImage | None:
        """The object with exactly this key, if any; it is the first of those with this prefix."""
        units, _ = self._ask(Prefix=key, MaxKeys=1)
        found = [image for unit in units if isinstance(unit, list) for image in unit]
        return next((image for image in found if image.relative_uri == key), None)

    def sources(self, prefix: str) -> Iterator[Iterator[_Page]]:
        """Parts of the listing of `prefix`, in the order of keys, to be read in parallel."""
        units: list[_Unit] = [prefix]
        with ThreadPoolExecutor(THREADS) as pool:
            for _ in range(MAX_DEPTH):
                if not 0 < sum(isinstance(unit, str) for unit in units) < ENOUGH_PREFIXES:
                    break
                units = [part for parts in pool.map(self._split, units) for part in parts]
        for unit in units:
            yield from self._parts(unit)

    def _split(self, unit: _Unit) -> list[_Unit]:
        """The entries directly below a prefix; the unit itself if it is not a prefix."""
        if not isinstance(unit, str):
            return [unit]
        units, token = self._ask(Prefix=unit, Delimiter="/")
        return units if token is None else [_Wide(unit)]

    def _parts(self, unit: _Unit) -> Iterator[Iterator[_Page]]:
        if isinstance(unit, str):
            yield self._pages(unit)
        elif isinstance(unit, list):
            yield iter([unit])
        else:
            for units in self._answers(Prefix=unit.prefix, Delimiter="/"):
                for part in units:
                    yield from self._parts(part)

    def _pages(self, prefix: str) -> Iterator[_Page]:
        """All objects below `prefix`, or only those directly in it if none deeper can match."""
        is_flat = self.pattern is not None and self.pattern.ends_in(prefix.removesuffix("/"))
        for units in self._answers(Prefix=prefix, **({"Delimiter": "/"} if is_flat else {})):
            yield from (unit for unit in units if isinstance(unit, list))

    def _answers(self, **request: str) -> Iterator[list[_Unit]]:
        units, token = self._ask(**request)
        yield units
        while token is not None:
            units, token = self._ask(**request, ContinuationToken=token)
            yield units

    def _ask(self, **request: str | int) -> tuple[list[_Unit], str | None]:
        """One answer of the store, and the token of the next one; None: it was the last."""
        bucket, _ = split_s3(self.images)

        def ask() -> tuple[list[_Unit], str | None]:
            answer = self.client.list_objects_v2(Bucket=bucket, **request)
            return self._units(bucket, answer), _next_token(answer)

        try:
            return retry(ask, PATIENCE, is_transient=_may_pass, what=f"listing {self.images}")
        except (ClientError, *DAMAGE) as error:
            raise self._unreadable(error) from error

    def _units(self, bucket: str, answer: dict[str, Any]) -> list[_Unit]:
        entries = [(item["Key"], item) for item in answer.get("Contents", ())]
        entries += [(item["Prefix"], None) for item in answer.get("CommonPrefixes", ())]
        units: list[_Unit] = []
        page: _Page | None = None  # the one that is being filled
        for name, item in sorted(entries, key=itemgetter(0)):
            if item is None:
                if self.pattern is None or self.pattern.may_hold(name.removesuffix("/")):
                    units.append(name)
                    page = None
            elif name.lower().endswith(self.endings) and (
                self.pattern is None or self.pattern.matches(name)
            ):
                if page is None:
                    units.append(page := [])
                page.append(_found(bucket, item))
        return units

    def _unreadable(self, error: Exception) -> ConfigError:
        reason = one_line(error)
        return ConfigError(
            f"expected a readable prefix at {self.images}, but listing it failed ({reason});"
            " check the address, AWS_ENDPOINT_URL and the credentials"
        )


def _found(bucket: str, item: dict[str, Any]) -> FoundImage:
    return FoundImage(
        uri=f"{S3_SCHEME}{bucket}/{item['Key']}",
        relative_uri=item["Key"],
        size=item["Size"],
        etag=item["ETag"].strip('"'),
        modified=item["LastModified"],
    )


def _next_token(answer: dict[str, Any]) -> str | None:
    token: str | None = answer.get("NextContinuationToken")
    # With a damaged flag the listing would end early without an error.
    if (token is not None) != answer["IsTruncated"]:
        raise ValueError("an answer that says both that it is and that it is not the last one")
    return token


def _may_pass(error: Exception) -> bool:
    """Whether repeating the request may help."""
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        code = error.response.get("Error", {}).get("Code")
        return not 400 <= status < 500 or status == 429 or code == "RequestTimeout"
    is_final = isinstance(error, (NoCredentialsError, ParamValidationError))
    return isinstance(error, DAMAGE) and not is_final


def _client() -> Any:
    session = botocore.session.get_session()
    # The usual parser of times takes two thirds of the time of a listing.
    parsers = session.get_component("response_parser_factory")
    parsers.set_parser_defaults(timestamp_parser=datetime.fromisoformat)
    once = {"total_max_attempts": 1}  # `_ask` repeats, for more causes than the client would
    config = Config(max_pool_connections=THREADS, connect_timeout=10, retries=once)
    return session.create_client("s3", config=config)
