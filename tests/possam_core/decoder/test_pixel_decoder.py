import jaxtyping
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.testing import assert_close

from possam_core.decoder.pixel_decoder import (
    FULL_SIZE_PIXEL_DECODER,
    DeformableEncoderLayer,
    DeformablePixelDecoder,
    PixelDecoder,
    PixelDecoderConfig,
    make_pixel_decoder,
    padding_cells,
)
from possam_core.errors import ConfigError

SMALL = PixelDecoderConfig(kind="deformable", num_layers=2, num_heads=2, num_points=2, ffn_width=16)


def make_pyramid(side: int = 16, channels: int = 32) -> list[Tensor]:
    """Four levels of one canvas, finest first."""
    torch.manual_seed(0)
    return [torch.randn(2, channels, side >> i, side >> i) for i in range(4)]


def make_decoder() -> DeformablePixelDecoder:
    """Small, untrained."""
    torch.manual_seed(0)
    return DeformablePixelDecoder(SMALL, 32, in_channels=[32] * 4).eval()


def test_by_default_the_pixel_decoder_is_the_fpn_of_the_bundled_checkpoint() -> None:
    decoder = make_pixel_decoder(PixelDecoderConfig(), 16, num_levels=2)
    assert isinstance(decoder, PixelDecoder)
    assert set(decoder.state_dict()) == {
        f"{name}.{parameter}"
        for i in range(2)
        for name, parameters in (
            (f"laterals.{i}", ("weight", "bias")),
            (f"outputs.{i}.0", ("weight",)),
            (f"outputs.{i}.1", ("weight", "bias")),
            ("mask_projection", ("weight", "bias")),
        )
        for parameter in parameters
    }


@pytest.mark.parametrize("config", [PixelDecoderConfig(), SMALL], ids=lambda c: c.kind)
def test_both_kinds_give_mask_features_and_the_memory_coarse_to_fine(
    config: PixelDecoderConfig,
) -> None:
    decoder = make_pixel_decoder(config, 32, num_levels=4)
    pixels = decoder(make_pyramid(), torch.ones(2, 16, 16, dtype=torch.bool))
    assert pixels.mask_features.shape == (2, 32, 16, 16)
    assert [m.shape for m in pixels.memory] == [(2, 32, s, s) for s in (2, 4, 8)]


def test_without_a_valid_mask_no_cell_is_padding() -> None:
    decoder = make_decoder()
    everything = torch.ones(2, 16, 16, dtype=torch.bool)
    with torch.no_grad():
        given, absent = decoder(make_pyramid(), everything), decoder(make_pyramid())
    assert torch.equal(given.mask_features, absent.mask_features)


