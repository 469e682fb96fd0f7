"""How fast labels are exported: images a second of each format, on all CPUs.

The run holds the true segments of the photographs in `../shared/data` many times over, in shards of
256; without that folder, segments of the same size with wavering borders on smooth pictures. Time
is measured over the whole call, including the start of the worker processes. The first rows are
the costs of the single steps for one image, in one process. On a machine with other load,
milliseconds of CPU time are more reliable than images a second. Writes `build/bench/export.json`.

usage: python -m benchmarks.export [--num-images N] [--format FORMAT ...]
"""

import argparse
import io
import platform
import resource
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks.report import write_json
from benchmarks.timing import least_seconds
from benchmarks.true_corpus import Corpus, make_corpus, write_run
from pipelines.export import ExportConfig, ExportFormat, run_export
from pipelines.export.png import encode_ids
from pipelines.export.protocol import ImageUse
from possam_core.labels.id_colours import rgb_from_ids
from possam_core.labels.rle import decode_runs, rle_counts
from possam_core.processes import usable_cpus

OUTPUT = Path("build/bench/export.json")
SHARD_SIZE = 256


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
        lambda: [encode_ids(*pair) for pair in zip(runs, names, strict=True)],
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


def measure_format(
    run: str, folder: Path, format: ExportFormat, **settings: bool
) -> tuple[float, float]:
    """Images a second, and milliseconds of CPU time per image, all processes together."""
    output = folder / "out"
    config = ExportConfig(run=run, output=str(output), format=format, **settings)
    started, busy = time.perf_counter(), _processor_seconds()
    report = run_export(config, console=Console(stderr=True))
    seconds, busy = time.perf_counter() - started, _processor_seconds() - busy
    shutil.rmtree(output)
    num_images = sum(report.num_images.values())
    return num_images / seconds, 1e3 * busy / num_images


def _processor_seconds() -> float:
    """CPU time of this process, and of the children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def measure(folder: Path, num_images: int, formats: Sequence[ExportFormat]) -> dict[str, Any]:
    """All figures."""
    corpus = make_corpus()
    figures: dict[str, Any] = {"corpus": corpus.kind, "images": num_images}
    figures["cpus"] = usable_cpus()
    figures |= measure_steps(corpus)
    run = write_run(folder, corpus, num_images, shard_size=SHARD_SIZE)
    for format in formats:
        cases: dict[str, dict[str, bool]] = {str(format): {}}
        if format.writer.image_use is ImageUse.OPTIONAL:
            cases[f"{format}, labels only"] = {"labels_only": True}
        for name, settings in cases.items():
            rate, busy = measure_format(run, folder, format, **settings)
            figures[f"{name}, images/s"] = rate
            figures[f"{name}, ms of processors an image"] = busy
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
