"""A worker that opens the SQLite database that its command names and counts the rows of its table, now and at SIGUSR1."""

import json
import os
import signal
import sqlite3
import sys

from notify import say

entry = json.loads(os.environ["PREFORKD_DATA"])["geo"]
assert sys.argv[1] == entry["path"] == os.environ["PREFORKD_DATA_GEO"] and entry["direct"], (sys.argv, entry)
assert os.path.samestat(os.fstat(entry["fd"]), os.stat(entry["path"]))
db = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
while True:
    count = db.execute("SELECT count(*) FROM places WHERE name LIKE 'place %'").fetchone()[0]
    try:
        db.execute("INSERT INTO places VALUES ('x')")
        refused = "nothing"
    except sqlite3.OperationalError as e:
        refused = str(e)
    say("READY=1", f"STATUS={count} places, version {entry['version']}, refused: {refused}")
    signal.sigwait({signal.SIGUSR1})
