"""The encoders of `possam-tiny`, small counterparts of the web-trained SAM and CLIP.

CLIP-tiny is trained on captions of every world, so it knows all their classes, if not equally well.
SAM-tiny is trained on masks of every world, without classes, like those of SA-1B. Both are then
frozen.
"""

import logging
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch

from possam_core.model import ModelCard, PosSAM, PosSAMConfig
from possam_core.playground import PLAYGROUND, WORKSHOP, World
from possam_core.processes import end_with_parent, torch_threads
from possam_core.training.data.scenes import (
    AlternatingBatches,
    SceneSet,
    SceneStore,
    StoredScenes,
)
from possam_core.training.files import LocalFolder
from possam_core.training.possam_stage import MaskTraining, train_possam
from possam_core.training.stage import LoopConfig
from possam_core.training.tiny.clip_stage import WorldScenes, train_clip
from possam_core.vocabulary.vocabulary import Vocabulary, VocabularyClass

logger = logging.getLogger(__name__)

WORLDS = (PLAYGROUND, WORKSHOP)  # whose captions and masks the encoders are trained on

# One class for all, so that only masks are learned.
SEGMENT = Vocabulary(
    name="segment",
    classes=(VocabularyClass(category_id=1, name="segment", is_thing=True, synonyms=()),),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderRecipe:
    """Seeds and lengths of the two stages; held-out seeds never overlap with training ones."""

    num_scenes: int = 12_000  # of each world
    clip_steps: int = 5_400
    sam_steps: int = 2_200
    batch_size: int = 16
    seed: int = 1
    scene_seed: int = 101
    held_out_seed: int = 201
    held_out_scenes: int = 512  # of each world


def train_encoders(
    config: PosSAMConfig, recipe: EncoderRecipe, folder: Path, device: torch.device
) -> PosSAM:
    """A model with trained encoders and an unusable head; resumes from `folder`.

    The two are independent, so SAM-tiny is trained in its own process: two processes of one thread
    see 1.5 times as many images as one of two threads.
    """
    worlds = clip_scenes(recipe, folder, canvas=config.sam.image_size)
    share = max(1, torch.get_num_threads() // 2)
    process = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, process, initializer=_set_up_child, initargs=(share,)) as beside:
        sam = beside.submit(train_sam, config, recipe, folder, device)
        model = _new_model(config, recipe, device)
        loop = LoopConfig(
            num_steps=recipe.clip_steps, batch_size=recipe.batch_size, seed=recipe.seed
        )
        with torch_threads(share):
            train_clip(model.clip, worlds, loop, LocalFolder(folder))
        model.sam.load_state_dict(sam.result())
    return model


def train_sam(
    config: PosSAMConfig, recipe: EncoderRecipe, folder: Path, device: torch.device
) -> dict[str, torch.Tensor]:
    """The weights of a SAM trained on masks of every world; resumes from `folder`.

    The head that it was trained with is dropped, as PosSAM drops SAM's own. There is one class, so
    an untrained text tower is enough.
    """
    model = _new_model(config, recipe, device)
    loop = LoopConfig(num_steps=recipe.sam_steps, batch_size=recipe.batch_size, seed=recipe.seed)
    masks = [
        StoredScenes(
            _scenes(world, recipe, folder, canvas=config.sam.image_size),
            torch.zeros(len(world.vocabulary), dtype=torch.long),
            batch_size=loop.batch_size,
            seed=loop.seed,
        )
        for world in WORLDS
    ]
    training = MaskTraining(
        vocabulary=SEGMENT, batches=AlternatingBatches(masks), loop=loop, sam_learns_until=1.0
    )
    train_possam(model, training, LocalFolder(folder / "sam"))
    return {name: weight.cpu() for name, weight in model.sam.state_dict().items()}


def _set_up_child(num_threads: int) -> None:
    """Set up the child process: its log, its threads, and its end with this one."""
    end_with_parent()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    torch.set_num_threads(num_threads)


def _new_model(config: PosSAMConfig, recipe: EncoderRecipe, device: torch.device) -> PosSAM:
    torch.manual_seed(recipe.seed)
    model = PosSAM(config, ModelCard(vocabulary=SEGMENT, training_names=()))
    return model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def clip_scenes(recipe: EncoderRecipe, folder: Path, *, canvas: int) -> list[WorldScenes]:
    """Scenes of all classes of each world, to learn from and held out."""
    return [
        WorldScenes(
            vocabulary=world.vocabulary,
            scenes=_scenes(world, recipe, folder, canvas=canvas),
            held_out=SceneStore(
                SceneSet(
                    world=world.name,
                    seed=recipe.held_out_seed,
                    num_scenes=recipe.held_out_scenes,
                    canvas=canvas,
                ),
                folder / f"scenes-{world.name}-held-out",
            ),
        )
        for world in WORLDS
    ]


def _scenes(world: World, recipe: EncoderRecipe, folder: Path, *, canvas: int) -> SceneStore:
    scenes = SceneSet(
        world=world.name, seed=recipe.scene_seed, num_scenes=recipe.num_scenes, canvas=canvas
    )
    return SceneStore(scenes, folder / f"scenes-{world.name}-all")
