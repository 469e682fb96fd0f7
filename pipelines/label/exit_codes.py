"""The exit codes of commands and of Ray jobs; docs/operations.md lists them."""

import signal
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.label.session import LabelReport


class ExitCode(IntEnum):
    """Every code that `possam` ends with."""

    DONE = 0
    INCOMPLETE = 1
    BAD_INPUT = 2
    INTERRUPTED = 128 + signal.SIGINT  # a shell's code for the end by a signal
    TERMINATED = 128 + signal.SIGTERM

    @property
    def meaning(self) -> str:
        """The meaning of the code, for people."""
        return MEANINGS[self]


MEANINGS = {
    ExitCode.DONE: "done, and nothing is wrong; of a run, every shard is committed and the"
    " manifest is written",
    ExitCode.INCOMPLETE: "the work was done, and the answer is no: shards are open, `verify` or"
    " `doctor` found something; the report says what",
    ExitCode.BAD_INPUT: "something about the request cannot work; one sentence on stderr says what",
    ExitCode.INTERRUPTED: "stopped from the keyboard; run the same command again",
    ExitCode.TERMINATED: "stopped by SIGTERM; run the same command again",
}


def exit_code(report: "LabelReport") -> ExitCode:
    """The exit code of a command that labels images."""
    if report.manifest is not None:
        return ExitCode.DONE
    return ExitCode.TERMINATED if report.is_stopped else ExitCode.INCOMPLETE
