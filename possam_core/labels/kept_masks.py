"""The masks that take part in the merge of each image of a batch, brought home from an accelerator.

Everything is launched for the whole batch, and the host waits twice: for the number of masks that
each image keeps, and for all that is said of these. On a CPU nothing is copied.

Axes: M masks of all images, N kept masks of an image, K classes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from possam_core.device_copies import HomeCopy
from possam_core.labels.frame import Frame
from possam_core.labels.mask_contest import Contest, StartedContest, assign_pixels
from possam_core.labels.merge_config import MergeConfig
from possam_core.labels.scored_masks import ScoredMasks, presence

SLACK = 1e-3  # by which rounding in half precision may take a probability out of [0, 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptMasks:
    """Those of one image, on the CPU, with their pixels; None: the network does not know it."""

    queries: list[int]  # position of each among the image's masks
    classes: list[int]  # the best of each
    scores: list[float]
    class_probs: Float[Tensor, "N K"]
    void_probs: Float[Tensor, " N"]
    iou_scores: Float[Tensor, " N"] | None
    clip_agrees: Bool[Tensor, " N"] | None
    margin: Float[Tensor, " N"] | None  # best minus second-best class probability
    entropy: Float[Tensor, " N"] | None  # of the class probabilities, over ln K
    are_soft: bool  # more than inside and outside
    contest: Contest


class MaskChoice:
    """Which masks of each image take part; launched when this is made, without waiting."""

    def __init__(
        self, masks: Sequence[ScoredMasks], frames: Sequence[Frame], config: MergeConfig
    ) -> None:
        """Choose among the masks of at least one image, all on one device, by `config`."""
        self._masks = masks
        self._frames = frames
        self._counts_outside = config.rules == "mask2former"
        self._sizes = [len(m.mask_logits) for m in masks]
        self._void = torch.cat([m.void_probs for m in masks])
        self._probs = torch.cat([m.class_probs for m in masks])
        self._ious = _joined([m.iou_scores for m in masks])
        self._agrees = _joined([m.clip_agrees for m in masks])
        best = self._probs.amax(dim=-1)
        self._scores = presence(self._ious, self._void, eta=config.eta) * best
        if self._counts_outside:
            is_class = (1 - self._void) * best >= self._void
            takes_part = is_class & (self._scores > config.object_threshold)
            # Those that take part come first, as the queries come.
            order = takes_part.int().argsort(descending=True, stable=True)
        else:
            takes_part = self._scores >= config.object_threshold
            order = self._scores.argsort(descending=True, stable=True)
        starts = [0, *accumulate(self._sizes)][: len(self._sizes)]
        first = torch.cat(
            [order.new_full((n,), s) for n, s in zip(self._sizes, starts, strict=True)]
        )
        # One image after another, each in that order: those that take part come first.
        order = order[first[order].argsort(stable=True)]
        self._chosen = torch.split(order, self._sizes)  # among all masks
        self._queries = torch.split(order - first, self._sizes)  # among those of the image
        until = takes_part.cumsum(0)  # of the masks of all images
        last = [until[end - 1] if end else until.sum() for end in accumulate(self._sizes)]
        self._answers = HomeCopy([torch.stack(last), self._are_fit()])

    @cached_property
    def _counts_and_fitness(self) -> tuple[list[int], bool]:
        until, are_fit = self._answers.get()
        return until.diff(prepend=until.new_zeros(1)).tolist(), bool(are_fit)

    @property
    def are_fit(self) -> bool:
        """Whether all mask logits are finite and all shares in [0, 1]; waits for the device."""
        return self._counts_and_fitness[1]

    def keep(self) -> list[KeptMasks]:
        """The masks that take part, and the pixels that each wins; waits once more."""
        counts = self._counts_and_fitness[0]
        queries = [q[:n] for q, n in zip(self._queries, counts, strict=True)]
        chosen = torch.cat([c[:n] for c, n in zip(self._chosen, counts, strict=True)])
        said = {"queries": torch.cat(queries), **self._figures(chosen)}
        scores = torch.split(said["scores"], counts)
        contests = [self._contest(i, queries[i], scores[i]) for i in range(len(counts))]
        started = [t for c in contests if isinstance(c, StartedContest) for t in c.on_device]
        home = iter(HomeCopy([*said.values(), *started]).get())
        by_image = {name: torch.split(next(home), counts) for name in said}
        kept = []
        for i, contest in enumerate(contests):
            if isinstance(contest, StartedContest):
                contest = contest.finish([next(home) for _ in contest.on_device])
            kept.append(self._kept(i, {name: v[i] for name, v in by_image.items()}, contest))
        return kept

    def _are_fit(self) -> Bool[Tensor, ""]:
        shares = [s for s in (self._probs, self._void, self._ious) if s is not None and s.numel()]
        logits = [m.mask_logits for m in self._masks if m.mask_logits.numel()]
        fits = torch.ones((), dtype=torch.bool, device=self._void.device)
        if shares:  # NaN is not in any range
            least, most = (
                torch.stack(ends) for ends in zip(*map(torch.aminmax, shares), strict=True)
            )
            fits = ((least >= -SLACK) & (most <= 1 + SLACK)).all()
        if logits:
            ends = [end for some in logits for end in some.aminmax()]
            fits = fits & torch.stack(ends).isfinite().all()
        return fits

    def _contest(
        self, image: int, queries: Int64[Tensor, " N"], scores: Float[Tensor, " N"]
    ) -> Contest | StartedContest:
        """The contest of one image; that of an accelerator has only been launched."""
        masks, frame = self._masks[image].mask_logits, self._frames[image]
        if not len(queries):  # there is nothing to ask a device for
            nothing = torch.zeros((0, *masks.shape[-2:])), torch.zeros(0)
            return assign_pixels(*nothing, frame, count_outside=self._counts_outside)
        hold = assign_pixels if masks.device.type == "cpu" else StartedContest
        return hold(masks[queries], scores, frame, count_outside=self._counts_outside)

    def _figures(self, chosen: Int64[Tensor, " N"]) -> dict[str, Tensor]:
        """What is said of the chosen masks of all images, by name; the unknown is left out."""
        probs = self._probs[chosen]
        said = {
            "scores": self._scores[chosen],
            "class_probs": probs,
            "classes": probs.argmax(dim=-1),
            "void_probs": self._void[chosen],
        }
        if self._ious is not None:
            said["iou_scores"] = self._ious[chosen]
        if self._agrees is not None:
            said["clip_agrees"] = self._agrees[chosen]
        said["margin"], said["entropy"] = _margin_and_entropy(probs)
        return said

    def _kept(self, image: int, said: dict[str, Tensor], contest: Contest) -> KeptMasks:
        is_distribution = self._masks[image].is_distribution
        return KeptMasks(
            queries=said["queries"].tolist(),
            classes=said["classes"].tolist(),
            scores=said["scores"].tolist(),
            class_probs=said["class_probs"],
            void_probs=said["void_probs"],
            iou_scores=said.get("iou_scores"),
            clip_agrees=said.get("clip_agrees"),
            margin=said["margin"] if is_distribution else None,
            entropy=said["entropy"] if is_distribution else None,
            are_soft=self._masks[image].are_masks_soft,
            contest=contest,
        )


def _joined(values: Sequence[Tensor | None]) -> Tensor | None:
    """Those of all images; None: they are not known, of this model."""
    known = [v for v in values if v is not None]
    return torch.cat(known) if len(known) == len(values) else None


def _margin_and_entropy(
    probs: Float[Tensor, "N K"],
) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"]]:
    num_classes = probs.shape[-1]
    top = probs.topk(min(2, num_classes), dim=-1).values
    margin = top[:, 0] - top[:, 1] if num_classes > 1 else top[:, 0]
    entropy = -torch.special.xlogy(probs, probs).sum(dim=-1) / math.log(max(num_classes, 2))
    return margin, entropy.clamp(0, 1)
