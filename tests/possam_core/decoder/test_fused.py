"""The branches of a GPU against those of a CPU, on tensors that pose as a GPU's."""

from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.testing import assert_close

from benchmarks.posing import counting, pose, pose_network
from possam_core.decoder.fused import KeptForShape, Mlp
from possam_core.decoder.mask_decoder import MaskDecoder, MaskDecoderConfig
from possam_core.decoder.pixel_decoder import DeformablePixelDecoder, PixelDecoderConfig

PIXEL = PixelDecoderConfig(kind="deformable", num_layers=2, num_heads=2, num_points=3, ffn_width=48)
MASKS = MaskDecoderConfig(num_queries=7, num_layers=4, width=32, num_heads=2, ffn_width=48)


class Decoders(nn.Module):
    """The two in a row, with random weights in all parameters."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.pixel = DeformablePixelDecoder(PIXEL, 32, in_channels=[32] * 4)
        self.masks = MaskDecoder(MASKS, in_channels=32, num_levels=3)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.2)
        self.eval()

    def forward(self, pyramid: list[Tensor], valid: Tensor) -> list[Tensor]:
        (last,) = self.masks(self.pixel(pyramid, valid), valid, all_layers=False)
        return [last.queries, last.mask_logits, last.iou_logits]


def make_inputs() -> tuple[list[Tensor], Tensor]:
    """Two images, the lower quarter of their canvas padding."""
    torch.manual_seed(1)
    valid = torch.ones(2, 32, 32, dtype=torch.bool)
    valid[:, 24:] = False
    return [torch.randn(2, 32, 32 >> i, 32 >> i) for i in range(4)], valid


@torch.no_grad()
def test_fused_decoders_give_what_they_give_step_by_step() -> None:
    decoders, (pyramid, valid) = Decoders(), make_inputs()
    expected = decoders(pyramid, valid)
    posing = pose_network(decoders)
    with counting(decoders) as counts:
        found = posing([pose(level) for level in pyramid], pose(valid))
    assert counts.operations["possam.samples_around_cells"] == 2  # one a layer
    for ours, theirs in zip(found, expected, strict=True):
        assert_close(ours.cpu(), theirs, rtol=1e-5, atol=1e-5)


def test_an_mlp_ends_without_relu_and_runs_as_one_product_a_layer_when_fused() -> None:
    mlp = Mlp(2, 2, 1)
    for layer, weight in ((mlp[0], [[1.0, 0.0], [0.0, -1.0]]), (mlp[2], [[-1.0, 1.0]])):
        layer.weight.data = torch.tensor(weight)
        nn.init.zeros_(layer.bias)
    inputs = torch.tensor([[[3.0, 2.0]]])
    assert mlp(inputs).tolist() == [[[-3.0]]]  # relu(3), relu(-2) -> -3 + 0
    with torch.no_grad(), counting() as counts:
        found = pose_network(mlp)(pose(inputs))
    assert found.cpu().tolist() == [[[-3.0]]]
    assert counts.num_launches == 2


def test_what_depends_on_a_shape_is_made_once_for_each_in_a_row() -> None:
    kept, made = KeptForShape[int](), []
    for shape in ((2, 2), (2, 2), (2, 3), (2, 2)):
        assert kept.get(shape, lambda shape=shape: made.append(shape) or len(made)) == len(made)
    assert made == [(2, 2), (2, 3), (2, 2)]
    deepcopy(kept).get((2, 2), lambda: made.append("copy") or 0)
    assert made[-1] == "copy"


def test_what_is_kept_in_inference_mode_serves_training() -> None:
    decoders, (pyramid, valid) = Decoders(), make_inputs()
    with torch.inference_mode():
        decoders(pyramid, valid)
    sum(output.sum() for output in decoders(pyramid, valid)).backward()
    assert decoders.pixel.level_embedding.weight.grad is not None
