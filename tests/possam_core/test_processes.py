"""The children of a killed process end too, instead of working on or waiting for ever."""

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

STARTERS = {
    "rendering": """
from possam_core.training.data.scenes import SceneSet, SceneStore
SceneStore(SceneSet(world="playground", seed=1, num_scenes=1_000_000, canvas=32), folder)
""",
    "SAM beside CLIP": """
import torch
from possam_core.training.tiny.encoder_stages import EncoderRecipe, clip_scenes, train_encoders
from tests.factories import small_model
config = small_model().config
recipe = EncoderRecipe(num_scenes=8, held_out_scenes=8, batch_size=2)
clip_scenes(recipe, folder, canvas=config.sam.image_size)  # drawn by processes that end
train_encoders(config, recipe, folder, torch.device("cpu"))
""",
    "two workers": """
import time
from functools import partial
from possam_core.training.workers import work_together
work_together(partial(time.sleep, 600), num=2)
""",
}
TIMEOUT_S = 120.0


@pytest.mark.parametrize("starter", STARTERS)
def test_the_children_of_a_killed_process_end(starter: str, tmp_path: Path) -> None:
    before, _, last = STARTERS[starter].strip().rpartition("\n")
    folder = f"from pathlib import Path\nfolder = Path({str(tmp_path)!r})"
    script = tmp_path / "starter.py"
    lines = "\n".join([folder, before, "print('ready', flush=True)", last]).splitlines()
    script.write_text("if __name__ == '__main__':\n" + "\n".join(f"    {line}" for line in lines))
    root = Path(__file__).parents[2]
    command = [sys.executable, str(script)]
    environment = {"PYTHONPATH": str(root)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            begun = _wait_for_children(psutil.Process(process.pid))
        finally:
            process.kill()
    _, alive = psutil.wait_procs(begun, timeout=TIMEOUT_S)
    for left in alive:
        left.kill()
    assert not alive


def _wait_for_children(process: psutil.Process) -> list[psutil.Process]:
    """The working ones, without multiprocessing's resource tracker."""
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        children = [c for c in process.children() if "spawn_main" in " ".join(c.cmdline())]
        if children:
            return children
        time.sleep(0.1)
    raise AssertionError("it has started no process")
