"""Removes credentials from texts that are printed."""

import os
import re

SECRET_NAME = re.compile(r"SECRET|TOKEN|PASSWORD|ACCESS_KEY")  # of environment variables
MIN_SECRET_CHARS = 6  # shorter values are words such as "true"
# Logins in addresses, and the parameters of signed addresses.
LOGIN = re.compile(r"(?<=://)[^/\s@]*@")
SIGNED = re.compile(r"((?:X-Amz-[A-Za-z-]+|Signature|AWSAccessKeyId)=)[^&\s]+", re.IGNORECASE)


def without_secrets(text: str) -> str:
    """`text` with three stars instead of each credential."""
    for name, value in os.environ.items():
        is_secret = SECRET_NAME.search(name) and not name.endswith("_FILE")
        if is_secret and len(value) >= MIN_SECRET_CHARS:
            text = text.replace(value, "***")
    return SIGNED.sub(r"\1***", LOGIN.sub("***@", text))
