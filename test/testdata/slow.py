"""Importing this takes 3 seconds, as a model or a big framework does. Then it says which process has imported it."""

import os
import time

time.sleep(3)
open(os.path.join(os.environ["IMPORTED"], str(os.getpid())), "w").close()
