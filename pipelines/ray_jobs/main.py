"""The program of a Ray job: `python -m pipelines.ray_jobs.main REQUEST`, a `JobRequest` as JSON.

It runs on the head of the cluster, beside Ray, and joins that cluster by RAY_ADDRESS, which Ray
sets. Exit codes are those of `possam label`.
"""

import logging
import sys

from pydantic import TypeAdapter
from rich.console import Console

from pipelines.label.exit_codes import ExitCode, exit_code
from pipelines.label.session import run_label, run_retry
from pipelines.label.summary import summarise, why_open
from pipelines.ray_jobs.client import OUR_OWN_LINE, JobRequest
from pipelines.redaction import without_secrets
from possam_core.errors import PossamError, one_line

LOG_WIDTH = 100  # characters


def main(content: str) -> int:
    """Label or retry by the JSON `content`, and return the exit code."""
    console = Console(width=LOG_WIDTH, highlight=False, markup=False, soft_wrap=True)
    _log_to_stdout()
    request = TypeAdapter(JobRequest).validate_json(content)
    nowhere = Console(quiet=True)  # progress is read from the run folder
    try:
        if request.codes is None:
            report = run_label(request.config, console=nowhere)
        else:
            report = run_retry(request.config, request.codes, console=nowhere)
    except PossamError as error:
        console.print(without_secrets(f"{OUR_OWN_LINE}{one_line(error)}"))
        return ExitCode.BAD_INPUT
    console.print(summarise(report))
    code = exit_code(report)
    if code is not ExitCode.DONE:
        console.print(without_secrets(f"{OUR_OWN_LINE}{why_open(report)}"))
    return code


def _log_to_stdout() -> None:
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_WithoutSecrets("%(levelname)s %(name)s: %(message)s"))
    for name in ("possam_core", "pipelines"):
        logging.getLogger(name).addHandler(handler)
        logging.getLogger(name).setLevel(logging.INFO)


class _WithoutSecrets(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return without_secrets(super().format(record))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
