"""`possam verify`: recounts a run with code of its own, and changes nothing.

It shares no reader with the code that writes runs, so that a mistake there is not repeated here.
"""

from pipelines.verify.report import VerifyReport
from pipelines.verify.run import verify_run

__all__ = ["VerifyReport", "verify_run"]
