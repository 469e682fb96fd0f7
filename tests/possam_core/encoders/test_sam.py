"""Small encoders with every kind of block, compared with `segment_anything`'s own forward."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import jaxtyping
import pytest
import torch
from safetensors.torch import save_file
from segment_anything import sam_model_registry
from segment_anything.modeling import ImageEncoderViT
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.posing import counting, pose, pose_network
from possam_core.checkpoints.weights import load_model
from possam_core.encoders import sam_vit
from possam_core.encoders.sam import SAM_CONFIGS, SamConfig, SamEncoder, load_sam_weights
from possam_core.encoders.sam_vit import (
    attend_by_score,
    attend_folded,
    attend_in_parts,
    attend_with_bias,
    relative_table,
    resize_positions,
)
from possam_core.errors import CheckpointError, ConfigError, PossamError
from possam_core.images.batch import ImageBatch, make_batch
from tests.factories import make_pixels

# 6 x 6 tokens in windows of 4, so that there is padding, and one global block.
SMALL = SamConfig(
    image_size=48,
    patch_size=8,
    embed_dim=24,
    depth=3,
    num_heads=3,
    out_channels=16,
    use_rel_pos=True,
    window_size=4,
    global_attn_indexes=(1,),
)


def make_encoder(config: SamConfig = SMALL) -> SamEncoder:
    """An encoder whose every parameter matters: `segment_anything` starts many at zero."""
    torch.manual_seed(0)
    encoder = SamEncoder(config).eval()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return encoder


def make_small_batch(canvas: int = 48, num_images: int = 2) -> ImageBatch:
    return make_batch([make_pixels(seed=i) for i in range(num_images)], canvas=canvas)


def write_sam(path: Path, encoder: SamEncoder, **changes: Tensor) -> Path:
    """A whole SAM's checkpoint, with other parts beside the encoder."""
    tensors = {f"image_encoder.{k}": v for k, v in encoder.encoder.state_dict().items()}
    tensors |= {"mask_decoder.iou_token.weight": torch.zeros(1, 4)} | changes
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path)
    return path


