"""Inputs and tensors, without a service."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage

import webinfer
from webinfer.inputs import to_item, to_items
from webinfer.tensors import to_array, to_tensor

MEDIA = Path(__file__).resolve().parents[3] / "tests/media"
DTYPES = ["float32", "float16", "int64", "int32", "int8", "uint8", "bool"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3, 4), (2, 0, 4)])
def test_arrays_come_back_as_they_went(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape, dtype=int)).astype(dtype).reshape(shape)
    back = to_array(to_tensor(array))
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    assert np.array_equal(back, array)


def test_elements_are_sent_in_row_major_order_and_little_endian() -> None:
    rows = np.arange(12, dtype=np.float32).reshape(3, 4)
    for array in (rows.T, rows[::2, ::-1], np.asfortranarray(rows), rows.astype(">f4")):
        assert np.array_equal(to_array(to_tensor(array)), array)


def test_what_comes_back_is_a_view_that_cannot_be_written_to() -> None:
    view = to_array(to_tensor(np.zeros(4, np.float32)))
    assert view.base is not None
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 1


def test_lists_are_float32_int64_or_bool() -> None:
    dtypes = [to_array(to_tensor(value)).dtype.name for value in ([1.5], [1, 2], [True], 2.5, [[1], [2]])]
    assert dtypes == ["float32", "int64", "bool", "float32", "int64"]


@pytest.mark.parametrize(
    "value", [np.zeros(2), np.zeros(2, np.complex64), ["a"], [[1], [1, 2]], object(), np.uint16(3)]
)
def test_what_no_model_takes_is_refused_by_name(value: Any) -> None:
    with pytest.raises(webinfer.InvalidInputError, match="x:"):
        to_item({"x": value})


def test_each_kind_of_input_becomes_its_kind_of_item() -> None:
    png, wav = MEDIA / "shapes-32.png", MEDIA / "tones-16k.wav"
    pixels = np.zeros((2, 3, 3), np.uint8)
    for value, kind in [
        ("text", "text"),
        ({"x": [1.0]}, "tensors"),
        (png, "image"),
        (png.read_bytes(), "image"),
        (memoryview(png.read_bytes()), "image"),
        (PillowImage.open(png), "image"),
        (pixels, "image"),
        (webinfer.Image(str(png)), "image"),
        (wav, "audio"),
        (wav.read_bytes(), "audio"),
        (webinfer.Audio(wav), "audio"),
        (webinfer.Audio(np.zeros(10, np.float64), 16000), "audio"),
        (webinfer.Question("Who?", "A king."), "question"),
        (webinfer.Question("Who?", document=png), "question"),
        (webinfer.Query("Who?", ["a", "b"]), "query"),
        (webinfer.Chat("Why?"), "chat"),
        (webinfer.Chat([{"role": "user", "content": ["What is it?", webinfer.Image(png)]}]), "chat"),
    ]:
        item = to_item(value)
        assert item.WhichOneof("input") == kind, value
        assert to_item(item) is item
    assert len(to_items(["a", "b"])) == 2
    assert len(to_items("ab")) == 1


def test_pixels_have_their_size_and_channels() -> None:
    for array, channels in [(np.ones((2, 3), np.uint8), 1), (np.ones((2, 3, 4), np.uint8), 4)]:
        pixels = to_item(array).image.pixels
        assert (pixels.width, pixels.height, pixels.channels, len(pixels.data)) == (3, 2, channels, 6 * channels)
    palette = PillowImage.open(MEDIA / "shapes-32.png").convert("P")
    assert to_item(palette).image.pixels.channels == 3
    # Columns of a larger picture: what is sent is in row-major order.
    column = np.arange(12, dtype=np.uint8).reshape(3, 4)[:, 1:2]
    assert to_item(column).image.pixels.data == bytes([1, 5, 9])


def test_a_picture_that_breaks_off_is_refused() -> None:
    with pytest.raises(webinfer.InvalidInputError, match="picture"):
        to_item(PillowImage.open(MEDIA / "truncated.jpg"))


@pytest.mark.parametrize(
    "value",
    [
        None,
        5,
        object(),
        np.zeros(4, np.float32),
        np.zeros((2, 2, 5), np.uint8),
        np.zeros((0, 2), np.uint8),
        Path("/no/such/file.png"),
        webinfer.Audio(np.zeros(4, np.float32)),
        webinfer.Audio(np.zeros((4, 2), np.float32), 16000),
        webinfer.Audio(np.zeros(4, np.int16), 16000),
        webinfer.Image(3),
        webinfer.Chat([{"role": "user"}]),
        webinfer.Chat(["text"]),
        webinfer.Chat(5),
        webinfer.Chat([{"role": "user", "content": None}]),
        webinfer.Chat([{"role": 1, "content": "text"}]),
        webinfer.Audio(np.zeros(4, np.float32), -1),
        webinfer.Audio(np.zeros(4, np.float32), 1.5),
        webinfer.Image("/no/such\0file.png"),
        webinfer.Question(5, "A king."),
        webinfer.Question("Who?", 5),
        webinfer.Query("Who?", "a king"),
        webinfer.Query("Who?", [1]),
        {5: np.zeros(4, np.float32)},
        "half of a character: \ud800",
    ],
)
def test_what_is_no_input_is_refused_with_what_is(value: Any) -> None:
    with pytest.raises(webinfer.InvalidInputError):
        to_item(value)
