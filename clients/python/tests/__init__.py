# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""The tests of the package; conftest has what they share."""
