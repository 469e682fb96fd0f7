"""Heads of every form, trained on the same masks of one frozen network.

Axes: S scenes, Q mask queries.
"""

import numpy as np
import torch
from torch.nn import functional

from benchmarks.ablation.candidates import make_pooling
from benchmarks.ablation.evidence import Evidence, HeadData, evidence_of, joined, targets_of
from possam_core.ldp import LocalDiscriminativePooling
from possam_core.model import PosSAM
from possam_core.playground import World
from possam_core.training.data.scenes import SceneStore
from possam_core.training.loss_config import LossConfig
from possam_core.training.schedule import ScheduleConfig, learning_rate
from possam_core.training.tiny.world_stage import training_batches
from possam_core.vocabulary.text_embeddings import TextEmbeddings

BATCH_SIZE = 64  # scenes
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 0.05
SCHEDULE = ScheduleConfig()


def gather_head_data(
    model: PosSAM, world: World, store: SceneStore, *, num_scenes: int, clip_noise: float = 0.0
) -> HeadData:
    """The evidence of training scenes, and the class of each of their masks."""
    model.eval()
    num_classes = len(world.training_vocabulary)
    batches = training_batches(store, world, batch_size=16, seed=0)
    found, truth = [], []
    for step in range(num_scenes // 16):
        batch = batches.read(step, range(16))
        evidence = evidence_of(model, batch.images)
        grid = evidence.mask_logits.shape[-1]
        valid = model.valid_cells(batch.images, grid)
        found.append(evidence)
        truth.append(targets_of(evidence, batch, valid, void=num_classes))
    evidence = joined(found).blurred(clip_noise, store.scene_set.seed)
    return HeadData(evidence=evidence, truth=torch.cat(truth))


def train_head(
    name: str,
    model: PosSAM,
    text: TextEmbeddings,
    data: HeadData,
    *,
    num_steps: int,
    seed: int,
) -> LocalDiscriminativePooling:
    """A head of one form, trained on the classes of `text`."""
    torch.manual_seed(seed)
    head = make_pooling(name, model.config).train()
    optimizer = torch.optim.AdamW(head.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    class_weights = torch.ones(text.num_classes + 1)
    class_weights[-1] = LossConfig().void
    rng = np.random.default_rng(seed)
    for step in range(num_steps):
        rate = learning_rate(step, peak=LEARNING_RATE, num_steps=num_steps, schedule=SCHEDULE)
        for group in optimizer.param_groups:
            group["lr"] = rate
        rows = torch.from_numpy(rng.integers(len(data.truth), size=BATCH_SIZE))
        logits = class_logits(head, data.evidence, text, rows)
        loss = functional.cross_entropy(
            logits.flatten(0, 1), data.truth[rows].flatten(), weight=class_weights
        )
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimizer.step()
    return head.eval()


def class_logits(
    head: LocalDiscriminativePooling,
    evidence: Evidence,
    text: TextEmbeddings,
    rows: torch.Tensor | slice,
) -> torch.Tensor:
    """(S, Q, K + 1): scaled logits of some scenes' masks, void last."""
    embeddings = head.refine(
        evidence.pooled[rows], evidence.queries[rows], evidence.clip_embeddings[rows]
    )
    return head.class_logits(embeddings, text)
