import pytest
import torch
from torch.testing import assert_close

from possam_core.errors import ConfigError
from possam_core.mase import MaseConfig, ensemble, trusted_classes

LDP = torch.tensor([[[2.0, 0.0, -1.0], [0.0, 0.5, 0.0]]])  # (1, 2, 3)
CLIP = torch.tensor([[[0.0, 1.0, 0.0], [3.0, 0.0, 0.0]]])
IOU = torch.tensor([[0.9, 0.5]])
HAS_CLIP = torch.tensor([[True, True]])


def fixed(weight: float) -> torch.Tensor:
    """The geometric ensemble with one weight of CLIP for every class."""
    mixed = (1 - weight) * LDP.log_softmax(-1) + weight * CLIP.log_softmax(-1)
    return mixed.softmax(-1)


def test_a_class_is_trusted_if_some_mask_is_sure_of_it() -> None:
    probs = torch.tensor([[[0.9, 0.1], [0.4, 0.6]]])
    assert trusted_classes(probs, IOU, tau=0.5).tolist() == [[True, False]]  # 0.81 and 0.3


def test_tau_at_either_end_gives_the_alpha_or_the_beta_ensemble() -> None:
    always = ensemble(LDP, CLIP, IOU, HAS_CLIP, MaseConfig(alpha=0.3, beta=0.9, tau=-1e9))
    never = ensemble(LDP, CLIP, IOU, HAS_CLIP, MaseConfig(alpha=0.3, beta=0.9, tau=1e9))
    assert_close(always, fixed(0.3))
    assert_close(never, fixed(0.9))


def test_a_mask_without_cells_falls_back_to_ldp_alone() -> None:
    probs = ensemble(LDP, CLIP, IOU, torch.tensor([[True, False]]), MaseConfig())
    assert_close(probs[0, 1], LDP[0, 1].softmax(-1))


def test_sharp_logits_give_no_nan() -> None:
    probs = ensemble(1e4 * LDP, 1e4 * CLIP, IOU, torch.tensor([[True, False]]), MaseConfig())
    assert probs.isfinite().all()


def test_weights_outside_zero_to_one_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"mase.alpha must be in \[0, 1\], got 2"):
        MaseConfig(alpha=2.0)
