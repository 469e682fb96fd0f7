"""A network with fixed classes and a softmax over them and void, as a teacher.

The network is the library's; which pixels and classes become segments is decided by our merge.

Axes: B images, Q mask queries, K classes.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

import torch
from jaxtyping import UInt8
from numpy import ndarray
from torch import Tensor, nn

from possam_core.arithmetic import Precision, arithmetic, described
from possam_core.checkpoints.card import TeacherCard
from possam_core.images.batch import ImageBatch, normalise, require_pixels
from possam_core.labels.merge_config import MergeConfig
from possam_core.labels.scored_masks import ScoredMasks
from possam_core.teachers.closed.image_input import ImageInput
from possam_core.teachers.teacher import Proposals, Teacher, frame_of
from possam_core.vocabulary.vocabulary import Vocabulary

# As EoMT, Mask2Former and OneFormer were evaluated on COCO and ADE20K.
CLOSED_MERGE = MergeConfig(rules="mask2former", object_threshold=0.8, overlap_threshold=0.8)


class ClosedTeacher(Teacher):
    """A network of transformers that labels its own classes.

    On a GPU neighbours with canvases of one size share a batch, on a CPU none, where that gains
    nothing and an image's labels are the same bits whatever else is in the call.
    """

    merging = CLOSED_MERGE

    def __init__(
        self,
        network: nn.Module,
        vocabulary: Vocabulary,
        card: TeacherCard,
        *,
        outputs: Sequence[int],
        image_input: ImageInput,
        task: Tensor | None = None,
        precision: Precision = "float32",
    ) -> None:
        """Match the vocabulary's classes with the network's.

        Args:
            network: of transformers, on the device to label on.
            vocabulary: the classes of the card, in any order.
            card: of the model, with its own classes.
            outputs: per class of the card, its place in the network's class logits; void is last.
            image_input: how images are prepared.
            task: OneFormer's, which is part of its input.
            precision: of the network.

        Raises:
            VocabularyError: the vocabulary has other classes.
        """
        self.network = network.eval()
        self.vocabulary = vocabulary
        self.card = card
        self.precision = precision
        self.image_input = image_input
        self._device = next(network.parameters()).device
        self.how = described(precision, self._device)
        places = [outputs[index] for index in card.own_classes(vocabulary)]
        self._places = torch.tensor(places, device=self._device)
        self._mean, self._std = (
            torch.tensor(levels, device=self._device)
            for levels in (image_input.mean, image_input.std)
        )
        self._more: Mapping[str, Tensor] = {}
        if task is not None:
            self._more = {"task_inputs": task[None].to(self._device)}

    def propose(self, images: Sequence[UInt8[ndarray, "_ _ 3"]]) -> Iterator[Proposals]:
        """The masks of each image, batch by batch."""
        require_pixels(images)
        is_alone = self._device.type == "cpu"
        groups = [
            (number if is_alone else 0, self.image_input.canvas_hw((im.shape[0], im.shape[1])))
            for number, im in enumerate(images)
        ]
        for _, group in groupby(range(len(images)), key=groups.__getitem__):
            batch = self.image_input.make_batch([images[i] for i in group]).to(self._device)
            for i, masks in enumerate(self.score(batch)):
                yield Proposals(masks=masks, frame=frame_of(batch, i))

    def score(self, batch: ImageBatch) -> list[ScoredMasks]:
        """Per image, masks with the probabilities of this vocabulary's classes."""
        pixels = normalise(batch, self._mean, self._std)
        more = {key: value.expand(len(pixels), -1) for key, value in self._more.items()}
        with arithmetic(self.precision, self._device):
            result = self.network(pixel_values=pixels, **more)
        logits = result.class_queries_logits.float()
        class_probs = logits[..., self._places].softmax(dim=-1)
        void_probs = logits.softmax(dim=-1)[..., -1]
        return [
            ScoredMasks(
                mask_logits=result.masks_queries_logits[i].float(),
                class_probs=class_probs[i],
                void_probs=void_probs[i],
                iou_scores=None,
                clip_agrees=None,
            )
            for i in range(len(pixels))
        ]
