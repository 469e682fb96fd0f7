"""SIGTERM reaches this process's Python handlers even if native code replaces them.

While it starts, Ray's core installs its own handler beneath Python's, which would abort.
"""

import os
import signal
import threading

from pipelines.label.exit_codes import ExitCode

SIGTERM = {signal.SIGTERM}


def take_sigterm() -> None:
    """Block SIGTERM in all future threads except one, which calls Python's handler.

    Call it before anything else. Processes that are forked later, Ray's among them, have SIGTERM
    unblocked again. Processes that Python spawns keep it blocked, so nothing may rely on it to end
    them: `multiprocessing.Pool` does, and may then wait for ever.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGTERM)
    os.register_at_fork(after_in_child=_unblock_sigterm)
    threading.Thread(target=_handle_sigterm, name="sigterm", daemon=True).start()


def _unblock_sigterm() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGTERM)


def _handle_sigterm() -> None:
    while True:
        number = signal.sigwait(SIGTERM)
        handler = signal.getsignal(number)
        if not callable(handler):
            os._exit(ExitCode.TERMINATED)
        handler(number, None)
