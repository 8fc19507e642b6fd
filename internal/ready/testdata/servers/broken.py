"""An application whose import fails when the test lets go."""

import gate  # noqa: F401

raise RuntimeError("this import always fails")
