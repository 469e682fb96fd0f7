"""How fast labels are exported: images a second of each format, on all CPUs.

The run holds the true segments of the photographs in `../shared/data` many times over, in shards of
256; without that folder, segments of the same size with wavering borders on smooth pictures. The
clock runs from the call to the end of it, with the start of the worker processes. The first rows
tell what one image costs step by step, in one process. Writes `build/bench/export.json`.

usage: python -m benchmarks.export [--num-images N] [--format FORMAT ...]
"""

import argparse
import io
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks.report import write_json
from benchmarks.rle import make_ids
from benchmarks.timing import least_seconds
from pipelines.export import ExportConfig, ExportFormat, run_export
from pipelines.export.pixel_runs import decode_runs
from pipelines.export.png import encode_ids
from pipelines.export.protocol import ImageUse
from pipelines.frozen_vocabulary import FrozenVocabulary
from pipelines.inputs.source import read_source
from pipelines.plan import PlanSettings, load_plan, read_shard
from pipelines.planning import freeze_plan
from pipelines.rows import Row, label_row, shard_bytes
from pipelines.run_folder import RunFolder
from possam_core.evaluation.coco_panoptic import read_annotation, read_ground_truth
from possam_core.image_decode import decode_image
from possam_core.masks import areas_and_boxes, rle_counts
from possam_core.panoptic import PanopticSegmentation, Segment
from possam_core.playground.corpus import rgb_from_ids
from possam_core.vocabulary import Vocabulary, VocabularyClass

OUTPUT = Path("build/bench/export.json")
PHOTOGRAPHS = Path("../shared/data/coco128_train")
SHARD_SIZE = 256
NUM_SYNTHETIC = 16
SYNTHETIC_HW, SYNTHETIC_SEGMENTS = (480, 640), 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """An image file and its labels."""

    data: bytes
    segmentation: PanopticSegmentation


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """What the run holds many times over."""

    kind: str
    vocabulary: Vocabulary
    images: tuple[Labelled, ...]


def make_corpus() -> Corpus:
    """The photographs with their truth, or pictures that are drawn."""
    return photographs() if PHOTOGRAPHS.is_dir() else drawings()


def photographs() -> Corpus:
    """As annotated by people."""
    truth = read_ground_truth(PHOTOGRAPHS / "panoptic_train.json")
    vocabulary = Vocabulary(
        name="coco",
        classes=tuple(
            VocabularyClass(category_id=c.id, name=c.name, is_thing=c.is_thing)
            for c in truth.categories
        ),
    )
    images = []
    for image in truth.images:
        png = PHOTOGRAPHS / "panoptic" / image.png_path.name
        annotation = read_annotation(replace(image, png_path=png))
        images.append(
            Labelled(
                data=(PHOTOGRAPHS / "images" / image.file_name).read_bytes(),
                segmentation=segment(annotation.ids, annotation.category_ids, vocabulary),
            )
        )
    return Corpus(kind="photographs of COCO", vocabulary=vocabulary, images=tuple(images))


def drawings() -> Corpus:
    """Smooth colours, and cells with wavering borders as things."""
    entries = (VocabularyClass(category_id=1, name="cell", is_thing=True),)
    vocabulary = Vocabulary(name="cells", classes=entries)
    rng = np.random.default_rng(0)
    images = []
    for seed in range(NUM_SYNTHETIC):
        ids = make_ids(*SYNTHETIC_HW, SYNTHETIC_SEGMENTS, seed)
        coarse = Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8))
        stream = io.BytesIO()
        coarse.resize(SYNTHETIC_HW[::-1]).save(stream, "JPEG", quality=95)
        category_ids = dict.fromkeys(np.unique(ids[ids > 0]).tolist(), 1)
        labels = segment(ids, category_ids, vocabulary)
        images.append(Labelled(data=stream.getvalue(), segmentation=labels))
    return Corpus(kind="drawings", vocabulary=vocabulary, images=tuple(images))


def segment(
    ids: ndarray, category_ids: Mapping[int, int], vocabulary: Vocabulary
) -> PanopticSegmentation:
    """The labels of a map, as if a model had found them."""
    places = {c.category_id: (i, c) for i, c in enumerate(vocabulary.classes)}
    rng = np.random.default_rng(0)
    segments = []
    for segment_id, geometry in areas_and_boxes(ids).items():
        class_index, entry = places[category_ids[segment_id]]
        segments.append(
            Segment(
                id=segment_id,
                class_index=class_index,
                category_id=entry.category_id,
                category_name=entry.name,
                is_thing=entry.is_thing,
                area_px=geometry.area_px,
                bbox_xywh=geometry.bbox_xywh,
                score=rng.random(),
                predicted_iou=rng.random(),
                margin=rng.random(),
                stability_score=rng.random(),
                entropy=rng.random(),
                clip_agrees=True,
                is_seen=True,
            )
        )
    return PanopticSegmentation(ids=ids, segments=tuple(segments))


