"""Cost of a JPEG from bytes to the padded uint8 canvas, next to two ways through Pillow.

One way decodes and resizes in Pillow, on uint8; the other decodes in Pillow, then resizes,
normalises and pads in float32 with torchvision. All alternate in one process, the least of five
times counts, and the table says how far our pixels are from the first way's. Writes
`build/bench/decode.json`.
"""

import io
import platform
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torchvision.transforms import functional

from benchmarks.report import write_json
from benchmarks.timing import least_seconds
from possam_core.images.batch import make_batch, resized_size
from possam_core.images.decode import decode_image

OUTPUT = Path("build/bench/decode.json")
CANVAS = 1024
SIZES = {"640 x 480": (480, 640), "1920 x 1080": (1080, 1920)}
MEAN = [0.485, 0.456, 0.406]
STD = [0.229, 0.224, 0.225]


def make_jpeg(height: int, width: int) -> bytes:
    """A smooth random field with noise, at quality 90: some 2 bits a pixel, like a photograph."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
    field = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float64)
    noisy = (field + rng.normal(0, 8, field.shape)).clip(0, 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noisy).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def by_possam(data: bytes) -> Tensor:
    """Decode, resize and pad with possam_core."""
    return make_batch([decode_image(data).pixels], canvas=CANVAS).pixels


def by_pillow(data: bytes) -> Tensor:
    """Decode and resize in Pillow, pad the bytes."""
    with Image.open(io.BytesIO(data)) as image:
        rgb = image.convert("RGB")
    height, width = resized_size((rgb.height, rgb.width), CANVAS)
    resized = np.array(rgb.resize((width, height), Image.Resampling.BILINEAR))
    pixels = torch.zeros((1, 3, CANVAS, CANVAS), dtype=torch.uint8)
    pixels[0, :, :height, :width] = torch.from_numpy(resized).permute(2, 0, 1)
    return pixels


def by_pillow_and_float32(data: bytes) -> Tensor:
    """Decode in Pillow; resize, normalise and pad in float32."""
    with Image.open(io.BytesIO(data)) as image:
        pixels = functional.to_tensor(image.convert("RGB"))  # (3, H, W), in [0, 1]
    height, width = resized_size((pixels.shape[1], pixels.shape[2]), CANVAS)
    resized = functional.resize(pixels, [height, width], antialias=True)
    normalised = functional.normalize(resized, MEAN, STD)
    padded: Tensor = functional.pad(normalised, [0, 0, CANVAS - width, CANVAS - height])
    return padded


def measure(data: bytes) -> dict[str, float]:
    """Times of the three ways and how far our pixels are from Pillow's."""
    grey_levels = (by_possam(data).int() - by_pillow(data).int()).abs()
    ours, pillow, float32 = least_seconds(
        lambda: by_possam(data), lambda: by_pillow(data), lambda: by_pillow_and_float32(data)
    )
    return {
        "jpeg_kb": len(data) / 1e3,
        "ours_ms": 1e3 * ours,
        "pillow_ms": 1e3 * pillow,
        "float32_ms": 1e3 * float32,
        "times_as_fast_as_pillow": pillow / ours,
        "times_as_fast_as_float32": float32 / ours,
        "largest_difference_in_grey_levels": int(grey_levels.max()),
    }


def main() -> None:
    """Measure, print, write."""
    rows = {name: measure(make_jpeg(*size)) for name, size in SIZES.items()}
    title = f"JPEG to {CANVAS} canvas, {platform.machine()}, {torch.get_num_threads()} threads"
    table = Table("measured", *rows, title=title)
    for name in next(iter(rows.values())):
        table.add_row(name, *(f"{row[name]:.4g}" for row in rows.values()))
    Console().print(table)
    write_json(OUTPUT, {"threads": torch.get_num_threads(), **rows})


if __name__ == "__main__":
    main()