def test_padding_contributes_nothing_to_other_cells_in_attention() -> None:
    decoder = make_decoder()
    for projection in decoder.input_projections:  # group norms mix all cells, so leave them out
        assert isinstance(projection, nn.Sequential)
        projection[1] = nn.Identity()
    valid = torch.ones(2, 16, 16, dtype=torch.bool)
    valid[:, 8:] = False
    pyramid = make_pyramid()
    with torch.no_grad():
        before = decoder(pyramid, valid)
        for level in pyramid:
            level[:, :, level.shape[-2] // 2 :] = 7.0
        after = decoder(pyramid, valid)
    for x, y in zip(before.memory, after.memory, strict=True):
        top = x.shape[-2] // 2
        assert torch.equal(x[:, :, :top], y[:, :, :top])
        assert not torch.equal(x[:, :, top:], y[:, :, top:])


def test_an_encoder_layer_attends_from_positions_to_contents_and_norms_after_each_residual() -> (
    None
):
    torch.manual_seed(0)
    layer = DeformableEncoderLayer(SMALL, 32, num_levels=1)
    nn.init.normal_(layer.attention.sampling_offsets.weight, std=0.1)
    cells, places, centres = torch.randn(2, 6, 32), torch.randn(6, 32), torch.rand(6, 2)
    padding = torch.zeros(2, 6, dtype=torch.bool)
    with torch.no_grad():
        looked = layer.attention(cells + places, centres, cells, [(2, 3)], padding)
        x = functional.layer_norm(cells + looked, (32,))
        hidden = functional.relu(x @ layer.ffn[0].weight.T + layer.ffn[0].bias)
        x = functional.layer_norm(x + hidden @ layer.ffn[2].weight.T + layer.ffn[2].bias, (32,))
        assert_close(layer(cells, places, centres, [(2, 3)], padding), x)


def test_the_finest_level_is_fused_by_one_fpn_step_after_the_encoder() -> None:
    decoder = make_decoder()
    pyramid = make_pyramid()
    with torch.no_grad():
        pixels = decoder(pyramid)
        lateral = functional.conv2d(pyramid[0], decoder.lateral[0].weight)
        x = functional.group_norm(lateral, 32)
        x = x + functional.interpolate(pixels.memory[-1], scale_factor=2, mode="bilinear")
        x = functional.conv2d(x, decoder.output[0].weight, padding=1)
        x = functional.relu(functional.group_norm(x, 32))
        assert_close(pixels.mask_features, decoder.mask_projection(x))


def test_a_change_on_one_level_reaches_all_levels() -> None:
    decoder = make_decoder()
    pyramid = make_pyramid()
    with torch.no_grad():
        before = decoder(pyramid)
        pyramid[-1] += torch.randn_like(pyramid[-1])  # the coarsest
        after = decoder(pyramid)
    finest_memory = (before.memory[-1] - after.memory[-1]).abs().amax()
    assert finest_memory > 1e-3


def test_the_deformable_decoder_stays_in_float32_under_autocast() -> None:
    decoder = make_decoder()
    pyramid = make_pyramid()
    with torch.no_grad():
        plain = decoder(pyramid)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            under_autocast = decoder(pyramid)
            from_half = decoder([x.bfloat16() for x in pyramid])
    assert torch.equal(plain.mask_features, under_autocast.mask_features)
    assert from_half.mask_features.dtype == torch.float32


def test_one_image_has_the_same_features_alone_and_in_a_batch() -> None:
    decoder = make_decoder()
    pyramid = make_pyramid()
    with torch.no_grad():
        both = decoder(pyramid)
        alone = decoder([x[1:] for x in pyramid])
    assert_close(alone.mask_features, both.mask_features[1:], rtol=1e-5, atol=1e-5)


def test_gradients_reach_every_parameter() -> None:
    decoder = make_decoder().train()
    pixels = decoder(make_pyramid())
    (pixels.mask_features.square().sum() + sum(m.square().sum() for m in pixels.memory)).backward()
    for name, parameter in decoder.named_parameters():
        assert parameter.grad is not None, name


def test_at_full_size_it_has_as_many_parameters_as_in_the_literature() -> None:
    with torch.device("meta"):
        decoder = make_pixel_decoder(FULL_SIZE_PIXEL_DECODER, 256, num_levels=4)
    by_hand = (
        6 * (2 * (256 * 256 + 256) + 257 * 192 + 257 * 96)  # values, output, offsets, weights
        + 6 * (257 * 1024 + 1025 * 256 + 4 * 256)  # feed-forward and two norms
        + 3 * (257 * 256 + 2 * 256 + 256)  # input projections, level embedding
        + (256 * 256 + 512) + (9 * 256 * 256 + 512) + 257 * 256  # lateral, output, mask features
    )  # fmt: skip
    assert sum(p.numel() for p in decoder.parameters()) == by_hand


def test_a_coarse_cell_is_padding_if_no_cell_under_it_is_valid() -> None:
    valid = torch.zeros(1, 4, 4, dtype=torch.bool)
    valid[:, 0, :3] = True
    assert padding_cells(valid, [(2, 2), (1, 1)]).tolist() == [[False, False, True, True, False]]


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"pixel_decoder.num_points must be at least 1, got 0"):
        PixelDecoderConfig(num_points=0)
    with pytest.raises(ConfigError, match="multiple of 32 pyramid channels, got 48"):
        make_pixel_decoder(SMALL, 48, num_levels=4)


def test_an_unknown_kind_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # it would object first
    with pytest.raises(ConfigError, match=r"kind must be fpn or deformable, got 'bifpn'"):
        PixelDecoderConfig(kind="bifpn")
