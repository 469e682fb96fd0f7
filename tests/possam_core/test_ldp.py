import torch
from torch.nn import functional

from possam_core.ldp import LocalDiscriminativePooling, claimed_cells, mask_coverage, mask_pool
from possam_core.vocabulary.text_embeddings import TextEmbeddings

FEATURES = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])  # (1, 1, 2, 2)


def make_ldp() -> LocalDiscriminativePooling:
    torch.manual_seed(0)
    return LocalDiscriminativePooling(mask_channels=4, query_width=6, joint_width=3)


def test_mask_pool_averages_only_the_cells_under_each_mask() -> None:
    masks = torch.tensor([[[[1.0, 0.0], [0.0, 1.0]], [[0.0, 0.0], [1.0, 0.0]]]])
    assert mask_pool(FEATURES, masks).flatten().tolist() == [2.5, 3.0]


def test_mask_pool_weighs_cells_by_the_share_that_is_covered() -> None:
    masks = torch.tensor([[[[0.75, 0.25], [0.0, 0.0]]]])
    assert mask_pool(FEATURES, masks).item() == 1.25


def test_a_mask_without_cells_pools_to_zeros() -> None:
    assert mask_pool(FEATURES, torch.zeros(1, 1, 2, 2)).item() == 0


def test_masks_never_claim_padding() -> None:
    logits = torch.full((1, 1, 2, 2), 5.0)
    valid = torch.tensor([[[True, False], [False, False]]])
    assert claimed_cells(logits, valid).flatten().tolist() == [1, 0, 0, 0]


def test_a_mask_smaller_than_a_cell_keeps_its_share() -> None:
    masks = torch.zeros(1, 1, 4, 4)
    masks[..., 0, 0] = 1
    assert mask_coverage(masks, (2, 2)).flatten().tolist() == [0.25, 0, 0, 0]


def test_with_gamma_zero_ldp_is_frozen_clip() -> None:
    ldp = make_ldp()
    torch.nn.init.zeros_(ldp.gamma)
    clip_embeddings = torch.randn(1, 2, 3)
    pooled = ldp(
        torch.randn(1, 4, 2, 2), torch.ones(1, 2, 2, 2), torch.randn(1, 2, 6), clip_embeddings
    )
    torch.testing.assert_close(pooled, functional.normalize(clip_embeddings, dim=-1))


def test_with_gamma_zero_its_classes_are_exactly_frozen_clips() -> None:
    ldp = make_ldp()
    torch.nn.init.zeros_(ldp.gamma)
    names = functional.normalize(torch.randn(4, 3), dim=-1)
    text = TextEmbeddings(names, torch.tensor([0, 1, 1, 2]), num_classes=3)
    clip_embeddings = torch.randn(1, 5, 3)
    embeddings = ldp(
        torch.randn(1, 4, 2, 2), torch.ones(1, 5, 2, 2), torch.randn(1, 5, 6), clip_embeddings
    )
    assert torch.equal(embeddings, functional.normalize(clip_embeddings, dim=-1))
    clip_logits = ldp.logit_scale.exp() * text.class_logits(clip_embeddings)
    torch.testing.assert_close(ldp.class_logits(embeddings, text)[..., :-1], clip_logits)


def test_at_full_size_it_maps_256_mask_channels_to_768_joint_ones() -> None:
    torch.manual_seed(0)
    ldp = LocalDiscriminativePooling(mask_channels=256, query_width=256, joint_width=768)
    text = TextEmbeddings(torch.eye(768)[:3], torch.tensor([0, 0, 1]), num_classes=2)
    masks = (torch.rand(1, 7, 8, 8) > 0.5).float()
    embeddings = ldp(
        torch.randn(1, 256, 8, 8), masks, torch.randn(1, 7, 256), torch.randn(1, 7, 768)
    )
    assert embeddings.shape == (1, 7, 768)
    assert ldp.class_logits(embeddings, text).shape == (1, 7, 3)


def test_gradients_reach_ldp_and_queries_but_not_the_thresholded_masks() -> None:
    ldp = make_ldp()
    queries = torch.randn(1, 1, 6, requires_grad=True)
    logits = torch.randn(1, 1, 2, 2, requires_grad=True)
    masks = claimed_cells(logits, torch.ones(1, 2, 2, dtype=torch.bool))
    ldp(torch.randn(1, 4, 2, 2), masks, queries, torch.randn(1, 1, 3)).sum().backward()
    assert queries.grad is not None
    assert ldp.gamma.grad is not None
    assert logits.grad is None


def test_a_class_scores_by_the_best_of_its_names_and_void_comes_last() -> None:
    ldp = make_ldp()
    names = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]])
    text = TextEmbeddings(names, torch.tensor([0, 0, 1]), num_classes=2)
    logits = ldp.class_logits(torch.tensor([[[0.0, 2.0, 0.0]]]), text)
    scale = ldp.logit_scale.exp()
    assert logits.shape == (1, 1, 3)
    torch.testing.assert_close(logits[0, 0, :2], scale * torch.tensor([1.0, 0.0]))
