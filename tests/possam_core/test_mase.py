import json
from dataclasses import asdict

import pytest
import torch
from torch.testing import assert_close

from possam_core.errors import ConfigError
from possam_core.labels.scored_masks import ScoredMasks
from possam_core.mase import (
    MaseConfig,
    ensemble,
    geometric_ensemble,
    trusted_classes,
)
from possam_core.vocabulary.vocabulary import Vocabulary

LDP = torch.tensor([[[2.0, 0.0, -1.0], [0.0, 0.5, 0.0]]])  # (1, 2, 3)
CLIP = torch.tensor([[[0.0, 1.0, 0.0], [3.0, 0.0, 0.0]]])
IOU = torch.tensor([[0.9, 0.5]])
HAS_CLIP = torch.tensor([[True, True]])
INFINITY = float("inf")


def fixed(weight: float) -> torch.Tensor:
    """The geometric ensemble with one weight of CLIP for every class."""
    mixed = (1 - weight) * LDP.log_softmax(-1) + weight * CLIP.log_softmax(-1)
    return mixed.softmax(-1)


def test_a_class_is_trusted_if_some_mask_is_confident_of_it() -> None:
    probs = torch.tensor([[[0.9, 0.1], [0.4, 0.6]]])
    assert trusted_classes(probs, IOU, tau=0.5).tolist() == [[True, False]]  # 0.81 and 0.3


def name_overlap() -> torch.Tensor:
    """FC-CLIP's seen set of three classes: sofa and grass by a shared string, lamp by none."""
    vocabulary = Vocabulary.from_records(
        "rooms",
        [
            {"name": "couch", "kind": "thing", "synonyms": ["sofa"]},
            {"name": "lamp", "kind": "thing", "synonyms": ["table lamp"]},
            {"name": "grass", "kind": "stuff"},
        ],
    )
    training_names = ("sofa", "loveseat", "lamppost", "Lamp", "grass", "lawn")
    return torch.tensor([vocabulary.seen_in(training_names)])


def fc_clip(seen: torch.Tensor, has_clip: torch.Tensor) -> torch.Tensor:
    """docs/method.md 5.5 and 5.7 in float64, as products of powers."""
    p_in, p_out = LDP.double().exp(), CLIP.double().exp()
    p_in, p_out = p_in / p_in.sum(-1, keepdim=True), p_out / p_out.sum(-1, keepdim=True)
    exponent = (0.4 * seen.double() + 0.8 * (~seen).double()) * has_clip.double()[..., None]
    product = p_in ** (1 - exponent) * p_out**exponent
    return product / product.sum(-1, keepdim=True)


@pytest.mark.parametrize("end", [INFINITY, 1e9], ids=["infinite", "finite"])
def test_tau_at_either_end_gives_the_alpha_or_the_beta_ensemble(end: float) -> None:
    always = ensemble(LDP, CLIP, IOU, HAS_CLIP, MaseConfig(alpha=0.3, beta=0.9, tau=-end))
    never = ensemble(LDP, CLIP, IOU, HAS_CLIP, MaseConfig(alpha=0.3, beta=0.9, tau=end))
    assert_close(always, fixed(0.3))
    assert_close(never, fixed(0.9))


def test_a_tau_of_zero_trusts_all_classes_and_one_of_two_none() -> None:
    for iou in (torch.zeros(1, 2), torch.ones(1, 2)):
        probs = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
        assert trusted_classes(probs, iou, tau=0.0).all()
        assert not trusted_classes(probs, iou, tau=2.0).any()


@pytest.mark.parametrize("tau", [-INFINITY, INFINITY, -1e9, 0.5])
def test_any_tau_survives_the_header_of_a_checkpoint(tau: float) -> None:
    config = MaseConfig(tau=tau)
    assert MaseConfig(**json.loads(json.dumps(asdict(config)))) == config


