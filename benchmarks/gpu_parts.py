"""Where the time of a batch goes on one GPU, part by part; rows of `benchmarks.gpu`.

Each part is timed by itself inside the whole, the host waiting before and after it, so the parts
add up to more than a batch takes where nothing waits.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch

from benchmarks.attention_flops import FlopCounter
from benchmarks.timing import REPEATS
from possam_core.encoders.sam import SamConfig
from possam_core.images.batch import ImageBatch
from possam_core.labels.rle import encode_runs
from possam_core.model import MaskClassification, PosSAM
from possam_core.predictor import Predictor

Row = tuple[str, str]
Around = Callable[[str, Callable[[], Any]], Any]  # calls a part by its name


def part_rows(
    name: str, predictor: Predictor, batch: ImageBatch, result: MaskClassification, peak: float
) -> list[Row]:
    """Milliseconds and FLOPs of each part of a batch.

    Args:
        name: of the SAM encoder.
        predictor: on the device.
        batch: on the device.
        result: what is merged, with masks as smooth as a trained network's.
        peak: operations per second of a large product.
    """
    device, flops = batch.pixels.device, defaultdict[str, int](int)
    best: dict[str, float] = {}

    def count(part: str, call: Callable[[], Any]) -> Any:
        with FlopCounter() as counter:
            found = call()
        flops[part] += counter.get_total_flops()
        return found

    with _around_parts(predictor.model, count):
        predictor.classify(batch)
    for _ in range(REPEATS + 1):  # the first is not counted: it was slower
        seconds = defaultdict[str, float](float)

        def clock(part: str, call: Callable[[], Any], seconds: dict[str, float] = seconds) -> Any:
            _wait(device)
            started = time.perf_counter()
            found = call()
            _wait(device)
            seconds[part] += time.perf_counter() - started
            return found

        with _around_parts(predictor.model, clock):
            predictor.classify(batch)
        labels = clock("merge", lambda: predictor.merge(batch, result))
        clock("encode", lambda labels=labels: [encode_runs(label.runs) for label in labels])
        best = {part: min(s, best.get(part, s)) for part, s in seconds.items()}
    rows = []
    for part, s in best.items():
        figure = f"{1000 * s:.1f} ms a batch"
        if flops[part]:
            figure += f", {flops[part] / 1e12:.2f} TFLOP, {flops[part] / s / peak:.0%} of peak"
        rows.append((f"{name} {part}", figure))
    useful = len(batch.pixels) * useful_flops(predictor.model.config.sam) / 1e12
    rows.append((f"{name} SAM, useful", f"{useful:.2f} TFLOP, the padding of windows left out"))
    return rows


def useful_flops(config: SamConfig) -> int:
    """FLOPs of one image in SAM's blocks: products, and attention between tokens of the image."""
    side = config.image_size // config.patch_size
    num_tokens, width = side**2, config.embed_dim
    products = 24 * num_tokens * width**2 * config.depth  # qkv, output, and an MLP of four times
    pairs = 0
    for block in range(config.depth):
        is_whole = not config.window_size or block in config.global_attn_indexes
        edge = side if is_whole else config.window_size
        sides = [min(edge, side - first) for first in range(0, side, edge)]
        pairs += sum(s**2 for s in sides) ** 2  # of tokens in one window
    return products + 4 * pairs * width


@contextmanager
def _around_parts(model: PosSAM, around: Around) -> Iterator[None]:
    """Inside, each part of a forward pass is called by `around`."""
    parts: list[tuple[str, Any, str]] = [
        ("SAM", model.sam, "forward"),
        ("CLIP", model.clip, "dense_features"),
        ("pyramid", model.pyramid, "forward"),
        ("pixel decoder", model.pixel_decoder, "forward"),
        ("mask decoder", model.mask_decoder, "forward"),
        ("classify", model, "_classify"),
    ]
    with ExitStack() as stack:
        for part, owner, method in parts:
            call = _called(part, getattr(owner, method), around)
            stack.enter_context(patch.object(owner, method, call))
        yield


def _called(part: str, method: Callable[..., Any], around: Around) -> Callable[..., Any]:
    return lambda *args, **kwargs: around(part, lambda: method(*args, **kwargs))


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()
