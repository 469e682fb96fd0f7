import io
from collections.abc import Callable

import numpy as np
from PIL import Image

from pipelines.report.thumbnails import SIDE_PX, make_thumbnails
from tests.pipelines.conftest import SmallRun


def test_thumbnails_are_small_pictures_from_all_over_the_run(
    make_run: Callable[..., SmallRun],
) -> None:
    small = make_run(num_images=7)
    thumbnails = make_thumbnails(str(small.run), 3)
    # Three shards of 3, 3 and 1: one of each.
    assert [t.name for t in thumbnails] == [f"scene-{i:05d}.jpg" for i in (0, 3, 6)]
    picture = Image.open(io.BytesIO(thumbnails[0].jpeg))
    photo = Image.open(small.images / "scene-00000.jpg")
    assert (photo.size, picture.size) == ((201, 290), (122, SIDE_PX))
    difference = np.asarray(picture, float) - np.asarray(photo.resize(picture.size), float)
    assert np.abs(difference).mean() > 10, "the labels are over it"


def test_images_that_failed_or_are_gone_have_no_thumbnail(
    make_run: Callable[..., SmallRun],
) -> None:
    small = make_run(num_images=5, damage={0: b"", 1: b""})
    (small.images / "scene-00002.jpg").unlink()
    assert {t.name for t in make_thumbnails(str(small.run), 5)} == {
        "scene-00003.jpg",
        "scene-00004.jpg",
    }
