"""Synthetic weights in Mask2Former's naming; their values encode where they belong."""

import math
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from possam_core.decoder.mask_decoder import MaskDecoderConfig
from possam_core.decoder.pixel_decoder import PixelDecoderConfig
from possam_core.decoder.position_encoding import sine_position_encoding
from possam_core.errors import CheckpointError
from possam_core.model import PosSAM
from possam_core.teachers.fc_clip.network import FcClip
from possam_core.training.warm_start import load_warm_start, query_order
from tests.factories import small_model
from tests.fc_clip_reference import SMALL, SMALL_CONFIG

PREDICTOR, PIXELS = "sem_seg_head.predictor.", "sem_seg_head.pixel_decoder."
WIDTH, QUERIES = 32, 8


def make_model() -> PosSAM:
    """A small model with the deformable pixel decoder."""
    small = small_model()
    config = replace(
        small.config,
        pyramid_channels=WIDTH,
        pixel_decoder=PixelDecoderConfig(
            kind="deformable", num_layers=1, num_heads=2, num_points=2, ffn_width=16
        ),
        decoder=MaskDecoderConfig(
            num_queries=QUERIES, num_layers=2, width=WIDTH, num_heads=2, ffn_width=16
        ),
    )
    return PosSAM(config, small.card)


def published() -> dict[str, torch.Tensor]:
    """One layer of each decoder, and what surrounds them."""
    torch.manual_seed(1)
    shapes = {
        PREDICTOR + "query_feat.weight": (QUERIES, WIDTH),
        PREDICTOR + "query_embed.weight": (QUERIES + 1, WIDTH),  # of another number of queries
        PREDICTOR + "class_embed.weight": (134, WIDTH),  # of a fixed set of classes
        PREDICTOR + "decoder_norm.weight": (WIDTH,),
        PREDICTOR + "transformer_cross_attention_layers.1.multihead_attn.in_proj_weight": (
            3 * WIDTH,
            WIDTH,
        ),
        PREDICTOR + "transformer_cross_attention_layers.1.multihead_attn.out_proj.weight": (
            WIDTH,
            WIDTH,
        ),
        PREDICTOR + "transformer_ffn_layers.0.linear1.weight": (16, WIDTH),
        PREDICTOR + "transformer_ffn_layers.0.linear1.bias": (16,),
        PREDICTOR + "mask_embed.layers.2.weight": (WIDTH, WIDTH),
        PIXELS + "transformer.encoder.layers.0.self_attn.value_proj.weight": (WIDTH, WIDTH),
        PIXELS + "transformer.level_embed": (3, WIDTH),
        PIXELS + "input_proj.0.0.weight": (WIDTH, 2048, 1, 1),  # of a ResNet's channels
        PIXELS + "layer_1.norm.bias": (WIDTH,),
        "backbone.stem.conv1.weight": (4, 3, 7, 7),
    }
    return {name: torch.randn(shape) for name, shape in shapes.items()}