def largest_difference(ours: Tensor, reference: Tensor) -> float:
    """Relative to the scale of the reference."""
    return float((ours - reference).abs().max() / reference.abs().max())


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"window_size": 3},
        {"window_size": 0, "global_attn_indexes": ()},
        {"global_attn_indexes": ()},
        {"use_rel_pos": False},
    ],
    ids=["padded windows", "whole windows", "all global", "all windows", "no relative positions"],
)
@torch.no_grad()
def test_the_fast_forward_agrees_with_the_reference(changes: dict[str, Any]) -> None:
    encoder = make_encoder(replace(SMALL, **changes)).encoder
    pixels = torch.randn(2, 3, 48, 48)
    reference = ImageEncoderViT.forward(encoder, pixels)
    assert largest_difference(encoder(pixels), reference) <= 1e-5


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@torch.no_grad()
def test_all_forms_of_attention_agree_with_their_definition(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    query, key, value = torch.randn(3, 5, 2, 6, 4, 8).unbind()  # five windows of 6 x 4
    bias_h, bias_w = torch.randn(5, 2, 6, 4, 6), torch.randn(5, 2, 6, 4, 4)
    bias = (bias_h[..., None] + bias_w[..., None, :]).reshape(5, 2, 24, 24)
    logits = query.flatten(2, 3) @ key.flatten(2, 3).mT / 8**0.5 + bias
    expected = (logits.softmax(-1) @ value.flatten(2, 3)).view(5, 2, 6, 4, 8)
    for attend in (attend_folded, attend_with_bias, attend_by_score):
        found = attend(query, key, value, bias_h, bias_w)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    # All at once; two windows; a window; four rows of one; a row.
    for numbers in (10**6, 2500, 1200, 800, 1):
        monkeypatch.setattr(sam_vit, "BIAS_NUMBERS", numbers)
        torch.testing.assert_close(attend_in_parts(query, key, value, bias_h, bias_w), expected)


@torch.no_grad()
def test_on_a_gpu_each_block_attends_in_one_operation_with_the_same_features() -> None:
    encoder = make_encoder().encoder
    pixels = torch.randn(2, 3, 48, 48)
    expected = encoder(pixels)
    posing = pose_network(encoder)
    with counting(encoder) as counts:
        found = posing(pose(pixels)).cpu()
    assert counts.operations["possam.attend_fused"] == 3
    assert largest_difference(found, expected) <= 1e-5


class LargestTensor(TorchDispatchMode):
    """Records the size of the largest tensor made inside it."""

    numel = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            self.numel = max(self.numel, result.numel())
        return result


@torch.no_grad()
def test_a_global_block_never_holds_the_whole_bias(monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(SMALL, image_size=256, window_size=0, global_attn_indexes=(), depth=1)
    encoder = make_encoder(config).encoder
    pixels = torch.randn(1, 3, 256, 256)
    all_by_all = 3 * 1024 * 1024
    with LargestTensor() as reference:
        ImageEncoderViT.forward(encoder, pixels)
    assert reference.numel >= all_by_all
    monkeypatch.setattr(sam_vit, "BIAS_NUMBERS", all_by_all // 8)
    with LargestTensor() as ours:
        encoder(pixels)
    assert ours.numel <= all_by_all // 8


@torch.no_grad()
def test_an_image_has_the_same_features_in_any_batch() -> None:
    encoder = make_encoder()
    batch = make_small_batch(num_images=3)
    together = encoder(batch)
    for i in range(3):
        alone = encoder(make_batch([make_pixels(seed=i)], canvas=48))
        torch.testing.assert_close(alone[0], together[i])


@torch.no_grad()
def test_a_smaller_canvas_equals_the_reference_with_resized_positions() -> None:
    encoder = make_encoder()
    small = make_small_batch(canvas=32)
    features = encoder(small)
    assert features.shape == (2, 16, 4, 4)
    reference = ImageEncoderViT(
        img_size=32,
        patch_size=8,
        embed_dim=24,
        depth=3,
        num_heads=3,
        out_chans=16,
        use_rel_pos=True,
        window_size=4,
        global_attn_indexes=(1,),
    )
    tensors = dict(encoder.encoder.state_dict())
    tensors["pos_embed"] = resize_positions(tensors["pos_embed"], (4, 4))
    for axis in "hw":  # seven distances between four tokens, learned as eleven between six
        key = f"blocks.1.attn.rel_pos_{axis}"
        tensors[key] = functional.interpolate(tensors[key].T[None], size=7, mode="linear")[0].T
    reference.load_state_dict(tensors)
    pixels = (small.pixels - encoder.pixel_mean[:, None, None]) / encoder.pixel_std[:, None, None]
    expected = reference(pixels * small.valid[:, None])
    assert largest_difference(features, expected) <= 1e-5


def test_positions_are_averaged_when_the_grid_shrinks_and_kept_when_it_does_not() -> None:
    ramp = torch.arange(4.0)[None, :, None, None].expand(1, 4, 4, 1)
    assert resize_positions(ramp, (4, 4)) is ramp
    resized = resize_positions(ramp, (2, 2))
    assert resized.shape == (1, 2, 2, 1)
    torch.testing.assert_close(resized.mean(), ramp.mean())
    assert resized[0, 0, 0, 0] < resized[0, 1, 0, 0]


def test_relative_table_holds_the_embedding_of_query_minus_key() -> None:
    table = relative_table(torch.tensor([[-1.0], [0.0], [1.0]]), 2)
    assert table[..., 0].tolist() == [[0.0, -1.0], [1.0, 0.0]]


@pytest.mark.parametrize("canvas", [56, 44])
def test_a_canvas_that_does_not_fit_is_refused(canvas: int) -> None:
    with pytest.raises(PossamError, match="at most 48 pixels in multiples of 8, got"):
        make_encoder()(make_small_batch(canvas=canvas))


def test_gradients_reach_every_parameter() -> None:
    encoder = make_encoder().train()
    encoder(make_small_batch()).square().sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_gradients_equal_those_of_the_reference() -> None:
    encoder = make_encoder().encoder
    pixels = torch.randn(1, 3, 48, 48)
    grads = []
    for forward in (encoder.forward, lambda p: ImageEncoderViT.forward(encoder, p)):
        encoder.zero_grad()
        forward(pixels).square().sum().backward()
        grads.append(encoder.blocks[1].attn.rel_pos_h.grad.clone())
    assert largest_difference(*grads) <= 1e-4


@pytest.mark.parametrize("name", ["vit_b", "vit_l", "vit_h"])
def test_presets_have_the_tensors_of_the_published_models(name: str) -> None:
    with torch.device("meta"):
        published = sam_model_registry[name]().image_encoder
        ours = SamEncoder(SAM_CONFIGS[name]).encoder
    shapes = [{k: v.shape for k, v in m.state_dict().items()} for m in (ours, published)]
    assert shapes[0] == shapes[1]
    assert [b.window_size for b in ours.blocks] == [b.window_size for b in published.blocks]


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_load_from_a_whole_sam(tmp_path: Path, suffix: str) -> None:
    trained = make_encoder()
    fresh = SamEncoder(SMALL)
    load_sam_weights(fresh, write_sam(tmp_path / f"sam{suffix}", trained))
    for key, tensor in trained.state_dict().items():
        assert torch.equal(fresh.state_dict()[key], tensor), key


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depth": 4}, r"lacks image_encoder\.blocks\.3\.attn\.proj\.bias, .* and 11 more"),
        ({"depth": 2}, r"has in addition image_encoder\.blocks\.2\."),
        (
            {"out_channels": 8},
            r"has in other shapes image_encoder\.neck\.0\.weight, .* and 3 more; choose",
        ),
    ],
)
def test_weights_of_another_architecture_are_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = write_sam(tmp_path / "sam.pth", make_encoder())
    encoder = SamEncoder(replace(SMALL, **changes))
    before = {k: v.clone() for k, v in encoder.state_dict().items()}
    with pytest.raises(CheckpointError, match=rf"expected {path} to hold.* {message}"):
        load_sam_weights(encoder, path)
    assert all(torch.equal(encoder.state_dict()[k], v) for k, v in before.items())


@pytest.mark.parametrize("name", ["absent.pth", "absent.safetensors"])
def test_absent_weights_are_refused_in_one_sentence(tmp_path: Path, name: str) -> None:
    with pytest.raises(CheckpointError, match=r"cannot be read \(FileNotFoundError"):
        load_sam_weights(make_encoder(), tmp_path / name)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("keep", [0, 5, 900])
def test_damaged_weights_are_refused_in_one_sentence(
    tmp_path: Path, suffix: str, keep: int
) -> None:
    path = write_sam(tmp_path / f"sam{suffix}", make_encoder())
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match="copy it again"):
        load_sam_weights(make_encoder(), path)


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "module.pth")  # a pickled object, not tensors
    with pytest.raises(CheckpointError, match=r"not plain weights.* \(UnpicklingError"):
        load_sam_weights(make_encoder(), tmp_path / "module.pth")
    torch.save({"step": 3}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"expected tensors by name .* got int under 'step'"):
        load_sam_weights(make_encoder(), tmp_path / "other.pth")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_heads": 5}, "embed_dim must be a multiple of sam.num_heads 5, got 24"),
        ({"depth": 0}, "depth must be at least 1, got 0"),
        ({"window_size": -1}, "window_size must be 0 or more, got -1"),
        ({"global_attn_indexes": (3,)}, r"must lie in 0 to 2, got \(3,\)"),
        ({"architecture": "mobile_sam"}, "patch_size must be 16 for mobile_sam, got 8"),
    ],
)
def test_a_wrong_setting_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(SMALL, **changes)


def test_an_unknown_architecture_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # it would object first
    with pytest.raises(ConfigError, match="architecture must be vit or mobile_sam, got 'resnet'"):
        replace(SMALL, architecture="resnet")


def test_possam_tiny_keeps_its_shape_and_features() -> None:
    sam = load_model("possam-tiny").sam
    assert sam.config == SamConfig()
    pixels = torch.randn(1, 3, 192, 192, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        reference = ImageEncoderViT.forward(sam.encoder, pixels)
        assert largest_difference(sam.encoder(pixels), reference) <= 1e-5
