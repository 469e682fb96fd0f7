"""FC-CLIP as a teacher: its input, its network, its scores, its rules for the merge.

Axes: B images, Q mask queries, K classes, H W pixels of an image.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Annotated

import torch
from jaxtyping import UInt8
from numpy import ndarray

from possam_core.arithmetic import Precision, arithmetic, described
from possam_core.checkpoints.card import TeacherCard
from possam_core.images.batch import (
    ImageBatch,
    make_shortest_edge_batch,
    padded_size,
    require_pixels,
    shortest_edge_size,
)
from possam_core.labels.merge_config import MergeConfig
from possam_core.labels.scored_masks import ScoredMasks
from possam_core.settings import Setting, require_valid
from possam_core.teachers.fc_clip.network import STRIDES, FcClip
from possam_core.teachers.fc_clip.scoring import (
    FC_CLIP_SCORING,
    OVRCOAT_SCORING,
    FcClipScoring,
    score_masks,
)
from possam_core.teachers.teacher import Proposals, Teacher, frame_of
from possam_core.vocabulary.text_embeddings import TextEmbeddings
from possam_core.vocabulary.vocabulary import Vocabulary

FC_CLIP_MERGE = MergeConfig(rules="mask2former", object_threshold=0.0, overlap_threshold=0.8)
OVRCOAT_MERGE = replace(FC_CLIP_MERGE, overlap_threshold=0.7)


@dataclass(frozen=True, slots=True, kw_only=True)
class FcClipInference:
    """What happens around the network; as it stands, as FC-CLIP was evaluated on COCO."""

    short_side: Annotated[int, Setting("shorter side of an image in the network, px", ge=1)] = 800
    long_side: Annotated[int, Setting("the most that its longer side may have, px", ge=1)] = 1333
    scoring: Annotated[FcClipScoring, Setting("how two classifications become one")] = (
        FC_CLIP_SCORING
    )
    merge: Annotated[MergeConfig, Setting("which masks become segments")] = FC_CLIP_MERGE

    def __post_init__(self) -> None:
        require_valid(self)


FC_CLIP_INFERENCE = FcClipInference()
OVRCOAT_INFERENCE = FcClipInference(scoring=OVRCOAT_SCORING, merge=OVRCOAT_MERGE)


class FcClipTeacher(Teacher):
    """FC-CLIP with the text embeddings of one vocabulary.

    Padding counts as image, so only images of one padded size share a batch: on a GPU neighbours
    that do, on a CPU none, where that gains nothing and an image's labels are the same bits
    whatever else is in the call.
    """

    def __init__(
        self,
        network: FcClip,
        vocabulary: Vocabulary,
        card: TeacherCard,
        *,
        inference: FcClipInference = FC_CLIP_INFERENCE,
        text: TextEmbeddings | None = None,
        precision: Precision = "float32",
    ) -> None:
        """Embed the vocabulary's names.

        Args:
            network: with its weights, on the device to label on.
            vocabulary: classes to look for.
            card: its `training_names` decide how far CLIP is trusted; not known: all are unseen.
            inference: input sizes, ensemble and thresholds.
            text: embeddings of the vocabulary, see `precomputed_text`; None: of CLIP's text tower.
            precision: of the tower and the mask decoder.
        """
        self.network = network.eval()
        self.vocabulary = vocabulary
        self.card = card
        self.inference = inference
        self.merging = inference.merge
        self.precision = precision
        self.how = described(precision, next(network.parameters()).device)
        self._text = network.clip.embed_vocabulary(vocabulary) if text is None else text
        is_seen = [seen is True for seen in card.is_seen(vocabulary)]
        self._is_seen = torch.tensor(is_seen, device=self._text.embeddings.device)

    def propose(self, images: Sequence[UInt8[ndarray, "_ _ 3"]]) -> Iterator[Proposals]:
        """The masks of each image, batch by batch."""
        require_pixels(images)
        device = self._text.embeddings.device
        sizes = [
            (number if device.type == "cpu" else 0, self._canvas_hw((im.shape[0], im.shape[1])))
            for number, im in enumerate(images)
        ]
        for _, group in groupby(range(len(images)), key=sizes.__getitem__):
            batch = make_shortest_edge_batch(
                [images[i] for i in group],
                short_side=self.inference.short_side,
                long_side=self.inference.long_side,
                multiple=STRIDES[-1],
            ).to(device)
            for i, masks in enumerate(self.score(batch)):
                yield Proposals(masks=masks, frame=frame_of(batch, i))

    def score(self, batch: ImageBatch) -> list[ScoredMasks]:
        """Per image, masks with the probabilities of this vocabulary's classes."""
        with arithmetic(self.precision, batch.pixels.device):
            (result,) = self.network(batch, self._text)
        similarity = self._text.class_logits(result.clip_embeddings)
        clip_logits = self.network.clip.logit_scale * similarity
        scores = score_masks(result, clip_logits, self._is_seen, self.inference.scoring)
        return [
            ScoredMasks(
                mask_logits=result.prediction.mask_logits[i].float(),
                class_probs=scores.class_probs[i],
                void_probs=scores.void_probs[i],
                iou_scores=None,
                clip_agrees=scores.clip_agrees[i],
            )
            for i in range(len(scores.void_probs))
        ]

    def _canvas_hw(self, image_hw: tuple[int, int]) -> tuple[int, int]:
        resized_hw = shortest_edge_size(
            image_hw, short_side=self.inference.short_side, long_side=self.inference.long_side
        )
        return padded_size(resized_hw, STRIDES[-1])
