"""Cost of the labelling job beyond its model, and the gain of a second worker.

A stand-in takes 25 ms an image while the CPU is free, as with a GPU. The job runs over one and over
three shards of 1,024 images of 640 x 480 on a Ray that is already running: the two times give the
cost per image beyond the model, and the cost paid once. One more shard, on a Ray that the job
starts and stops itself, gives the cost of Ray. The second worker is measured with possam-tiny,
which keeps a core busy. The size of the output is measured with the true segments of the
photographs in `../shared/data` in the place of predictions, in one shard; without that folder it
is left out. Writes `build/bench/job.json`.

usage: python -m benchmarks.job
"""

import io
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks.report import write_json
from benchmarks.stand_in import loader
from pipelines.corpus.image import InputImage, make_image_id
from pipelines.label.job import ModelLoader
from pipelines.label.rows import label_row, shard_bytes
from pipelines.label.session import LabelReport, run_label
from pipelines.ray_cluster import ray_cluster
from pipelines.settings.label import LabelConfig
from possam_core.evaluation.coco_panoptic import read_annotation, read_ground_truth
from possam_core.images.decode import UPRIGHT, DecodedImage
from possam_core.labels.masks import areas_and_boxes
from possam_core.labels.segmentation import PanopticSegmentation, Segment

OUTPUT = Path("build/bench/job.json")
SECONDS_AN_IMAGE = 0.025
SHARD_SIZE = 1024
NUM_SCALING_IMAGES = 384  # for possam-tiny, in shards of 16
PHOTOGRAPHS = Path("../shared/data/coco128_train")
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
    """A folder that is removed afterwards."""
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
    """Cost beyond the model, per image and once."""
    images = write_images(folder / "images", 3 * SHARD_SIZE, size=(640, 480))

    def seconds_for(num_shards: int, name: str) -> float:
        config = LabelConfig(
            images=images,
            output=str(folder / name),
            num_workers=1,
            limit=num_shards * SHARD_SIZE,
        )
        return run(config, loader(SECONDS_AN_IMAGE)).seconds

    with ray_cluster(1):
        seconds_for(1, "warm-up")
        one, three = seconds_for(1, "run-1"), seconds_for(3, "run-3")
    own = seconds_for(1, "run-own")
    a_shard = (three - one) / 2
    return {
        "seconds_for_1_shard": one,
        "seconds_for_3_shards": three,
        "seconds_for_1_shard_and_own_ray": own,
        "overhead_percent": 100 * (a_shard / (SHARD_SIZE * SECONDS_AN_IMAGE) - 1),
        "fixed_s": one - a_shard,
        "fixed_with_own_ray_s": own - a_shard,
    }


def measure_output() -> dict[str, float]:
    """Bytes of a shard of real segments, next to those of the RLE strings in it."""
    if not PHOTOGRAPHS.is_dir():
        return {}
    rng = np.random.default_rng(0)
    truth = read_ground_truth(PHOTOGRAPHS / "panoptic_train.json")
    categories = {category.id: category for category in truth.categories}
    rows = []
    for image in truth.images:
        png = PHOTOGRAPHS / "panoptic" / image.png_path.name
        annotation = read_annotation(replace(image, png_path=png))
        segments = [
            Segment(
                id=segment_id,
                class_index=0,
                category_id=annotation.category_ids[segment_id],
                category_name=categories[annotation.category_ids[segment_id]].name,
                is_thing=True,
                area_px=geometry.area_px,
                bbox_xywh=geometry.bbox_xywh,
                # All different, as a model's would be.
                score=rng.random(),
                predicted_iou=rng.random(),
                margin=rng.random(),
                stability_score=rng.random(),
                entropy=rng.random(),
                clip_agrees=bool(rng.integers(2)),
                is_seen=True,
            )
            for segment_id, geometry in areas_and_boxes(annotation.ids).items()
        ]
        planned = InputImage(
            image_id=make_image_id(image.file_name, None),
            uri=f"s3://corpus/photos/{image.file_name}",
            size=None,
            etag=rng.bytes(16).hex(),
        )
        segmentation = PanopticSegmentation(ids=annotation.ids, segments=tuple(segments))
        black = np.zeros((*annotation.ids.shape, 3), np.uint8)
        decoded = DecodedImage(pixels=black, exif_orientation=UPRIGHT)
        rows.append(label_row(planned, decoded, segmentation))
    written = len(shard_bytes(rows, {}))
    rle = sum(len(s["segmentation"]["counts"]) for row in rows for s in row["segments_info"])
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
        assert report.images_per_s is not None  # more images than a worker's first ones
        rates[num_workers] = report.images_per_s
    return {
        "images_a_second_of_1_worker": rates[1],
        "images_a_second_of_2_workers": rates[2],
        "times_as_fast_with_2": rates[2] / rates[1],
    }


def main() -> None:
    """Measure, print, write."""
    with scratch() as folder:
        figures = measure_overhead(folder) | measure_scaling(folder) | measure_output()
    table = Table("figure", "value", title="The labelling job", title_justify="left")
    for name, value in figures.items():
        table.add_row(name, f"{value:,.3f}" if isinstance(value, float) else f"{value:,}")
    Console().print(table)
    write_json(OUTPUT, {"machine": platform.platform(), "figures": figures})


if __name__ == "__main__":
    main()
