"""Cost of the full-size pixel and mask decoder on one 1024 x 1024 image, and its savings.

Compared with PyTorch's own attention, which copies the mask for each head, and with the masks of
all layers, which only training needs. Both sides alternate in one process, and the least of five
times counts. Prints a table and writes `build/bench/decoder.json`.
"""

import platform
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from benchmarks.report import write_json
from benchmarks.timing import least_seconds
from possam_core.decoder.mask_decoder import FULL_SIZE_MASK_DECODER, Attention, MaskDecoder
from possam_core.decoder.pixel_decoder import (
    FULL_SIZE_PIXEL_DECODER,
    PixelFeatures,
    make_pixel_decoder,
)
from possam_core.decoder.pyramid import SimpleFeaturePyramid
from possam_core.ldp import LocalDiscriminativePooling

OUTPUT = Path("build/bench/decoder.json")
CHANNELS = 256
SIDES = (256, 128, 64, 32)  # of the pyramid's levels at 1024 x 1024
JOINT_WIDTH = 768


def attention_row(side: int) -> tuple[str, str]:
    """Masked cross-attention of all queries into one level, against `nn.MultiheadAttention`."""
    num_queries, heads = FULL_SIZE_MASK_DECODER.num_queries, FULL_SIZE_MASK_DECODER.num_heads
    ours = Attention(CHANNELS, num_heads=heads)
    theirs = nn.MultiheadAttention(CHANNELS, heads, batch_first=True)
    theirs.load_state_dict(ours.state_dict())
    queries, memory = torch.randn(1, num_queries, CHANNELS), torch.randn(1, side * side, CHANNELS)
    allowed = torch.rand(1, num_queries, side * side) <= 0.3

    def by_pytorch() -> torch.Tensor:
        per_head = (~allowed).repeat_interleave(heads, dim=0)
        return theirs(queries, memory, memory, attn_mask=per_head, need_weights=False)[0]

    def by_us() -> torch.Tensor:
        return ours(queries, memory, memory, allowed=allowed)

    difference = (by_us() - by_pytorch()).abs().max().item()
    fast, slow = least_seconds(by_us, by_pytorch)
    return f"masked attention into {side} x {side}", (
        f"{1e3 * fast:.0f} ms, {slow / fast:.2f} times nn.MultiheadAttention, difference"
        f" {difference:.0e}"
    )


def decoder_rows() -> list[tuple[str, str]]:
    """Seconds of the pixel decoder, and of the mask decoder with and without early masks."""
    pyramid = [torch.randn(1, CHANNELS, side, side) for side in SIDES]
    pixel_decoder = make_pixel_decoder(FULL_SIZE_PIXEL_DECODER, CHANNELS, num_levels=len(SIDES))
    decoder = MaskDecoder(FULL_SIZE_MASK_DECODER, in_channels=CHANNELS, num_levels=len(SIDES) - 1)
    valid = torch.ones(1, SIDES[0], SIDES[0], dtype=torch.bool)
    pixels: PixelFeatures = pixel_decoder(pyramid, valid)
    to_features, last, every = least_seconds(
        lambda: pixel_decoder(pyramid, valid),
        lambda: decoder(pixels, valid, all_layers=False),
        lambda: decoder(pixels, valid),
    )
    return [
        ("pixel decoder", f"{to_features:.2f} s"),
        ("mask decoder, last layer's masks", f"{last:.2f} s"),
        ("mask decoder, all layers' masks", f"{every:.2f} s, {every / last:.2f} times"),
    ]


def parameter_rows() -> list[tuple[str, str]]:
    """Parameters of the trained parts at full size."""
    width = FULL_SIZE_MASK_DECODER.width
    with torch.device("meta"):
        parts: dict[str, nn.Module] = {
            "pyramid": SimpleFeaturePyramid(CHANNELS, CHANNELS),
            "pixel decoder": make_pixel_decoder(
                FULL_SIZE_PIXEL_DECODER, CHANNELS, num_levels=len(SIDES)
            ),
            "mask decoder": MaskDecoder(
                FULL_SIZE_MASK_DECODER, in_channels=CHANNELS, num_levels=len(SIDES) - 1
            ),
            "LDP": LocalDiscriminativePooling(
                mask_channels=CHANNELS, query_width=width, joint_width=JOINT_WIDTH
            ),
        }
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}
    counts["all of these"] = sum(counts.values())
    return [(f"parameters, {name}", f"{1e-6 * count:.2f} M") for name, count in counts.items()]


@torch.inference_mode()
def main() -> None:
    """Measure, print, write."""
    torch.manual_seed(0)
    rows = [*parameter_rows(), *(attention_row(side) for side in SIDES[:0:-1]), *decoder_rows()]
    table = Table(
        "what", "measured", title=f"{platform.machine()}, {torch.get_num_threads()} threads"
    )
    for row in rows:
        table.add_row(*row)
    Console().print(table)
    write_json(OUTPUT, dict(rows))


if __name__ == "__main__":
    main()
