// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

// Before the first paint: the colours that were chosen here before.
try {
  const theme = localStorage.getItem("preforkd-theme");
  if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
} catch { /* storage is switched off: the system's colours */ }
