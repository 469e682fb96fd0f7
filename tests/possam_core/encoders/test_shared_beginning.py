"""Sentences that begin alike, against open_clip's own encoding of whole ones."""

import open_clip
import pytest
import torch

from possam_core.encoders.shared_beginning import encode_alike_sentences

TEXT = {"context_length": 24, "width": 32, "heads": 2, "layers": 3}
VIT = {"image_size": 16, "patch_size": 8, "width": 16, "head_width": 8, "layers": 1}


@pytest.mark.parametrize("quick_gelu", [False, True])
@pytest.mark.parametrize(
    "sentences",
    [
        ["a photo of a cup.", "a photo of a tall grey building.", "a photo of a dog."],
        ["a photo of a cup."],
        ["a photo of a cup.", "a photo of a cup."],
        ["cup", "a photo of a dog"],
        ["a photo", "a photo of a dog"],
    ],
)
def test_embeddings_are_those_of_whole_sentences(sentences: list[str], quick_gelu: bool) -> None:
    torch.manual_seed(0)
    clip = open_clip.CLIP(24, VIT, TEXT, quick_gelu=quick_gelu).eval()
    tokens = open_clip.SimpleTokenizer(context_length=24)(sentences)
    with torch.no_grad():
        ours = encode_alike_sentences(clip, tokens)
        torch.testing.assert_close(ours, clip.encode_text(tokens, normalize=True))


def test_more_sentences_than_go_through_at_once_stay_in_their_order() -> None:
    torch.manual_seed(0)
    clip = open_clip.CLIP(24, VIT, TEXT).eval()
    sentences = [f"a photo of {'a very ' * (i % 3)}{i}" for i in range(150)]
    tokens = open_clip.SimpleTokenizer(context_length=24)(sentences)
    with torch.no_grad():
        ours = encode_alike_sentences(clip, tokens)
        torch.testing.assert_close(ours, clip.encode_text(tokens, normalize=True))
