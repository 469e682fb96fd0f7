"""Runs on a store without conditional writes: a real server that ignores the condition."""

import threading
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import pytest
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from pipelines.label.session import run_label, run_retry
from pipelines.planning.canary import canary_config, plan_canary
from pipelines.planning.prepare import prepare
from pipelines.planning.retry import retry_config
from pipelines.planning.series import Series
from pipelines.run.folder import RunFolder, shard_key
from pipelines.settings.label import LabelConfig
from possam_core.errors import ConfigError
from tests.factories import encode, make_pixels

pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.fixture
def careless_bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket behind a server that ignores If-None-Match, for this process."""
    fsspec.filesystem("s3").makedirs("careless", exist_ok=True)
    moto = DomainDispatcherApplication(create_backend_app)

    def unconditional(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ.pop("HTTP_IF_NONE_MATCH", None)
        answer: Iterable[bytes] = moto(environ, start_response)
        return answer

    server = make_server("127.0.0.1", 0, unconditional, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    yield "s3://careless"
    server.shutdown()
    server.server_close()


@pytest.fixture
def config(careless_bucket: str, tmp_path: Path, tiny_model: str) -> LabelConfig:
    """A run of three images in two shards, with a single writer."""
    (tmp_path / "images").mkdir()
    for i in range(3):
        (tmp_path / f"images/{i}.jpg").write_bytes(encode(make_pixels(seed=i)))
    return LabelConfig(
        images=str(tmp_path / "images"),
        output=f"{careless_bucket}/{tmp_path.name}/run",
        model=tiny_model,
        num_workers=1,
        shard_size=2,
        single_writer=True,
    )


def test_without_it_such_a_store_is_refused(config: LabelConfig) -> None:
    with pytest.raises(ConfigError, match=r"conditional writes.*add --single-writer"):
        prepare(replace(config, single_writer=False))


def test_a_run_with_a_single_writer_goes_on_and_is_retried(config: LabelConfig) -> None:
    prepare(config)
    gone = Path(config.images, "2.jpg")
    content = gone.read_bytes()
    gone.unlink()
    first = run_label(config)
    assert first.manifest is not None
    assert first.manifest.totals.errors == {"not_found": 1}
    RunFolder(config.output).remove([shard_key(0)])
    again = run_label(config)
    assert again.num_images == 2
    assert again.manifest is not None
    assert again.manifest.root_hash == first.manifest.root_hash
    gone.write_bytes(content)
    with pytest.raises(ConfigError, match=r"conditional writes.*add --single-writer"):
        run_retry(retry_config(config.output), ("not_found",))
    retried = run_retry(replace(retry_config(config.output), single_writer=True))
    assert retried.manifest is not None
    assert retried.manifest.totals.ok == 3


def test_a_canary_and_a_series_keep_their_single_writer(config: LabelConfig) -> None:
    canary = canary_config(config, 2)
    plan_canary(prepare(config).plan, config.output, canary)
    series = replace(config, output=f"{config.output}s")
    new = Series(series).plan_new()
    assert new is not None
    (unfinished,) = Series(series).unfinished()
    assert unfinished == new
    for planned in (canary, new):
        assert run_label(planned).manifest is not None
