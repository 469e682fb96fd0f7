"""SAM's encoders against their references: time, difference, FLOPs, and MobileSAM on photographs.

Both sides of a comparison alternate in one process with the same random weights; the least
of five times counts. Prints a table and writes `build/bench/sam_encoder.json`.
"""

import json
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from segment_anything.modeling import ImageEncoderViT
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from benchmarks.attention_flops import FlopCounter
from benchmarks.report import write_json
from benchmarks.timing import least_seconds
from possam_core.encoders.sam import SAM_CONFIGS, SamEncoder, load_sam_weights
from possam_core.images.batch import ImageBatch, resized_size

OUTPUT = Path("build/bench/sam_encoder.json")
SHARED = Path("../shared/data")
SIDE = SAM_CONFIGS["vit_b"].image_size


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    what: str
    measured: str
    goal: str = ""


def speed_rows() -> list[Row]:
    """ViT-B at full size, in both precisions."""
    torch.manual_seed(0)
    encoder = SamEncoder(SAM_CONFIGS["vit_b"]).encoder.eval()
    for parameter in encoder.parameters():  # positions start at zero, where errors would not show
        parameter.data.add_(0.02 * torch.randn_like(parameter))
    pixels = torch.randn(1, 3, SIDE, SIDE)

    def forwards(dtype: torch.dtype) -> tuple[Callable[[], Tensor], Callable[[], Tensor]]:
        def run(forward: Callable[[Tensor], Tensor]) -> Tensor:
            with torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
                return forward(pixels)

        return lambda: run(encoder), lambda: run(lambda p: ImageEncoderViT.forward(encoder, p))

    with torch.inference_mode():
        ours, reference = forwards(torch.float32)
        ours_bf16, reference_bf16 = forwards(torch.bfloat16)
        exact = reference()
        seconds = least_seconds(ours, reference)
        seconds_bf16 = least_seconds(ours_bf16, reference_bf16)
        return [
            Row("ViT-B, float32: difference", difference(ours(), exact), "<= 1e-05 of scale"),
            Row("ViT-B, float32: time", _times(seconds), ">= 1.25 times"),
            Row("ViT-B, bfloat16: difference from float32", difference(ours_bf16(), exact)),
            Row("... of the reference in bfloat16", difference(reference_bf16(), exact)),
            Row("ViT-B, bfloat16: time", _times(seconds_bf16), ">= 2 times"),
        ]


def difference(features: Tensor, reference: Tensor) -> str:
    """The largest one, as a share of the reference's largest value."""
    share = (features.float() - reference).abs().max() / reference.abs().max()
    return f"{float(share):.1e} of scale"


def _times(seconds: list[float]) -> str:
    ours, reference = seconds
    return f"{ours:.2f} s, reference {reference:.2f} s: {reference / ours:.2f} times as fast"


def flop_rows() -> list[Row]:
    """ViT-H at full size, counted on meta tensors."""
    return [
        Row("ViT-H, FLOPs on a CPU", _flops(torch.device("cpu")), "<= 0.96 of the reference"),
        Row("ViT-H, FLOPs on a GPU", _flops(torch.device("meta")), "<= 1.0 of the reference"),
    ]


def _flops(device: torch.device) -> str:
    with FakeTensorMode(), torch.inference_mode(), device:
        encoder = SamEncoder(SAM_CONFIGS["vit_h"]).encoder.eval()
        pixels = torch.empty(1, 3, SIDE, SIDE)
        counts = []
        for forward in (encoder.forward, lambda p: ImageEncoderViT.forward(encoder, p)):
            with FlopCounter() as counter:
                forward(pixels)
            counts.append(counter.get_total_flops())
    ours, reference = counts
    return f"{ours / 1e12:.2f} T, reference {reference / 1e12:.2f} T: {ours / reference:.3f}"


def mobile_sam_row() -> Row:
    """Embeddings of three photographs against the values of another implementation."""
    what = "MobileSAM on three photographs: embedding values"
    weights = SHARED / "weights/mobile_sam.safetensors"
    if not weights.exists():
        return Row(what, f"skipped: there is no {weights}")
    encoder = SamEncoder(SAM_CONFIGS["mobile_sam"]).eval()
    load_sam_weights(encoder, weights)
    expected = json.loads((SHARED / "weights/mobile_sam_reference.json").read_text())
    worst = 0.0
    for photograph in expected:
        batch = padded_photograph(SHARED / "coco128_train/images" / photograph["file_name"])
        with torch.inference_mode():
            features = encoder(batch)[0]
        middle = features.shape[-1] // 2
        values = photograph["embedding"]
        for got, wanted in (
            (features.mean()[None], [values["mean"]]),
            (features.std()[None], [values["std"]]),
            (features[:4, 0, 0], values["corner"]),
            (features[:4, middle, middle], values["centre"]),
        ):
            worst = max(worst, float((got - torch.tensor(wanted)).abs().max()))
    return Row(what, f"within {worst:.1e}", "within 1e-03")


def padded_photograph(path: Path) -> ImageBatch:
    """A photograph resized as for the reference: by Pillow, bilinear."""
    with Image.open(path) as file:
        photograph = file.convert("RGB")
    image_hw = (photograph.height, photograph.width)
    height, width = resized_size(image_hw, SIDE)
    resized = np.array(photograph.resize((width, height), Image.Resampling.BILINEAR))
    pixels = torch.zeros((1, 3, SIDE, SIDE), dtype=torch.uint8)
    pixels[0, :, :height, :width] = torch.from_numpy(resized).permute(2, 0, 1)
    valid = torch.zeros((1, SIDE, SIDE), dtype=torch.bool)
    valid[0, :height, :width] = True
    return ImageBatch(pixels, valid, ((height, width),), (image_hw,))


def main() -> None:
    """Measure, print, write."""
    rows = [mobile_sam_row(), *flop_rows(), *speed_rows()]
    title = f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    table = Table("what", "measured", "goal", title=title)
    for row in rows:
        table.add_row(row.what, row.measured, row.goal)
    Console().print(table)
    write_json(OUTPUT, {row.what: row.measured for row in rows})


if __name__ == "__main__":
    main()
