"""MobileSAM's encoder at its only size, on small canvases."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from possam_core.encoders.mobile_sam import official_key
from possam_core.encoders.sam import SAM_CONFIGS, SamEncoder, load_sam_weights
from possam_core.errors import CheckpointError, ConfigError
from possam_core.images.batch import make_batch
from tests.factories import make_pixels


def make_encoder(seed: int = 0) -> SamEncoder:
    """Random in every parameter and statistic, in eval mode."""
    torch.manual_seed(seed)
    encoder = SamEncoder(SAM_CONFIGS["mobile_sam"]).eval()
    with torch.no_grad():
        for name, tensor in encoder.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 2)
            elif tensor.is_floating_point():
                tensor.add_(0.05 * torch.randn_like(tensor))
    return encoder


@pytest.fixture(scope="module")
def trained() -> SamEncoder:
    return make_encoder()


def official_tensors(encoder: SamEncoder) -> dict[str, Tensor]:
    """As published: with the classifier's head, and a decoder beside the encoder."""
    own = {f"image_encoder.{official_key(k)}": v for k, v in encoder.encoder.state_dict().items()}
    return own | {
        "image_encoder.norm_head.weight": torch.zeros(320),
        "image_encoder.head.weight": torch.zeros(1000, 320),
        "image_encoder.layers.1.blocks.0.attn.attention_bias_idxs": torch.zeros(49, 49),
        "mask_decoder.iou_token.weight": torch.zeros(1, 256),
    }


def write_official(path: Path, tensors: dict[str, Tensor]) -> Path:
    torch.save(tensors, path)
    return path


@pytest.mark.parametrize(
    ("key", "official"),
    [
        ("patch_embed.conv2.bn.running_mean", "patch_embed.seq.2.bn.running_mean"),
        ("stages.0.blocks.1.conv3.conv.weight", "layers.0.blocks.1.conv3.c.weight"),
        ("stages.1.downsample.conv1.conv.weight", "layers.0.downsample.conv1.c.weight"),
        ("stages.3.blocks.1.attn.attention_biases", "layers.3.blocks.1.attn.attention_biases"),
        ("stages.2.blocks.5.local_conv.conv.weight", "layers.2.blocks.5.local_conv.c.weight"),
        ("neck.2.weight", "neck.2.weight"),
    ],
)
def test_official_key_gives_the_names_of_the_checkpoint(key: str, official: str) -> None:
    assert official_key(key) == official


@torch.no_grad()
def test_the_grid_has_one_cell_for_16_pixels_on_any_canvas(trained: SamEncoder) -> None:
    for canvas in (64, 240):  # 240: windows are padded in three stages
        batch = make_batch([make_pixels(), make_pixels(64, 32)], canvas=canvas)
        features = trained(batch)
        assert features.shape == (2, 256, canvas // 16, canvas // 16)
        assert features.isfinite().all()


@torch.no_grad()
def test_weights_loaded_after_a_prediction_replace_all_cached_values(
    trained: SamEncoder, tmp_path: Path
) -> None:
    batch = make_batch([make_pixels()], canvas=128)
    expected = trained(batch)
    other = make_encoder(seed=1)
    assert not torch.allclose(other(batch), expected)  # and caches its attention biases
    load_sam_weights(other, write_official(tmp_path / "sam.pt", official_tensors(trained)))
    assert torch.equal(other(batch), expected)
    assert not other.training


@torch.no_grad()
def test_the_attention_biases_matter(trained: SamEncoder) -> None:
    batch = make_batch([make_pixels()], canvas=128)
    changed = make_encoder()
    tensors = changed.state_dict()
    tensors["encoder.stages.2.blocks.0.attn.attention_biases"] += 5 * torch.randn(5, 196)
    assert not torch.allclose(changed(batch), trained(batch), atol=1e-4)


@torch.no_grad()
def test_folded_and_separate_batch_norms_give_the_same_features(
    trained: SamEncoder, tmp_path: Path
) -> None:
    tensors = official_tensors(trained)
    for key in [k for k in tensors if k.endswith(".c.weight")]:
        stem = key.removesuffix("c.weight") + "bn."
        gain = tensors[stem + "weight"] / (tensors[stem + "running_var"] + 1e-5).sqrt()
        tensors[key] = tensors[key] * gain[:, None, None, None]
        tensors[stem + "bias"] = tensors[stem + "bias"] - tensors[stem + "running_mean"] * gain
        tensors[stem + "weight"] = torch.ones_like(gain)
        tensors[stem + "running_mean"] = torch.zeros_like(gain)
        tensors[stem + "running_var"] = torch.full_like(gain, 1 - 1e-5)
    folded = make_encoder(seed=1)
    load_sam_weights(folded, write_official(tmp_path / "folded.pt", tensors))
    batch = make_batch([make_pixels()], canvas=128)
    expected = trained(batch)
    assert float((folded(batch) - expected).abs().max()) <= 1e-4 * float(expected.abs().max())


def test_a_missing_tensor_is_named_as_in_the_file(trained: SamEncoder, tmp_path: Path) -> None:
    tensors = official_tensors(trained)
    del tensors["image_encoder.layers.0.downsample.conv1.c.weight"]
    path = write_official(tmp_path / "sam.pt", tensors)
    with pytest.raises(
        CheckpointError, match=r"lacks image_encoder\.layers\.0\.downsample\.conv1\.c\.weight;"
    ):
        load_sam_weights(make_encoder(seed=1), path)


def test_only_the_image_size_may_change() -> None:
    config = SAM_CONFIGS["mobile_sam"]
    assert replace(config, image_size=512).image_size == 512
    with pytest.raises(ConfigError, match="window_size must be 0 for mobile_sam, got 7"):
        replace(config, window_size=7)
