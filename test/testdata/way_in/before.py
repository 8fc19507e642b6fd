# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""A search over embeddings, as it is written by somebody who has not heard of preforkd: uvicorn app:app --workers 4."""

import os

import numpy as np
from fastapi import FastAPI, HTTPException

LIMIT = int(os.environ.get("SEARCH_LIMIT", "100"))

app = FastAPI()
emb = np.load("emb.npy")


@app.get("/search")
def search(row: int, k: int = 5):
    """The k rows that are nearest to this one."""
    if not 0 <= row < len(emb) or not 0 < k <= LIMIT:
        raise HTTPException(404, f"there are {len(emb)} rows, and at most {LIMIT} neighbours")
    scores = emb @ emb[row]
    best = np.argpartition(-scores, k)[:k]
    best = best[np.argsort(-scores[best])]
    return {"row": row, "nearest": [{"row": int(i), "score": round(float(scores[i]), 3)} for i in best]}
