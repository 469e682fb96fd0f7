"""SIGTERM reaches the handlers of this process, whatever native code does about signals.

Ray's core installs a handler of its own beneath Python's while it starts, which would abort.
"""

import os
import signal
import threading

from pipelines.label.exit_codes import ExitCode

SIGTERM = {signal.SIGTERM}


def take_sigterm() -> None:
    """Block SIGTERM in all threads to come but one, which calls the handler that Python knows.

    To be called first of all. Processes that are forked later, Ray's among them, have it unblocked
    again. Those that Python spawns do not, so nothing may count on ending them by it:
    `multiprocessing.Pool` does, and may then wait for ever.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGTERM)
    os.register_at_fork(after_in_child=_let_go)
    threading.Thread(target=_wait, name="sigterm", daemon=True).start()


def _let_go() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGTERM)


def _wait() -> None:
    while True:
        number = signal.sigwait(SIGTERM)
        handler = signal.getsignal(number)
        if not callable(handler):
            os._exit(ExitCode.TERMINATED)
        handler(number, None)
