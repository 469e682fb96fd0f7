"""The encoders of `possam-tiny`, which stand for those that others trained on the web.

CLIP-tiny has read captions of every world, so it knows all their classes, if not equally well.
SAM-tiny has seen masks of every world, without classes, as SA-1B shows them. Both are frozen then.
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
    SceneSet,
    SceneStore,
    StoredScenes,
    TakingTurns,
)
from possam_core.training.files import LocalFolder
from possam_core.training.possam_stage import MaskTraining, train_possam
from possam_core.training.stage import LoopConfig
from possam_core.training.tiny.clip_stage import Lesson, train_clip
from possam_core.vocabulary.vocabulary import Vocabulary, VocabularyClass

logger = logging.getLogger(__name__)

WORLDS = (PLAYGROUND, WORKSHOP)  # whose captions and masks the encoders have seen

# One class for all: what is left to learn is masks.
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
    """A model whose encoders are trained and whose head is of no use; resumes from `folder`.

    The two learn nothing from each other, so SAM-tiny learns in a process of its own: two processes
    of one thread see half as many images again as one of two threads.
    """
    lessons = clip_lessons(recipe, folder, canvas=config.sam.image_size)
    share = max(1, torch.get_num_threads() // 2)
    process = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, process, initializer=_begin, initargs=(share,)) as beside:
        sam = beside.submit(train_sam, config, recipe, folder, device)
        model = _new_model(config, recipe, device)
        loop = LoopConfig(
            num_steps=recipe.clip_steps, batch_size=recipe.batch_size, seed=recipe.seed
        )
        with torch_threads(share):
            train_clip(model.clip, lessons, loop, LocalFolder(folder))
        model.sam.load_state_dict(sam.result())
    return model


def train_sam(
    config: PosSAMConfig, recipe: EncoderRecipe, folder: Path, device: torch.device
) -> dict[str, torch.Tensor]:
    """The weights of a SAM that has learned masks of every world; resumes from `folder`.

    The head that it learned them with is dropped, as PosSAM drops SAM's own. There is one class,
    so an untrained text tower will do.
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
        vocabulary=SEGMENT, batches=TakingTurns(masks), loop=loop, sam_learns_until=1.0
    )
    train_possam(model, training, LocalFolder(folder / "sam"))
    return {name: weight.cpu() for name, weight in model.sam.state_dict().items()}


def _begin(num_threads: int) -> None:
    """In the process beside: the log and the threads of this one, and no life without it."""
    end_with_parent()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    torch.set_num_threads(num_threads)


def _new_model(config: PosSAMConfig, recipe: EncoderRecipe, device: torch.device) -> PosSAM:
    torch.manual_seed(recipe.seed)
    model = PosSAM(config, ModelCard(vocabulary=SEGMENT, training_names=()))
    return model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def clip_lessons(recipe: EncoderRecipe, folder: Path, *, canvas: int) -> list[Lesson]:
    """Scenes of all classes of each world, to learn from and held out."""
    return [
        Lesson(
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