def write_run(folder: Path, corpus: Corpus, num_images: int) -> str:
    """A run of `num_images` labelled images."""
    (folder / "images").mkdir()
    for number in range(num_images):
        # Bytes after the end of a JPEG mean nothing, but no two images may be the same.
        data = corpus.images[number % len(corpus.images)].data + number.to_bytes(4)
        (folder / "images" / f"{number:08d}.jpg").write_bytes(data)
    run = RunFolder(str(folder / "run"), create=True)
    settings = PlanSettings(
        images=str(folder / "images"),
        model="truth",
        model_sha256="0",
        vocabulary=corpus.vocabulary.name,
        vocabulary_sha256=corpus.vocabulary.fingerprint,
        shard_size=SHARD_SIZE,
    )
    is_seen = (True,) * len(corpus.vocabulary)
    frozen = FrozenVocabulary(vocabulary=corpus.vocabulary, is_seen=is_seen)
    freeze_plan(run, settings, read_source(settings.images), vocabulary=frozen)
    plan = load_plan(run)
    assert plan is not None
    rows: dict[int, Row] = {}  # made once for each picture
    for shard in range(plan.num_shards):
        content = []
        for image in read_shard(run, shard):
            place = int(Path(image.uri).stem) % len(corpus.images)
            if place not in rows:
                labelled = corpus.images[place]
                decoded = decode_image(labelled.data)
                rows[place] = label_row(image, decoded, labelled.segmentation)
            identity = {"image_id": image.image_id, "uri": image.uri, "etag": image.etag}
            content.append(rows[place] | identity)
        run.commit(shard, shard_bytes(content, {"plan_id": plan.plan_id, "shard": str(shard)}))
    return run.location


def measure_steps(corpus: Corpus) -> dict[str, float]:
    """Milliseconds of the least of five times, a mean over the images."""
    maps = [labelled.segmentation.ids for labelled in corpus.images]
    codes = [list(rle_counts(ids).values()) for ids in maps]
    names = [list(rle_counts(ids)) for ids in maps]
    shapes = [(ids.shape[0], ids.shape[1]) for ids in maps]
    runs = [decode_runs(*pair) for pair in zip(codes, shapes, strict=True)]
    painted = [r.paint(n, void=0) for r, n in zip(runs, names, strict=True)]
    assert all((ours == theirs).all() for ours, theirs in zip(painted, maps, strict=True))
    pictures = [rgb_from_ids(ids) for ids in maps]

    def pillow() -> None:
        for picture in pictures:
            Image.fromarray(picture).save(io.BytesIO(), "PNG", compress_level=1)

    decode, recount, paint, encode, by_pillow = least_seconds(
        lambda: [decode_runs(*pair) for pair in zip(codes, shapes, strict=True)],
        lambda: [r.areas_and_boxes() for r in runs],
        lambda: [r.paint(n, void=0) for r, n in zip(runs, names, strict=True)],
        lambda: [encode_ids(ids) for ids in painted],
        pillow,
    )
    return {
        "segments_an_image": sum(map(len, codes)) / len(maps),
        "decode_ms": 1e3 * decode / len(maps),
        "recount_ms": 1e3 * recount / len(maps),
        "paint_ms": 1e3 * paint / len(maps),
        "png_ms": 1e3 * encode / len(maps),
        "png_by_pillow_ms": 1e3 * by_pillow / len(maps),
    }


def measure_format(run: str, folder: Path, format: ExportFormat, **settings: bool) -> float:
    """Images a second."""
    output = folder / "out"
    config = ExportConfig(run=run, output=str(output), format=format, **settings)
    started = time.perf_counter()
    report = run_export(config, console=Console(stderr=True))
    seconds = time.perf_counter() - started
    shutil.rmtree(output)
    return sum(report.num_images.values()) / seconds


def measure(folder: Path, num_images: int, formats: Sequence[ExportFormat]) -> dict[str, Any]:
    """All figures."""
    corpus = make_corpus()
    figures: dict[str, Any] = {"corpus": corpus.kind, "images": num_images}
    figures["cpus"] = len(os.sched_getaffinity(0))
    figures |= measure_steps(corpus)
    run = write_run(folder, corpus, num_images)
    for format in formats:
        if format.writer.image_use is ImageUse.OPTIONAL:
            rate = measure_format(run, folder, format, labels_only=True)
            figures[f"{format}, labels only, images/s"] = rate
        figures[f"{format}, images/s"] = measure_format(run, folder, format)
    return figures


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num-images", type=int, default=4096)
    parser.add_argument("--format", nargs="*", type=ExportFormat, default=list(ExportFormat))
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="possam-bench-"))
    try:
        figures = measure(folder, arguments.num_images, arguments.format)
    finally:
        shutil.rmtree(folder)
    table = Table("figure", "value", title="Export", title_justify="left")
    for name, value in figures.items():
        table.add_row(name, f"{value:,.2f}" if isinstance(value, float) else str(value))
    Console().print(table)
    write_json(OUTPUT, {"machine": platform.platform(), "figures": figures})


if __name__ == "__main__":
    main()
