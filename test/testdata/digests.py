"""A worker that reads all of every dataset by its path and tells the digests: "NAME:VERSION:SHA256 …" in the order of --data."""

import hashlib
import json
import os
import signal

from notify import say

digests = []
for name, entry in json.loads(os.environ["PREFORKD_DATA"]).items():
    with open(entry["path"], "rb") as f:
        digests.append(f"{name}:{entry['version']}:{hashlib.file_digest(f, 'sha256').hexdigest()}")
say("READY=1", "STATUS=" + " ".join(digests))
signal.pause()
