"""Processes that one process starts beside itself."""

import multiprocessing
import os
from threading import Thread


def end_with_parent() -> None:
    """In a process of `multiprocessing`: end as soon as its parent is gone, however it went.

    Without it a killed parent leaves its processes behind, which work on, or wait for ever.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait_and_end() -> None:
        parent.join()
        os._exit(1)

    Thread(target=wait_and_end, daemon=True).start()
