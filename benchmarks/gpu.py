"""Speed of one GPU: SAM encoders, the whole model and its parts, and agreement of bfloat16.

One command measures everything at full size with random weights: `python -m benchmarks.gpu`. Times
are by CUDA events, the least of five; prints a table and writes `build/bench/gpu.json`. Without a
GPU it says so and measures nothing.
"""

import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch.nn import functional

from benchmarks.attention_flops import FlopCounter
from benchmarks.gpu_parts import part_rows
from benchmarks.report import write_json
from benchmarks.timing import REPEATS
from possam_core.encoders import sam_vit
from possam_core.images.batch import ImageBatch
from possam_core.labels.merge_config import MergeConfig
from possam_core.labels.rle import encode_runs
from possam_core.labels.segmentation import PanopticSegmentation
from possam_core.model import (
    InferenceConfig,
    MaskClassification,
    ModelCard,
    PosSAM,
    PosSAMConfig,
    full_size,
)
from possam_core.playground import PLAYGROUND
from possam_core.predictor import Predictor

OUTPUT = Path("build/bench/gpu.json")
SAM_NAMES = ("vit_b", "vit_l", "vit_h")
BATCH_SIZE = 8
MATMUL_SIDE = 8192
KEPT_MASKS = 30  # of an image, as on photographs
SMOOTHING = 8  # masks are averaged over this part of the canvas's side, twice

Row = tuple[str, str]


def main() -> None:
    """Measure, print, write."""
    if not torch.cuda.is_available():
        sys.exit("expected a CUDA GPU, but torch sees none; nothing was measured")
    device = torch.device("cuda")
    peak = matmul_flops(device)
    rows: list[Row] = [
        ("device", torch.cuda.get_device_name()),
        ("bfloat16 matmul peak, measured", f"{peak / 1e12:.0f} TFLOP/s"),
    ]
    for name in SAM_NAMES:
        rows += measure(name, full_size(name), device, peak)
        torch.cuda.empty_cache()
        write_json(OUTPUT, dict(rows))
    table = Table("what", "figure")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def measure(name: str, config: PosSAMConfig, device: torch.device, peak: float) -> list[Row]:
    """All rows of one SAM encoder."""
    torch.manual_seed(0)
    card = ModelCard(vocabulary=PLAYGROUND.vocabulary, training_names=())
    predictor = Predictor(PosSAM(config, card).requires_grad_(False).to(device))
    batch = random_batch(config.sam.image_size, BATCH_SIZE).to(device)
    with torch.inference_mode():
        return [
            *_encoder_rows(name, predictor, batch, peak),
            *_model_rows(name, predictor, batch, peak),
        ]


def random_batch(canvas: int, size: int) -> ImageBatch:
    """Images of smooth random colours that fill three quarters of the canvas."""
    coarse = torch.randint(0, 256, (size, 3, 16, 16), generator=torch.Generator().manual_seed(0))
    pixels = torch.nn.functional.interpolate(coarse.float(), size=(canvas, canvas), mode="bilinear")
    height = canvas * 3 // 4
    valid = torch.zeros(size, canvas, canvas, dtype=torch.bool)
    valid[:, :height] = True
    sizes = ((height, canvas),) * size
    return ImageBatch((pixels * valid[:, None]).to(torch.uint8), valid, sizes, sizes)


def matmul_flops(device: torch.device) -> float:
    """Operations per second of a large bfloat16 product."""
    a = torch.randn(MATMUL_SIDE, MATMUL_SIDE, device=device, dtype=torch.bfloat16)
    return 2 * MATMUL_SIDE**3 / least_seconds_on(device, lambda: a @ a)


def least_seconds_on(device: torch.device, function: Callable[[], object]) -> float:
    """The least of five times, each waiting for the device; after one warm-up."""
    function()
    best = float("inf")
    for _ in range(REPEATS):
        _wait(device)
        started = time.perf_counter()
        function()
        _wait(device)
        best = min(best, time.perf_counter() - started)
    return best