def their_encoding(height: int, width: int, channels: int) -> torch.Tensor:
    """Sine and cosine of each frequency in turn, rows first; at the cells' centres, as ours."""
    half = channels // 2
    values = torch.empty(height, width, channels)
    for y in range(height):
        for x in range(width):
            for place, offset in (((y + 0.5) / height, 0), ((x + 0.5) / width, half)):
                for i in range(half):
                    angle = place * 2 * math.pi / 10000 ** (2 * (i // 2) / half)
                    wave = math.sin if i % 2 == 0 else math.cos
                    values[y, x, offset + i] = wave(angle)
    return values.flatten(0, 1)


def test_in_our_order_their_position_encoding_is_ours() -> None:
    order = query_order(16)
    assert sorted(order.tolist()) == list(range(16))
    ours = sine_position_encoding(3, 5, 16)
    torch.testing.assert_close(their_encoding(3, 5, 16)[:, order], ours)


def test_fitting_tensors_are_loaded_in_our_order_of_channels(tmp_path: Path) -> None:
    weights, model = published(), make_model()
    save_file(weights, tmp_path / "decoder.safetensors")
    report = load_warm_start(model, tmp_path / "decoder.safetensors")
    order, own = query_order(WIDTH), model.state_dict()
    cross = "transformer_cross_attention_layers.1.multihead_attn."
    for ours, theirs in (
        ("mask_decoder.query_features.weight", weights[PREDICTOR + "query_feat.weight"][:, order]),
        ("mask_decoder.norm.weight", weights[PREDICTOR + "decoder_norm.weight"][order]),
        (
            "mask_decoder.layers.1.cross_attention.in_proj_weight",
            weights[PREDICTOR + cross + "in_proj_weight"][:, order],
        ),
        (
            "mask_decoder.layers.1.cross_attention.out_proj.weight",
            weights[PREDICTOR + cross + "out_proj.weight"][order],
        ),
        (
            "mask_decoder.layers.0.ffn.0.bias",
            weights[PREDICTOR + "transformer_ffn_layers.0.linear1.bias"],
        ),
        ("mask_decoder.mask_embedding.4.weight", weights[PREDICTOR + "mask_embed.layers.2.weight"]),
        (
            "pixel_decoder.layers.0.attention.value_proj.weight",
            weights[PIXELS + "transformer.encoder.layers.0.self_attn.value_proj.weight"],
        ),
        ("pixel_decoder.output.1.bias", weights[PIXELS + "layer_1.norm.bias"]),
    ):
        torch.testing.assert_close(own[ours], theirs, rtol=0, atol=0)
    assert len(report.taken) == 10
    assert report.of_other_shape == (
        PIXELS + "input_proj.0.0.weight",
        PREDICTOR + "query_embed.weight",
    )
    assert report.unknown == (PREDICTOR + "class_embed.weight",)
    assert "mask_decoder.query_positions.weight" in report.newly_initialised
    assert "mask_decoder.iou_head.0.weight" in report.newly_initialised


def test_maps_reach_the_queries_as_in_their_decoder(tmp_path: Path) -> None:
    model = make_model()
    save_file(published(), tmp_path / "decoder.safetensors")
    load_warm_start(model, tmp_path / "decoder.safetensors")
    features = torch.randn(1, WIDTH, 2, 2)
    for projection in model.mask_decoder.input_projections:
        torch.testing.assert_close(projection(features), features[:, query_order(WIDTH)])


def test_all_of_fc_clip_is_taken_or_listed(tmp_path: Path) -> None:
    weights = SMALL.tensors(FcClip(SMALL_CONFIG)) | {"criterion.empty_weight": torch.ones(134)}
    torch.save({"model": weights}, tmp_path / "head.pth")
    small = small_model()
    config = replace(
        small.config,
        clip=replace(small.config.clip, embed_dim=64),
        pyramid_channels=64,
        pixel_decoder=SMALL_CONFIG.pixel_decoder,
        decoder=SMALL_CONFIG.decoder,
    )
    model = PosSAM(config, small.card)
    report = load_warm_start(model, tmp_path / "head.pth")
    assert report.unknown == ("criterion.empty_weight",)
    assert report.of_other_shape == (  # of the tower's widths
        PIXELS + "adapter_1.weight",
        PIXELS + "input_proj.1.0.weight",
        PIXELS + "input_proj.2.0.weight",
    )
    head = {name for name in weights if not name.startswith("backbone.")}
    assert set(report.taken) == head - set(report.unknown) - set(report.of_other_shape)
    assert torch.equal(model.ldp.void, weights["void_embedding.weight"][0])


@pytest.mark.parametrize("suffix", [".pkl", ".pth"])
def test_every_published_format_is_read(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"decoder{suffix}"
    if suffix == ".pkl":
        arrays = {name: tensor.numpy() for name, tensor in published().items()}
        file.write_bytes(pickle.dumps({"model": arrays, "__author__": "somebody"}))
    else:
        torch.save({"model": published(), "iteration": 3}, file)
    assert len(load_warm_start(make_model(), file).taken) == 10


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return (print, ("ran",))


@pytest.mark.parametrize("suffix", [".pkl", ".pth"])
def test_a_pickle_that_would_run_code_is_refused(
    tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / f"decoder{suffix}"
    content = {"model": {"weight": Evil()}}
    if suffix == ".pkl":
        file.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, file)
    with pytest.raises(CheckpointError, match="not plain weights, so it was not run"):
        load_warm_start(make_model(), file)
    assert "ran" not in capsys.readouterr().out


def test_weights_of_another_size_are_refused_by_name(tmp_path: Path) -> None:
    name = PREDICTOR + "query_feat.weight"
    file = tmp_path / "decoder.pkl"
    file.write_bytes(pickle.dumps({name: np.zeros((100, 256), np.float32)}))
    with pytest.raises(CheckpointError, match=rf"{file}, but nothing fits: it holds {name}"):
        load_warm_start(make_model(), file)
