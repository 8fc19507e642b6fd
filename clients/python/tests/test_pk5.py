# Copyright 2026 The preforkd authors
# SPDX-License-Identifier: Apache-2.0
"""pk5: what is written comes back as views of the container, and what is damaged is refused before it is unpickled."""

from __future__ import annotations

import io
import pickle
import random
import struct
from typing import Any

import pytest

from preforkd import Error, pk5

numpy = pytest.importorskip("numpy")


def written(obj: object, **options: Any) -> bytes:
    file = io.BytesIO()
    pk5.dump(obj, file, **options)
    return file.getvalue()


def lies_in(array: Any, content: bytes) -> bool:
    begin = numpy.frombuffer(content, "u1").ctypes.data
    return bool(begin <= array.ctypes.data < begin + len(content))


def test_arrays_are_views_of_the_container_and_the_rest_is_equal() -> None:
    made = {"a": numpy.arange(1000.0), "f": numpy.asfortranarray(numpy.ones((30, 20), "f4")), "text": ["x", "y"]}
    content = written(made)
    got: Any = pk5.load(content)
    assert got["text"] == ["x", "y"]
    for name in ("a", "f"):
        assert (got[name] == made[name]).all()
        assert got[name].flags.f_contiguous == made[name].flags.f_contiguous
        assert lies_in(got[name], content)


def test_arrays_can_be_written_to_only_where_the_container_can() -> None:
    content = written([numpy.zeros(100)])
    shared: Any = pk5.load(content)
    with pytest.raises(ValueError, match="read-only"):
        shared[0][0] = 1
    private: Any = pk5.load(bytearray(content))
    private[0][0] = 1
    assert private[0][0] == 1


def test_an_array_that_was_read_only_stays_so() -> None:
    array = numpy.zeros(100)
    array.flags.writeable = False
    content = written(array)
    assert [e.flags for e in pk5.table(content)] == [0, pk5.READ_ONLY]
    assert not pk5.load(bytearray(content)).flags.writeable  # type: ignore[attr-defined]


def test_empty_arrays_and_empty_buffers() -> None:
    made = [numpy.empty((0, 3)), pickle.PickleBuffer(b""), numpy.arange(3)]
    got: Any = pk5.load(written(made))
    assert got[0].shape == (0, 3)
    assert bytes(got[1]) == b""
    assert got[2].tolist() == [0, 1, 2]


def test_more_buffers_than_65536() -> None:
    count = 70_000
    content = written([pickle.PickleBuffer(struct.pack("<I", i)) for i in range(count)])
    assert len(pk5.table(content)) == count + 1
    got: Any = pk5.load(content)
    assert [struct.unpack("<I", b)[0] for b in got] == list(range(count))


def test_every_entry_is_aligned_and_in_order() -> None:
    content = written([numpy.arange(n, dtype="u1") for n in range(1, 200)])
    end = 24 + 24 * 200
    for entry in pk5.table(content):
        assert entry.offset % 64 == 0
        assert entry.offset >= end
        end = entry.offset + entry.length
    assert end == len(content)


def test_a_pipe_will_do() -> None:
    class Pipe:
        """Only write."""

        def __init__(self) -> None:
            self.parts: list[bytes] = []

        def write(self, part: Any) -> None:
            self.parts.append(bytes(part))

    pipe = Pipe()
    pk5.dump(numpy.arange(100), pipe)  # type: ignore[arg-type]
    assert pk5.load(b"".join(pipe.parts)).sum() == 4950  # type: ignore[attr-defined]


HARM = b"\x80\x05cbuiltins\nexec\n(V__import__('os')._exit(9)\ntR."


def harmful(**change: int) -> bytes:
    """A container that ends this process where its pickle is loaded, with a header that is wrong in one place."""
    fields = {"version": 1, "count": 2, "total": 0, "o0": 128, "n0": len(HARM), "f0": 0, "o1": 256, "n1": 8, "f1": 0}
    fields["total"] = 264
    fields.update(change)
    head = struct.pack("<8sIIQ", pk5.MAGIC, fields["version"], fields["count"], fields["total"])
    head += struct.pack("<QQQQQQ", *(fields[key] for key in ("o0", "n0", "f0", "o1", "n1", "f1")))
    return head.ljust(128, b"\0") + HARM.ljust(128, b"\0") + bytes(8)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"version": 2}, "version 2"),
        ({"count": 0}, "0 entries"),
        ({"count": 1 << 31}, "do not fit"),
        ({"total": 263}, "damaged"),
        ({"total": 265}, "truncated"),
        ({"total": 1 << 63}, "truncated"),
        ({"o0": 64}, "entry 0"),
        ({"o0": 129}, "entry 0"),
        ({"o1": 128}, "entry 1"),
        ({"o1": 320}, "entry 1"),
        ({"n1": 9}, "entry 1"),
        ({"n1": (1 << 64) - 1}, "entry 1"),
        ({"o1": (1 << 64) - 64}, "entry 1"),
        ({"f1": 2}, "flags 0x2"),
        ({"n0": 2}, "not a whole pickle"),
        ({"n0": len(HARM) - 1}, "not a whole pickle"),
        ({"n0": 0}, "not a whole pickle"),
    ],
)
def test_a_damaged_container_is_refused_before_anything_is_unpickled(change: dict[str, int], says: str) -> None:
    assert len(pk5.table(harmful())) == 2  # without a change the header is right
    with pytest.raises(Error, match=says) as error:
        pk5.load(harmful(**change))
    assert str(error.value).startswith("cannot")


def test_every_cut_is_refused() -> None:
    content = written([numpy.arange(10), "text"])
    for n in range(len(content)):
        with pytest.raises(Error, match="cannot"):
            pk5.load(content[:n])
    with pytest.raises(Error, match="damaged"):
        pk5.load(content + b"\0")


def test_random_headers_are_refused_or_right() -> None:
    content = bytearray(written([numpy.arange(10), numpy.arange(5)]))
    rng = random.Random(5)  # noqa: S311
    for _ in range(5000):
        changed = bytearray(content)
        for _ in range(rng.randint(1, 4)):
            changed[rng.randrange(96)] = rng.choice((0, 1, 63, 64, 127, 255, rng.randrange(256)))
        try:
            entries = pk5.table(changed)
        except Error:
            continue
        assert all(e.offset + e.length <= len(changed) for e in entries)


def test_dates_strides_and_other_dtypes_are_shared_when_converted_and_need_no_preforkd_to_load() -> None:
    stamps = numpy.arange(1000).astype("M8[us]")
    spans = numpy.asfortranarray(numpy.arange(600).astype("m8[ns]").reshape(20, 30))
    records = numpy.zeros(100, [("at", "M8[s]"), ("n", "i4")])
    strided = numpy.arange(2000.0).reshape(100, 20)[::2, ::3]
    made = {"stamps": stamps, "spans": spans, "records": records, "strided": strided, "s_stamps": stamps[::2]}
    content, plain = written(made, convert=True), written(made)
    assert b"preforkd" not in content
    loaded: Any = pk5.load(content)
    before: Any = pk5.load(plain)
    for name, array in made.items():
        got = loaded[name]
        assert got.dtype == array.dtype, name
        assert (got == array).all(), name
        assert lies_in(got, content), name
        assert not lies_in(before[name], plain), name
    assert loaded["spans"].flags.f_contiguous


def test_an_object_that_is_there_twice_stays_one_when_converted() -> None:
    stamps = numpy.arange(10).astype("M8[s]")
    got: Any = pk5.load(written([stamps, stamps], convert=True))
    assert got[0] is got[1]
