"""FC-CLIP, small, against the numbers of its own code on the same weights, stage by stage."""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from possam_core.decoder.mask_decoder import MaskDecoderConfig
from possam_core.decoder.pixel_decoder import PixelDecoderConfig, PixelFeatures
from possam_core.encoders.clip import ClipConfig
from possam_core.errors import ConfigError
from possam_core.images.batch import ImageBatch, make_shortest_edge_batch
from possam_core.model import MaskClassification
from possam_core.teachers.fc_clip.network import FcClip, FcClipConfig, hard_cut
from possam_core.teachers.fc_clip.scoring import FcClipScoring, score_masks
from tests.fc_clip_reference import SMALL, SMALL_CONFIG, SMALL_REFERENCES, picture

REFERENCES = np.load(SMALL_REFERENCES)
PICTURES = range(len(SMALL.pictures))
network = cache(SMALL.network)


@dataclass(frozen=True)
class Stages:
    """What our network gives for one picture."""

    batch: ImageBatch
    maps: list[Tensor]
    pixels: PixelFeatures
    layers: list[MaskClassification]
    clip_logits: Tensor


@cache
def stages(index: int) -> Stages:
    image = picture(*SMALL.pictures[index])
    batch = make_shortest_edge_batch([image], short_side=96, long_side=160, multiple=32)
    with torch.inference_mode():
        text = network().clip.embed_vocabulary(SMALL.vocabulary)
        maps = network().clip.stages(batch)
        layers = network()(batch, text, all_layers=True)
        similarity = text.class_logits(layers[-1].clip_embeddings)
        clip_logits = network().clip.logit_scale * similarity
        return Stages(batch, maps, network().pixel_decoder(maps), layers, clip_logits)


def assert_close(ours: Tensor, name: str) -> None:
    """Within 1e-5 of the reference's largest value."""
    theirs = torch.from_numpy(REFERENCES[name])
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()


def test_names_are_embedded_as_there() -> None:
    text = network().clip.embed_vocabulary(SMALL.vocabulary)
    assert_close(text.embeddings, "text")
    assert text.class_of_name.bincount().tolist() == REFERENCES["names_per_class"].tolist()


@pytest.mark.parametrize("index", PICTURES)
def test_the_canvas_holds_the_very_pixels(index: int) -> None:
    batch = stages(index).batch
    height, width = batch.resized_hw[0]
    pixels = batch.pixels[0, :, :height, :width].permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(pixels, REFERENCES[f"{index}/resized"])


@pytest.mark.parametrize("index", PICTURES)
def test_the_towers_stages_and_the_pixel_decoders_maps_are_theirs(index: int) -> None:
    found = stages(index)
    for stage, step in enumerate((2, 2, 1, 1)):
        assert_close(found.maps[stage][0, :, ::step, ::step], f"{index}/res{stage + 2}")
    assert_close(found.maps[-1][0], f"{index}/clip_vis_dense")
    assert_close(found.pixels.mask_features[0, :, ::2, ::2], f"{index}/mask_features")
    for level, step in enumerate((1, 1, 2)):
        assert_close(found.pixels.memory[level][0, :, ::step, ::step], f"{index}/memory_{level}")


@pytest.mark.parametrize("index", PICTURES)
def test_masks_and_classes_are_theirs_after_every_layer(index: int) -> None:
    layers = stages(index).layers
    for number, layer in enumerate(layers[:-1]):
        masks = layer.prediction.mask_logits[0, ::2, ::4, ::4]
        assert_close(masks, f"{index}/mask_logits_after_{number}")
        assert_close(layer.class_logits[0], f"{index}/class_logits_after_{number}")
    last = layers[-1]
    assert_close(last.prediction.queries[0], f"{index}/queries")
    assert_close(last.prediction.mask_logits[0, :, ::2, ::2], f"{index}/mask_logits")
    assert_close(last.class_logits[0], f"{index}/class_logits")
    assert_close(last.clip_embeddings[0], f"{index}/clip_embeddings")
    theirs = torch.from_numpy(REFERENCES[f"{index}/clip_logits"])[:, :-1]  # its void is unused
    torch.testing.assert_close(stages(index).clip_logits[0], theirs, rtol=0, atol=2e-4)


@pytest.mark.parametrize("index", PICTURES)
@pytest.mark.parametrize(
    ("name", "scoring"),
    [
        ("", FcClipScoring()),
        ("trained_alone/", FcClipScoring(alpha=0.0, beta=0.0)),
        ("clip_alone/", FcClipScoring(alpha=1.0, beta=1.0)),
        ("valid_mask/", FcClipScoring(counts_empty_masks=False)),
    ],
)
def test_probabilities_of_classes_and_void_are_theirs(
    index: int, name: str, scoring: FcClipScoring
) -> None:
    seen = torch.from_numpy(REFERENCES["is_seen"].astype(bool))
    found = stages(index)
    scores = score_masks(found.layers[-1], found.clip_logits, seen, scoring)
    void = scores.void_probs[0, :, None]
    ours = torch.cat([scores.class_probs[0] * (1 - void), void], dim=-1)
    theirs = torch.from_numpy(REFERENCES[f"{index}/{name}class_log_probs"]).exp() - 1e-8
    assert (ours - theirs).abs().max() <= 1e-5


def test_a_mask_is_cut_where_its_resized_logits_are_above_zero() -> None:
    logits = torch.tensor([[[[-1.0, 3.0], [-1.0, -1.5]], [[9.0, -1.0], [-1.0, -1.0]]]])
    assert hard_cut(logits, (1, 1)).tolist() == [[[[0.0]], [[1.0]]]]  # means -0.125 and 1.5
    assert hard_cut(logits, (2, 2))[0, 0].tolist() == [[0.0, 1.0], [0.0, 0.0]]


def test_shapes_that_are_not_fc_clips_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"must have a ConvNeXt as image tower, got 'ViT-B-16'"):
        FcClipConfig(clip=ClipConfig(model="ViT-B-16"))
    with pytest.raises(ConfigError, match=r"pixel_decoder.kind must be deformable, got 'fpn'"):
        FcClipConfig(pixel_decoder=PixelDecoderConfig())
    with pytest.raises(ConfigError, match=r"strides \[4, 8, 16, 32\], got 'possam_convnext_tiny'"):
        FcClip(replace(SMALL_CONFIG, clip=ClipConfig()))
    with pytest.raises(ConfigError, match="multiple of 32 pyramid channels, got 48"):
        FcClip(replace(SMALL_CONFIG, decoder=MaskDecoderConfig(width=48)))
