"""Requests of a run, counted by a proxy in front of an S3 server.

10,240 small images are stored as one object each, and again in ten tar files; corpus and run are in
buckets, shards have 1,024 images, and everything is counted: planning, labelling, progress records
and the manifest. Writes `build/bench/requests.json`.

usage: python -m benchmarks.requests
"""

import io
import logging
import os
import platform
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import fsspec
import obstore
from moto.server import ThreadedMotoServer
from rich.console import Console
from rich.table import Table

from benchmarks.report import write_json
from benchmarks.stand_in import MODEL, loader
from pipelines.label.session import run_label
from pipelines.settings.label import LabelConfig
from pipelines.storage.store import open_bucket
from tests.chaos.corpus import make_corpus
from tests.chaos.fault_proxy import FaultProxy, start_proxy

OUTPUT = Path("build/bench/requests.json")
NUM_IMAGES = 10_240
NUM_TARS = 10
BUCKETS = ("images", "tars", "runs")


@contextmanager
def counted_store() -> Iterator[FaultProxy]:
    """An S3 server of our own, reached through a proxy that counts."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with start_proxy(f"http://{host}:{port}", seed=0) as proxy:
        os.environ |= {
            "AWS_ENDPOINT_URL": proxy.address,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "nobody",
            "AWS_SECRET_ACCESS_KEY": "nothing",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        yield proxy
    server.stop()


def upload(images: dict[str, bytes]) -> None:
    """Put the images as single objects and in tar files."""
    for bucket in BUCKETS:
        fsspec.filesystem("s3").makedirs(bucket, exist_ok=True)
    alone, tars = open_bucket("images"), open_bucket("tars")
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda item: obstore.put(alone, *item), images.items()))
    items = list(images.items())
    for i in range(NUM_TARS):
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as tar:
            for name, data in items[i::NUM_TARS]:
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        obstore.put(tars, f"{i:03d}.tar", stream.getvalue())


def measure(proxy: FaultProxy, images: str, run: str) -> dict[str, float]:
    """Requests of one run."""
    proxy.counts.clear()
    config = LabelConfig(images=images, output=run, model=MODEL, num_workers=1)
    report = run_label(config, console=Console(stderr=True), load_model=loader(0.0))
    assert report.manifest is not None
    assert report.manifest.totals.ok == NUM_IMAGES
    num_requests = proxy.counts["requests"]
    return {"requests": num_requests, "requests_an_image": num_requests / NUM_IMAGES}


def main() -> None:
    """Measure, print, write."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # otherwise a line for every request
    with counted_store() as proxy:
        upload(make_corpus(NUM_IMAGES))
        figures = {
            "an object an image": measure(proxy, "s3://images", "s3://runs/images"),
            "tar files": measure(proxy, "s3://tars/*.tar", "s3://runs/tars"),
        }
    table = Table("corpus", "requests", "an image", title="Requests", title_justify="left")
    for name, figure in figures.items():
        table.add_row(name, f"{figure['requests']:,}", f"{figure['requests_an_image']:.4f}")
    Console().print(table)
    write_json(OUTPUT, {"machine": platform.platform(), "figures": figures})


if __name__ == "__main__":
    main()
