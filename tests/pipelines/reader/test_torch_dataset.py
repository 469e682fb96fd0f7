"""Tests of pipelines.reader.torch_dataset."""

import multiprocessing
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from pipelines import open_run
from pipelines.run.folder import shard_key
from possam_core.errors import ConfigError

# A process that has run Ray and Prefect for other tests cannot be forked.
FROM_A_CLEAN_PROCESS = multiprocessing.get_context("forkserver")
FROM_A_CLEAN_PROCESS.set_forkserver_preload(["pipelines.reader"])


def ids_of(samples: object) -> list[str]:
    return [sample.image_id for sample in samples]


def all_ids(run: Path) -> list[str]:
    return [image.image_id for image in open_run(str(run))]


def test_an_index_gives_the_image_at_that_place(run: Path) -> None:
    dataset = open_run(str(run)).to_torch(with_pixels=True)
    images = list(open_run(str(run)))
    assert len(dataset) == 7
    assert ids_of(dataset[i] for i in range(7)) == ids_of(dataset[i - 7] for i in range(7))
    for index in (0, 3, 6):
        sample, image = dataset[index], images[index]
        assert (sample.image_id, sample.uri) == (image.image_id, image.uri)
        np.testing.assert_array_equal(sample.ids, image.segmentation.ids)
        np.testing.assert_array_equal(sample.pixels.permute(1, 2, 0), image.pixels())
        segments = image.segmentation.segments
        assert sample.segment_ids.tolist() == [s.id for s in segments]
        assert sample.class_indices.tolist() == [s.class_index for s in segments]
        assert sample.is_thing.tolist() == [s.is_thing for s in segments]
    with pytest.raises(IndexError, match="below 7, got 7"):
        dataset[7]


def test_masks_are_the_segments_of_the_map(run: Path) -> None:
    sample = open_run(str(run)).to_torch()[0]
    masks = sample.masks()
    assert sample.pixels is None
    assert masks.dtype == torch.bool
    assert masks.shape == (len(sample.segment_ids), *sample.ids.shape)
    assert int(masks[1].sum()) == int((sample.ids == sample.segment_ids[1]).sum()) > 0


def test_one_index_reads_one_shard_alone(copy: Path) -> None:
    dataset = open_run(str(copy)).to_torch()  # counted by the manifest
    for shard in (0, 2):
        (copy / shard_key(shard)).unlink()
    assert dataset[2].image_id == all_ids_of_shard(copy, 1)[0]
    with pytest.raises(ConfigError, match="removed while it was read"):
        dataset[1]


def all_ids_of_shard(run: Path, shard: int) -> list[str]:
    return ids_of(open_run(str(run)).images_in(shard))


def test_kept_images_alone_are_counted(run: Path) -> None:
    dataset = open_run(str(run), where="mean_score > 0.65").to_torch()
    assert len(dataset) == 5
    assert ids_of(dataset[i] for i in range(5)) == ids_of(
        open_run(str(run), where="mean_score > 0.65")
    )
    assert len(open_run(str(run), where="status = 'error'").to_torch()) == 0


def test_few_shards_are_held(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.reader.torch_dataset.SHARDS_HELD", 1)
    dataset = open_run(str(run)).to_torch()
    assert ids_of(dataset[i] for i in (0, 6, 3, 0, 6)) == [all_ids(run)[i] for i in (0, 6, 3, 0, 6)]
    assert len(dataset._shards) == 1


@pytest.mark.parametrize("where", [None, "mean_score > 0"])
def test_two_ranks_of_two_workers_see_every_image_once(run: Path, where: str | None) -> None:
    seen: list[str] = []
    for rank in range(2):
        stream = open_run(str(run), where=where).to_torch_iterable(rank=rank, world_size=2)
        loader = DataLoader(
            stream, batch_size=None, num_workers=2, multiprocessing_context=FROM_A_CLEAN_PROCESS
        )
        own = ids_of(loader)
        assert own
        seen += own
    assert sorted(seen) == sorted(all_ids(run))


def test_workers_share_the_indices_of_a_shuffled_loader(run: Path) -> None:
    dataset = open_run(str(run)).to_torch(with_pixels=True)
    loader = DataLoader(
        dataset,
        batch_size=3,
        shuffle=True,
        num_workers=2,
        collate_fn=list,
        multiprocessing_context=FROM_A_CLEAN_PROCESS,
    )
    assert sorted(ids_of(s for batch in loader for s in batch)) == sorted(all_ids(run))


def test_a_stream_alone_has_everything_in_plan_order(run: Path) -> None:
    stream = open_run(str(run)).to_torch_iterable(with_pixels=True)
    assert ids_of(stream) == all_ids(run)
    assert next(iter(stream)).pixels.shape[0] == 3


@pytest.mark.parametrize(("rank", "world_size"), [(2, 2), (-1, 2), (0, 0)])
def test_a_rank_out_of_range_is_refused(run: Path, rank: int, world_size: int) -> None:
    with pytest.raises(ConfigError, match=f"got {rank}; count ranks from 0"):
        open_run(str(run)).to_torch_iterable(rank=rank, world_size=world_size)


def test_forked_workers_of_a_run_in_a_bucket_are_refused_instead_of_hanging(
    run: Path, s3_server: str
) -> None:
    filesystem = fsspec.filesystem("s3")
    filesystem.makedirs("reader", exist_ok=True)
    filesystem.put(f"{run}/", "s3://reader/run/", recursive=True)
    opened = open_run("s3://reader/run")
    assert ids_of(opened) == all_ids(run)
    loader = DataLoader(
        opened.to_torch_iterable(),
        batch_size=None,
        num_workers=1,
        multiprocessing_context="fork",
    )
    with pytest.raises(ConfigError, match="multiprocessing_context='spawn'"):
        list(loader)