def _encoder_rows(name: str, predictor: Predictor, batch: ImageBatch, peak: float) -> list[Row]:
    """With both forms of attention, of which the faster should be the one that runs."""
    sam = predictor.model.sam
    with FlopCounter() as counter:
        sam(batch)
    flops, size, device = counter.get_total_flops(), len(batch.pixels), batch.pixels.device
    rows = []
    for form, attend in (
        ("bias added to each score", sam_vit.attend_fused),
        ("bias spelt out", sam_vit.attend_with_bias),
    ):
        with (
            torch.autocast(device.type, torch.bfloat16),
            patch.object(sam_vit, "attend_fused", attend),
        ):
            seconds = least_seconds_on(device, lambda: sam(batch))
        share = flops / seconds / peak
        figure = f"{size / seconds:.1f} images/s, {share:.0%} of peak"
        rows.append((f"{name} encoder, bfloat16, {form}", figure))
    return rows


def _model_rows(name: str, predictor: Predictor, batch: ImageBatch, peak: float) -> list[Row]:
    device = batch.pixels.device
    predictor.inference = keeping(KEPT_MASKS, predictor, batch)

    high = _smooth(predictor.classify(batch))
    predictor.precision = "bfloat16"
    low = _smooth(predictor.classify(batch))
    low_maps, high_maps = predictor.merge(batch, low), predictor.merge(batch, high)
    forward_s = least_seconds_on(device, lambda: predictor.classify(batch))
    rest_s = least_seconds_on(device, lambda: _labels(predictor.merge(batch, low)))
    images = list(batch.pixels.permute(0, 2, 3, 1).cpu().numpy())
    with counted_syncs(device) as syncs:
        predictor(images)
    whole = len(batch.pixels) / (forward_s + rest_s)
    return [
        (f"{name} whole model", f"{whole:.1f} images/s"),
        (f"{name} merge + RLE", f"{rest_s / (forward_s + rest_s):.1%} of the step"),
        (f"{name} waits of the host in a batch", str(len(syncs))),
        *part_rows(name, predictor, batch, low, peak),
        (f"{name} bfloat16 = float32", f"{np.mean(agreements(low_maps, high_maps)):.2%} of pixels"),
    ]


def keeping(count: int, predictor: Predictor, batch: ImageBatch) -> InferenceConfig:
    """Settings under which at least `count` masks of each image pass."""
    eta = predictor.inference.merge.eta
    scores = [m.scores(eta) for m in predictor.score(predictor.classify(batch))]
    threshold = float(torch.stack(scores).sort(descending=True).values[:, count - 1].min())
    merge = MergeConfig(object_threshold=threshold, overlap_threshold=0.0)
    return replace(predictor.inference, merge=merge)


def _smooth(result: MaskClassification) -> MaskClassification:
    """With masks as smooth as a trained network's: those of noise are almost all outline."""
    logits = result.prediction.mask_logits
    side = logits.shape[-1] // SMOOTHING // 2 * 2 + 1
    for _ in range(2):
        logits = functional.avg_pool2d(logits, side, stride=1, padding=side // 2)
    logits = logits / logits.std(dim=(-2, -1), keepdim=True).clamp(min=1e-6)
    return replace(result, prediction=replace(result.prediction, mask_logits=logits))


def _labels(results: list[PanopticSegmentation]) -> list[object]:
    return [encode_runs(r.runs) for r in results]


def agreements(a: list[PanopticSegmentation], b: list[PanopticSegmentation]) -> list[float]:
    """Per image, the share of pixels with the same class, void included."""

    def classes(result: PanopticSegmentation) -> np.ndarray:
        names = {0: -1} | {s.id: s.class_index for s in result.segments}
        table = np.array([names.get(i, -1) for i in range(max(names) + 1)])
        return table[result.ids]

    return [float((classes(x) == classes(y)).mean()) for x, y in zip(a, b, strict=True)]


@contextmanager
def counted_syncs(device: torch.device) -> Iterator[list[warnings.WarningMessage]]:
    """Warnings of torch about each wait of the host for the device; a CPU has none."""
    if device.type != "cuda":
        yield []
        return
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield caught
    finally:
        torch.cuda.set_sync_debug_mode("default")


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
