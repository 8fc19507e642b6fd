# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""A row of the dataset emb for each request: a FastAPI application, as uvicorn runs it."""

import preforkd
from fastapi import FastAPI, HTTPException

emb = preforkd.array("emb", default="emb.npy")  # outside preforkd: the file, so that the same code runs alone
app = FastAPI()


@app.get("/")
async def read(row: int = 0):
    if not 0 <= row < len(emb):
        raise HTTPException(404, f"rows are 0 to {len(emb) - 1}")
    return {
        "worker": preforkd.worker_id(),
        "version": preforkd.data("emb", default="emb.npy").version,
        "rows": len(emb),
        "row": row,
        "sum": float(emb[row].sum()),
    }
