"""Open the labelled images that a training's settings name, local or in a bucket."""

from pathlib import Path

from pipelines.storage.addresses import is_s3
from pipelines.storage.object_reader import ObjectReader
from pipelines.storage.store import open_store, trouble_named
from pipelines.train.config import DataConfig
from possam_core.errors import ConfigError
from possam_core.playground import find_world
from possam_core.training.data.coco_images import CocoFiles, CocoImages, Reader
from possam_core.training.data.labelled import LabelledImages, PlaygroundImages
from possam_core.vocabulary.builtin import find_vocabulary


def open_images(config: DataConfig) -> LabelledImages:
    """The data set of `config`; images are read on demand.

    Raises:
        PossamError: the vocabulary is unknown, a folder or the JSON is missing or invalid.
    """
    if config.source == "playground":
        assert config.num_scenes is not None
        world = find_world(config.world)
        return PlaygroundImages(
            seed=config.scene_seed,
            num_scenes=min(config.num_scenes, config.limit or config.num_scenes),
            vocabulary=world.training_vocabulary if config.seen_only else world.vocabulary,
            world=world,
        )
    assert config.vocabulary is not None
    assert config.images is not None
    assert config.annotations is not None
    files = open_files(config.annotations, images=config.images, masks=config.masks)
    return CocoImages(files, find_vocabulary(config.vocabulary), limit=config.limit)


def open_files(annotations: str, *, images: str | None, masks: str | None) -> CocoFiles:
    """Readers of a data set in COCO panoptic format.

    Args:
        annotations: normalised address of the JSON.
        images: folder of the images; None: only their truth is read.
        masks: folder of the id PNGs; None: the JSON without its suffix.

    Raises:
        ConfigError: a folder is missing.
    """
    folder, _, name = annotations.rpartition("/")
    read_json = open_reader(folder or "/")
    beside = annotations.removesuffix(".json")
    if masks is None and not is_s3(beside) and not Path(beside).is_dir():
        raise ConfigError(
            f"expected the id PNGs of {annotations} in {beside}, but there is no such folder; name"
            " theirs as masks (--masks)"
        )
    return CocoFiles(
        annotations=annotations,
        read_annotations=lambda: read_json(name),
        read_image=None if images is None else open_reader(images),
        read_mask=open_reader(masks or beside),
    )


def open_reader(location: str) -> Reader:
    """A function that reads whole files of a local folder or a bucket by name.

    Raises:
        ConfigError: there is no such folder.
    """
    if not is_s3(location) and not Path(location).is_dir():
        raise ConfigError(f"expected a folder at {location}, but there is none; check the path")
    reader = ObjectReader(open_store(location))

    def read(name: str) -> bytes:
        with trouble_named(location):
            try:
                if name and not name.endswith("/"):  # else it is no file's, and the client fails
                    return reader.read(name)
            except (FileNotFoundError, ValueError):  # the client addresses nothing above its folder
                pass
        raise FileNotFoundError(name)

    return read