def test_the_classes_that_share_a_name_with_training_give_fc_clips_ensemble() -> None:
    seen = name_overlap()
    assert seen.tolist() == [[True, False, True]]  # whole strings, and case counts
    probs = geometric_ensemble(LDP, CLIP, seen, HAS_CLIP, MaseConfig())
    assert_close(probs.double(), fc_clip(seen, HAS_CLIP), rtol=1e-6, atol=1e-7)


def test_mase_and_fc_clip_differ_only_in_the_set() -> None:
    """Bit for bit: FC-CLIP selects, class by class, from its seen and its unseen ensemble."""
    seen = name_overlap()
    alpha, beta = torch.tensor(0.4), torch.tensor(0.8)
    p_in, p_out = LDP.log_softmax(-1), CLIP.log_softmax(-1)
    of_seen, of_unseen = (1 - alpha) * p_in + alpha * p_out, (1 - beta) * p_in + beta * p_out
    expected = torch.where(seen[:, None], of_seen, of_unseen).softmax(-1)
    assert torch.equal(geometric_ensemble(LDP, CLIP, seen, HAS_CLIP, MaseConfig()), expected)
    config = MaseConfig(tau=0.2)
    sure = trusted_classes(LDP.softmax(-1), IOU, config.tau)
    assert sure.tolist() == [[True, True, False]]  # not FC-CLIP's set
    by_mase = ensemble(LDP, CLIP, IOU, HAS_CLIP, config)
    assert torch.equal(by_mase, geometric_ensemble(LDP, CLIP, sure, HAS_CLIP, config))
    assert not torch.allclose(by_mase, expected)


def test_a_mask_without_cells_falls_back_to_ldp_alone() -> None:
    has_clip = torch.tensor([[True, False]])
    probs = ensemble(LDP, CLIP, IOU, has_clip, MaseConfig())
    assert_close(probs[0, 1], LDP[0, 1].softmax(-1))
    seen = name_overlap()
    probs = geometric_ensemble(LDP, CLIP, seen, has_clip, MaseConfig())
    assert_close(probs.double(), fc_clip(seen, has_clip), rtol=1e-6, atol=1e-7)


def test_sharp_logits_give_no_nan() -> None:
    probs = ensemble(1e4 * LDP, 1e4 * CLIP, IOU, torch.tensor([[True, False]]), MaseConfig())
    assert probs.isfinite().all()


def test_sharp_logits_in_half_precision_are_ensembled_in_float32() -> None:
    ldp = (100 * torch.tensor([[[1.0, -1.0, 0.5], [-0.9, 0.9, 1.0]]])).half()
    clip = (100 * torch.tensor([[[-1.0, 1.0, 0.0], [1.0, -1.0, -1.0]]])).half()
    has_clip = torch.tensor([[True, False]])
    naive = ldp.softmax(-1) ** 0.6 * clip.softmax(-1) ** 0.4
    assert (naive.log() * 0).isnan().any()  # what the log of a product does here
    probs = ensemble(ldp, clip, IOU, has_clip, MaseConfig())
    assert probs.dtype == torch.float32
    assert_close(probs.sum(-1), torch.ones(1, 2))
    assert_close(probs, ensemble(ldp.float(), clip.float(), IOU, has_clip, MaseConfig()))


def test_with_eta_zero_masks_rank_by_class_score_alone() -> None:
    masks = ScoredMasks(
        mask_logits=torch.zeros(3, 1, 1),
        class_probs=torch.tensor([[0.5, 0.5], [0.9, 0.1], [0.3, 0.7]]),
        void_probs=torch.tensor([0.0, 0.5, 0.1]),
        iou_scores=torch.tensor([0.0, 0.9, 0.4]),
        clip_agrees=torch.ones(3, dtype=torch.bool),
    )
    assert_close(masks.scores(0.0), torch.tensor([0.5, 0.45, 0.63]))
    assert masks.scores(1.0).argsort(descending=True).tolist() == [1, 2, 0]


def test_weights_outside_zero_to_one_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"mase.alpha must be in \[0, 1\], got 2"):
        MaseConfig(alpha=2.0)


def test_a_tau_of_nan_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"mase.tau must be a number, got nan"):
        MaseConfig(tau=float("nan"))
