"""What the labelling job costs on top of its model, and what a second worker gains.

A stand-in takes 25 ms an image while the CPU is free, as a GPU would. The job runs over one and
over three shards of 1,024 images of 640 x 480: from the two times follow what each image costs
beyond the model, and what is paid once. The second worker is measured with possam-tiny, which keeps
a core busy; its output is compared with the bytes of the RLE strings in it. Writes
`build/bench/job.json`.

usage: python -m benchmarks.job
"""

import io
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks.report import write_json
from benchmarks.stand_in import loader
from pipelines.label import ModelLoader
from pipelines.label_config import LabelConfig
from pipelines.runner import LabelReport, run_label

OUTPUT = Path("build/bench/job.json")
SECONDS_AN_IMAGE = 0.025
SHARD_SIZE = 1024
NUM_SCALING_IMAGES = 384  # for possam-tiny, in shards of 16
CONSOLE = Console(stderr=True)


def write_images(folder: Path, num_images: int, *, size: tuple[int, int]) -> str:
    """Distinct JPEGs of smooth random colours."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(num_images):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        stream = io.BytesIO()
        coarse.resize(size, Image.Resampling.BICUBIC).save(stream, "JPEG", quality=85)
        (folder / f"{i:05d}.jpg").write_bytes(stream.getvalue())
    return str(folder)


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder that is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="possam-bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def run(config: LabelConfig, load_model: ModelLoader | None = None) -> LabelReport:
    """A finished run; its seconds count from the frozen plan to the manifest."""
    report = run_label(config, console=CONSOLE, load_model=load_model)
    assert report.manifest is not None
    return report


def measure_overhead(folder: Path) -> dict[str, float]:
    """Cost beyond the model, for each image and once."""
    images = write_images(folder / "images", 3 * SHARD_SIZE, size=(640, 480))
    seconds = {}
    for num_shards in (1, 3):
        config = LabelConfig(
            images=images,
            output=str(folder / f"run-{num_shards}"),
            num_workers=1,
            limit=num_shards * SHARD_SIZE,
        )
        seconds[num_shards] = run(config, loader(SECONDS_AN_IMAGE)).seconds
    a_shard = (seconds[3] - seconds[1]) / 2
    return {
        "seconds_for_1_shard": seconds[1],
        "seconds_for_3_shards": seconds[3],
        "overhead_percent": 100 * (a_shard / (SHARD_SIZE * SECONDS_AN_IMAGE) - 1),
        "fixed_s": seconds[1] - a_shard,
    }


def output_size(run: Path) -> dict[str, float]:
    """Bytes of the files, next to those of the RLE strings in them."""
    written = rle = 0
    for file in (run / "data").rglob("*.parquet"):
        written += file.stat().st_size
        segments = pc.list_flatten(pq.read_table(file)["segments_info"])
        counts = pc.struct_field(segments, ["segmentation", "counts"])
        rle += pc.sum(pc.binary_length(counts)).as_py()
    return {"output_bytes": written, "rle_bytes": rle, "output_share_of_rle": written / rle}


def measure_scaling(folder: Path) -> dict[str, float]:
    """Images a second of one worker and of two, start-up left out."""
    images = write_images(folder / "small", NUM_SCALING_IMAGES, size=(256, 192))
    rates = {}
    for num_workers in (1, 2):
        config = LabelConfig(
            images=images,
            output=str(folder / f"scaling-{num_workers}"),
            num_workers=num_workers,
            shard_size=16,
        )
        report = run(config)
        rates[num_workers] = report.num_images / (report.seconds - report.startup_seconds)
    return {
        "images_a_second_of_1_worker": rates[1],
        "images_a_second_of_2_workers": rates[2],
        "times_as_fast_with_2": rates[2] / rates[1],
    } | output_size(folder / "scaling-1")


def main() -> None:
    """Measure, print, write."""
    with scratch() as folder:
        figures = measure_overhead(folder) | measure_scaling(folder)
    table = Table("figure", "value", title="The labelling job", title_justify="left")
    for name, value in figures.items():
        table.add_row(name, f"{value:,.3f}" if isinstance(value, float) else f"{value:,}")
    Console().print(table)
    write_json(OUTPUT, {"machine": platform.platform(), "figures": figures})


if __name__ == "__main__":
    main()
