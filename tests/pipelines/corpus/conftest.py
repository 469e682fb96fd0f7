"""Reads a corpus as the planner does, from sound stores and from one that damages answers."""

from collections.abc import Callable, Iterator

import fsspec
import pytest

from pipelines.corpus.source import read_source
from pipelines.schema import INPUT_SCHEMA
from tests.pipelines.clock import Clock
from tests.pipelines.corpus.proxy import Proxy

Rows = list[dict]


@pytest.fixture
def read_rows() -> Callable[..., Rows]:
    """All rows of a source; the schema and size of each batch are checked."""

    def read(images: object, **options: object) -> Rows:
        rows: Rows = []
        for batch in read_source(str(images), **options):
            assert batch.schema == INPUT_SCHEMA
            assert 0 < batch.num_rows <= 8192
            batch.validate(full=True)
            rows += batch.to_pylist()
        return rows

    return read


@pytest.fixture
def make_bucket(s3_server: str) -> Callable[[str, dict[str, bytes]], str]:
    """Fills a bucket, not through a proxy, and returns its address."""

    def make(name: str, objects: dict[str, bytes]) -> str:
        s3 = fsspec.filesystem("s3", endpoint_url=s3_server)
        s3.makedirs(name, exist_ok=True)
        for key, data in objects.items():  # `pipe_file` would not take every key as it is
            s3.call_s3("put_object", Bucket=name, Key=key, Body=data)
        return f"s3://{name}"

    return make


@pytest.fixture
def proxy(s3_server: str, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy between clients and the store for one test; retries do not wait."""
    proxy = Proxy(s3_server)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.address)
    yield proxy
    proxy.close()
