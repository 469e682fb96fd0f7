"""The network, untrained and small: shapes, padding, what is frozen."""

import numpy as np
import pytest
import torch
from segment_anything.modeling import ImageEncoderViT

from possam_core.checkpoints.weights import load_model
from possam_core.decoder.mask_decoder import MaskDecoderConfig
from possam_core.encoders.sam import SamConfig
from possam_core.errors import ConfigError
from possam_core.images.batch import make_batch
from possam_core.model import PosSAM
from possam_core.playground import PLAYGROUND
from tests.factories import make_pixels


@pytest.fixture(scope="module")
def model(tiny_model: str) -> PosSAM:
    return load_model(tiny_model)


def test_the_sam_encoder_is_segment_anythings_own(model: PosSAM) -> None:
    assert isinstance(model.sam.encoder, ImageEncoderViT)


def test_the_pyramid_has_four_levels_two_octaves_up_and_one_down(model: PosSAM) -> None:
    batch = make_batch([make_pixels()], canvas=48)
    features = model.sam(batch)
    assert features.shape[-2:] == (4, 4)
    assert [p.shape[-1] for p in model.pyramid(features)] == [16, 8, 4, 2]


def test_forward_gives_masks_iou_and_classes_with_void_last(model: PosSAM) -> None:
    batch = make_batch([make_pixels(), make_pixels(64, 32)], canvas=48)
    text = model.clip.embed_vocabulary(PLAYGROUND.vocabulary)
    layers = model(batch, text, all_layers=True)
    assert len(layers) == 4  # on the learnable queries, and after three layers
    last = layers[-1]
    assert last.prediction.mask_logits.shape == (2, 8, 16, 16)
    assert last.prediction.iou_logits.shape == (2, 8)
    assert last.class_logits.shape == (2, 8, 49)


def test_the_content_of_the_padding_changes_nothing(model: PosSAM) -> None:
    batch = make_batch([make_pixels(24, 48)], canvas=48)
    text = model.clip.embed_vocabulary(PLAYGROUND.vocabulary)
    before = model(batch, text)[-1]
    batch.pixels[:, :, 24:] = 255
    after = model(batch, text)[-1]
    torch.testing.assert_close(after.prediction.mask_logits, before.prediction.mask_logits)
    torch.testing.assert_close(after.class_logits, before.class_logits)


def test_text_embeddings_are_unit_vectors_one_for_each_name(model: PosSAM) -> None:
    vocabulary = PLAYGROUND.vocabulary
    text = model.clip.embed_vocabulary(vocabulary)
    assert len(text.embeddings) == sum(len(c.all_names) for c in vocabulary.classes)
    np.testing.assert_allclose(text.embeddings.norm(dim=-1), 1, rtol=1e-5)


def test_projecting_one_cell_equals_clips_embedding_of_an_image_of_that_cell(model: PosSAM) -> None:
    batch = make_batch([make_pixels(48, 48)], canvas=48)
    dense = model.clip.dense_features(batch)
    visual = model.clip.clip.visual
    whole_image = visual.head(visual.trunk.forward_head(dense))
    torch.testing.assert_close(model.clip.project(dense.mean(dim=(-2, -1))), whole_image)


def test_impossible_shapes_are_refused() -> None:
    with pytest.raises(ConfigError, match="multiple of"):
        SamConfig(image_size=100, patch_size=12)
    with pytest.raises(ConfigError, match=r"decoder\.width"):
        MaskDecoderConfig(width=30)
