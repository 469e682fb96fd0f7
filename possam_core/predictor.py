"""Decoded images in, panoptic segmentations out.

Axes: B images, Q mask queries, K classes, H W pixels of an image.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from jaxtyping import UInt8
from numpy import ndarray

from possam_core.arithmetic import Precision, arithmetic, described
from possam_core.checkpoints.calibration_file import find_calibration
from possam_core.checkpoints.card import TeacherCard
from possam_core.checkpoints.models import find_other, is_own_teacher, read_card
from possam_core.checkpoints.transformers_folder import TransformersFolder
from possam_core.checkpoints.weights import build_calibration, load_model
from possam_core.errors import ConfigError, first_line
from possam_core.images.batch import ImageBatch, ResizedImage, fit_to_canvas, make_batch
from possam_core.labels.scored_masks import ScoredMasks
from possam_core.labels.segmentation import PanopticSegmentation
from possam_core.mase import ensemble
from possam_core.model import InferenceConfig, MaskClassification, PosSAM
from possam_core.teachers.closed.files import open_closed
from possam_core.teachers.fc_clip.files import open_fc_clip
from possam_core.teachers.own import load_own_teacher
from possam_core.teachers.teacher import Picture, Proposals, Teacher, frame_of
from possam_core.vocabulary.text_embeddings import TextEmbeddings
from possam_core.vocabulary.vocabulary import Vocabulary

logger = logging.getLogger(__name__)

COMPILE_BACKEND = "inductor"  # torch.compile's own default


class Predictor(Teacher):
    """PosSAM with the text embeddings of one vocabulary, ready to label images.

    On a GPU the images of a call go through the network as one batch; on a CPU, where that gains
    nothing, one by one, so an image's labels are bit-identical whatever else is in the call.

    Memory besides the model's: on a CPU the network's for one image, and up to 40 bytes for each
    pixel of the largest image; the results take 4 bytes a pixel. On a GPU the network's for the
    whole batch, and some 10 bytes for each pixel of each mask that passes the threshold, one image
    at a time.

    Example:
        >>> from possam_core import Predictor, Vocabulary, load_predictor
        >>> words = Vocabulary.from_records("words", [{"name": "cup", "kind": "thing"}])
        >>> predictor = Predictor(load_predictor("possam-tiny").model, words)
        >>> predictor.vocabulary.name
        'words'
    """

    def __init__(
        self,
        model: PosSAM,
        vocabulary: Vocabulary | None = None,
        *,
        text: TextEmbeddings | None = None,
        inference: InferenceConfig | None = None,
        precision: Precision = "float32",
        compile_for: int | None = None,
        card: TeacherCard | None = None,
    ) -> None:
        """Embed the vocabulary's names; arguments left out come from the model's card.

        Args:
            model: on the device to predict on; it is put into evaluation mode and stays in it.
            vocabulary: classes to look for.
            text: its embeddings, see `precomputed_text`; None: the model's own text tower.
            inference: ensemble and thresholds.
            precision: of the encoders and decoders. With bfloat16, sampling points, classes and the
                merge are still float32.
            compile_for: number of images. SAM's encoder is compiled here, which takes a minute, for
                batches of exactly that many; smaller ones are padded, or up to half of it not
                compiled. Where the compiler fails or memory does, a warning says so, and nothing is
                compiled.
            card: of the checkpoint; None: what the model itself knows.
        """
        self.model = model.eval()
        self.vocabulary = vocabulary or model.card.vocabulary
        self.inference = inference or model.card.inference
        self.precision = precision
        self.text = model.embed(self.vocabulary, text)
        self.compiled_for = compile_for if compile_for and self._compile(compile_for) else None
        self.how = described(precision, self.text.embeddings.device)
        if self.compiled_for:
            self.how += ", SAM's encoder compiled"
        self.card = card or TeacherCard(
            name="PosSAM",
            fingerprint=model.fingerprint,
            training_names=model.card.training_names,
            vocabulary=model.card.vocabulary,
        )

    @property
    def inference(self) -> InferenceConfig:
        """Ensemble, merge and calibration; may be set."""
        return self._inference

    @inference.setter
    def inference(self, config: InferenceConfig) -> None:
        self._inference = config
        self.merging, self.calibration = config.merge, config.calibration

    def prepare(self, image: UInt8[ndarray, "_ _ 3"]) -> ResizedImage:
        """The image as large as on the canvas."""
        return fit_to_canvas(image, self.model.config.sam.image_size)

    def propose(self, images: Sequence[Picture]) -> Iterator[Proposals]:
        """The masks of each image, batch by batch."""
        device = self.text.embeddings.device
        size = self.compiled_for or (1 if device.type == "cpu" else len(images))
        for start in range(0, max(1, len(images)), max(1, size)):
            chunk = list(images[start : start + size])
            num_images = len(chunk)
            is_compiled = self.compiled_for is not None and num_images > size // 2
            if is_compiled:
                chunk += chunk[:1] * (size - num_images)
            batch = make_batch(chunk, canvas=self.model.config.sam.image_size).to(device)
            with nullcontext() if is_compiled or not self.compiled_for else _not_compiled():
                result = self.classify(batch)
            yield from self.proposals(batch, result)[:num_images]

    def _compile(self, num_images: int) -> bool:
        """Compile SAM's encoder on an empty batch; whether that worked."""
        from torch._dynamo.exc import TorchDynamoException  # slow to import

        encoder, canvas = self.model.sam.encoder, self.model.config.sam.image_size
        encoder.compile(dynamic=False, backend=COMPILE_BACKEND)
        blank = np.zeros((canvas, canvas, 3), np.uint8)
        batch = make_batch([blank] * num_images, canvas=canvas).to(self.text.embeddings.device)
        try:
            with torch.inference_mode():
                self.classify(batch)
        except (TorchDynamoException, torch.OutOfMemoryError) as error:
            encoder._compiled_call_impl = None
            logger.warning("SAM's encoder is not compiled: %s", first_line(error))
            return False
        return True

    def classify(self, batch: ImageBatch) -> MaskClassification:
        """Masks and class logits of the last decoder layer."""
        with arithmetic(self.precision, batch.pixels.device):
            layers: list[MaskClassification] = self.model(batch, self.text)
        return layers[-1]

    def merge(self, batch: ImageBatch, result: MaskClassification) -> list[PanopticSegmentation]:
        """Ensemble classes, merge masks and calibrate, per image."""
        return self.label(self.proposals(batch, result))

    def proposals(self, batch: ImageBatch, result: MaskClassification) -> list[Proposals]:
        """Per image, masks with the probabilities of this vocabulary's classes."""
        return [
            Proposals(masks=masks, frame=frame_of(batch, i))
            for i, masks in enumerate(self.score(result))
        ]

    def score(self, result: MaskClassification) -> list[ScoredMasks]:
        """Per image, masks with the probabilities of this vocabulary's classes."""
        ldp_logits = result.class_logits[..., :-1]
        clip_logits = self.model.clip.logit_scale * self.text.class_logits(result.clip_embeddings)
        iou_scores = result.prediction.iou_scores
        probs = ensemble(ldp_logits, clip_logits, iou_scores, result.has_clip, self.inference.mase)
        void = result.class_logits.float().softmax(dim=-1)[..., -1]
        agrees = ldp_logits.argmax(dim=-1) == clip_logits.argmax(dim=-1)
        return [
            ScoredMasks(
                mask_logits=result.prediction.mask_logits[i],
                class_probs=probs[i],
                void_probs=void[i],
                iou_scores=iou_scores[i],
                clip_agrees=agrees[i],
            )
            for i in range(len(probs))
        ]


