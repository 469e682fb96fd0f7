import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.testing import assert_close

from possam_core.decoder.mask_decoder import (
    FULL_SIZE_MASK_DECODER,
    Attention,
    MaskDecoder,
    MaskDecoderConfig,
)
from possam_core.decoder.pixel_decoder import PixelFeatures
from possam_core.errors import ConfigError

CONFIG = MaskDecoderConfig(num_queries=5, num_layers=4, width=16, num_heads=2, ffn_width=32)


def make_decoder() -> MaskDecoder:
    """Small, untrained; four layers over three levels."""
    torch.manual_seed(0)
    return MaskDecoder(CONFIG, in_channels=8, num_levels=3).eval()


def make_features() -> PixelFeatures:
    """Two images of 16 x 16 cells, and levels of 2, 4 and 8."""
    torch.manual_seed(1)
    return PixelFeatures(
        torch.randn(2, 8, 16, 16), tuple(torch.randn(2, 8, side, side) for side in (2, 4, 8))
    )


def make_valid() -> torch.Tensor:
    """The lower quarter of the canvas is padding."""
    valid = torch.ones(2, 16, 16, dtype=torch.bool)
    valid[:, 12:] = False
    return valid


def test_attention_equals_pytorchs_with_the_same_parameters() -> None:
    torch.manual_seed(0)
    ours, theirs = Attention(16, num_heads=4), nn.MultiheadAttention(16, 4, batch_first=True)
    nn.init.normal_(ours.in_proj_bias)
    nn.init.normal_(ours.out_proj.bias)
    theirs.load_state_dict(ours.state_dict())
    query, key, value = torch.randn(2, 3, 16), torch.randn(2, 7, 16), torch.randn(2, 7, 16)
    blocked = torch.rand(2, 3, 7) > 0.5
    blocked[..., 0] = False
    expected, _ = theirs(query, key, value, attn_mask=blocked.repeat_interleave(4, dim=0))
    assert_close(ours(query, key, value, allowed=~blocked), expected, rtol=1e-5, atol=1e-5)
    expected, _ = theirs(query, key, value)
    assert_close(ours(query, key, value), expected, rtol=1e-5, atol=1e-5)


def test_attention_is_initialised_like_pytorchs() -> None:
    torch.manual_seed(0)
    ours = Attention(16, num_heads=4).state_dict()
    torch.manual_seed(0)
    theirs = nn.MultiheadAttention(16, 4, batch_first=True).state_dict()
    assert set(ours) == set(theirs)
    for name, parameter in theirs.items():
        assert torch.equal(ours[name], parameter), name


def test_layers_follow_the_definition() -> None:
    """Cross, self, feed-forward; each post-norm; levels cycled; masks of the layer before block."""
    decoder, pixels, valid = make_decoder(), make_features(), make_valid()
    seen = []
    for layer in decoder.layers:
        layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs))
    with torch.no_grad():
        predictions = decoder(pixels, valid)
        for i, (queries, places, memory, placed_memory, allowed) in enumerate(seen):
            side = (2, 4, 8)[i % 3]
            assert memory.shape == (2, side * side, 16)
            logits = functional.interpolate(
                predictions[i].mask_logits, size=(side, side), mode="bilinear"
            ).flatten(2)
            padding = torch.arange(side * side) // side >= {2: 2, 4: 3, 8: 6}[side]
            outside = (logits < 0) | padding
            expected = torch.where(outside.all(-1, keepdim=True), padding, outside)
            assert torch.equal(allowed, ~expected)
            layer = decoder.layers[i]
            looked = layer.cross_attention(queries + places, placed_memory, memory, allowed=allowed)
            x = layer.norms[0](queries + looked)
            x = layer.norms[1](x + layer.self_attention(x + places, x + places, x))
            x = layer.norms[2](x + layer.ffn(x))
            assert_close(predictions[i + 1].queries, decoder.norm(x))


def test_a_query_with_an_empty_mask_attends_everywhere_except_padding() -> None:
    decoder, pixels = make_decoder(), make_features()
    nn.init.zeros_(decoder.mask_embedding[-1].weight)
    nn.init.constant_(decoder.mask_embedding[-1].bias, -1.0)
    blocked = []
    decoder.layers[2].register_forward_pre_hook(lambda _, inputs: blocked.append(inputs[-1]))
    features = PixelFeatures(torch.ones(2, 8, 16, 16), pixels.memory)  # all mask logits are -8
    with torch.no_grad():
        decoder(features, make_valid())
    by_row = ~blocked[0].reshape(2, 5, 8, 8)
    assert not by_row[:, :, :6].any()
    assert by_row[:, :, 6:].all()


def test_without_all_layers_only_the_last_prediction_is_returned() -> None:
    decoder, pixels, valid = make_decoder(), make_features(), make_valid()
    with torch.no_grad():
        every = decoder(pixels, valid)
        (last,) = decoder(pixels, valid, all_layers=False)
    assert len(every) == 5
    assert torch.equal(last.mask_logits, every[-1].mask_logits)
    assert torch.equal(last.queries, every[-1].queries)
    assert torch.equal(last.iou_logits, every[-1].iou_logits)


def test_gradients_reach_every_parameter_from_all_layers() -> None:
    decoder = make_decoder().train()
    predictions = decoder(make_features(), make_valid())
    total = sum(p.mask_logits.square().mean() + p.iou_logits.square().mean() for p in predictions)
    total.backward()
    for name, parameter in decoder.named_parameters():
        assert parameter.grad is not None, name


def test_the_full_size_has_nine_layers_of_250_queries() -> None:
    with torch.device("meta"):
        decoder = MaskDecoder(FULL_SIZE_MASK_DECODER, in_channels=256, num_levels=3)
    square, norm = 257 * 256, 2 * 256
    by_hand = (
        9 * (2 * 4 * square + 257 * 2048 + 2049 * 256 + 3 * norm)
        + (2 * 250 + 3) * 256  # queries, their positions, levels
        + 3 * square  # input projections
        + norm + 3 * square + 2 * square + 257  # masks and IoU
    )  # fmt: skip
    assert sum(p.numel() for p in decoder.parameters()) == by_hand


def test_a_width_not_divisible_by_the_heads_is_refused() -> None:
    with pytest.raises(ConfigError, match="multiple of num_heads 8 and of 4, got 100"):
        MaskDecoderConfig(width=100)


def test_maps_as_wide_as_the_queries_may_be_taken_as_they_are() -> None:
    decoder = MaskDecoder(
        CONFIG, in_channels=16, num_levels=3, projects_inputs=False, has_iou_head=False
    )
    assert not [name for name, _ in decoder.named_parameters() if "input" in name or "iou" in name]
    pixels = PixelFeatures(
        torch.randn(2, 16, 16, 16), tuple(torch.randn(2, 16, side, side) for side in (2, 4, 8))
    )
    (last,) = decoder(pixels, make_valid(), all_layers=False)
    assert last.iou_logits is None
    with pytest.raises(ConfigError, match=r"decoder.width must be .* as they are, 8, got 16"):
        MaskDecoder(CONFIG, in_channels=8, num_levels=3, projects_inputs=False)