def _not_compiled() -> AbstractContextManager[None]:
    stance: AbstractContextManager[None] = torch.compiler.set_stance("force_eager")
    return stance


def load_predictor(
    model: str,
    vocabulary: Vocabulary | None = None,
    *,
    device: str = "cpu",
    precision: Precision = "float32",
    compile_for: int | None = None,
    channels_last: bool = False,
) -> Predictor:
    """PosSAM from a bundled name or path, for `vocabulary` or else the checkpoint's own.

    Args:
        model: the name or path.
        vocabulary: the classes to look for.
        device: to label on.
        precision: as for `Predictor`.
        compile_for: as for `Predictor`.
        channels_last: whether convolutions hold their weights with the channels last, which is
            faster on a GPU.

    Raises:
        CheckpointError: the name is unknown, or the file is damaged or does not fit the code.
        ConfigError: there is no such device.

    Example:
        >>> import numpy as np
        >>> from possam_core import load_predictor
        >>> predictor = load_predictor("possam-tiny")
        >>> (segmentation,) = predictor([np.zeros((48, 64, 3), np.uint8)])
        >>> segmentation.image_hw
        (48, 64)
    """
    _require_device(device)
    network = load_model(model).to(device)
    if channels_last:
        network = network.to(memory_format=torch.channels_last)
    return Predictor(
        network, vocabulary, precision=precision, compile_for=compile_for, card=read_card(model)
    )


def load_teacher(
    model: str,
    vocabulary: Vocabulary | None = None,
    *,
    device: str = "cpu",
    precision: Precision = "float32",
    compile_for: int | None = None,
    channels_last: bool = False,
) -> Teacher:
    """Any model that labels, for `vocabulary` or else its own.

    Args:
        model: as for `load_predictor`, `fc-clip` or its model file, a folder of the library
            transformers or its model file, a calibration file of these two, or `module:function`
            of your own code.
        vocabulary: the classes to look for.
        device: to label on.
        precision: of encoders and decoders; your own code decides for itself.
        compile_for: as for `load_predictor`; of PosSAM alone, whose canvas has one size.
        channels_last: as for `load_predictor`; of PosSAM alone.

    Raises:
        CheckpointError: as for `load_predictor`.
        TeacherError: your own code gives no teacher.
        VocabularyError: none is named and the model has none, a name is too long for CLIP, or a
            closed model has other classes.
        ConfigError: there is no such device.

    Example:
        >>> from possam_core import load_teacher
        >>> load_teacher("possam-tiny").card.licence
        'Apache-2.0'
    """
    if is_own_teacher(model):
        _require_device(device)
        return load_own_teacher(model, vocabulary, device=device)
    if (calibration := find_calibration(model)) is not None:
        teacher = load_teacher(calibration.model, vocabulary, device=device, precision=precision)
        teacher.card = calibration.card(teacher.card)
        teacher.calibration = build_calibration(calibration)
        return teacher
    other = find_other(model)
    if other is None:
        return load_predictor(
            model,
            vocabulary,
            device=device,
            precision=precision,
            compile_for=compile_for,
            channels_last=channels_last,
        )
    _require_device(device)
    if isinstance(other, TransformersFolder):
        return open_closed(other, vocabulary, device=device, precision=precision)
    return open_fc_clip(other, vocabulary, device=device, precision=precision)


def _require_device(device: str) -> None:
    if device != "cpu" and not torch.cuda.is_available():
        raise ConfigError(
            f"expected a GPU for device {device!r}, but torch finds none here; label on the CPU, or"
            " repair the driver"
        )
