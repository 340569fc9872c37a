"""Inputs: what can be given to a model, and the message that each becomes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from pathlib import Path
from typing import Any, Union

import numpy as np

from .errors import InvalidInputError
from .tensors import to_tensor
from .v1 import inference_pb2

#: A file, the bytes of one, a PIL image, or pixels: uint8 of [height, width] or [height, width, 1, 3 or 4].
ImageLike = Any


@dataclass(frozen=True)
class Image:
    """A picture: a PNG, JPEG, WebP or GIF file, its bytes, a PIL image, or an array of pixels."""

    source: ImageLike


@dataclass(frozen=True)
class Audio:
    """Sound: a WAV, FLAC, MP3 or Ogg Vorbis file, its bytes, or samples of one channel from -1 to 1.

    Samples need their `rate`, in Hz.
    """

    source: Any
    rate: int | None = None


@dataclass(frozen=True)
class Question:
    """A question, and the context or the document that has the answer."""

    text: str
    context: str | None = None
    document: ImageLike | None = None


@dataclass(frozen=True)
class Query:
    """A query, and the documents to rank by how well they answer it."""

    text: str
    documents: Sequence[str]


@dataclass(frozen=True)
class Chat:
    """A conversation, which the model goes on with.

    A text is what a user says. A message is a mapping with `role` and `content`, which is a text, or a list of texts
    and pictures (`Image`).
    """

    messages: str | Sequence[Mapping[str, Any]] = field(default_factory=list)


#: What one item can be. A str is a text; a path, or bytes, the file of a picture or of sound, by its first bytes; an
#: array of uint8 a picture; a mapping tensors by their names.
Input = Union[
    str,
    bytes,
    "os.PathLike[str]",
    np.ndarray,
    Image,
    Audio,
    Question,
    Query,
    Chat,
    Mapping[str, Any],
    inference_pb2.Item,
    Any,
]


def to_items(inputs: Input | Sequence[Input]) -> list[inference_pb2.Item]:
    """One item, or one for each element of a list or a tuple."""
    if isinstance(inputs, (list, tuple)):
        return [to_item(value) for value in inputs]
    return [to_item(inputs)]


def to_item(value: Input) -> inference_pb2.Item:
    """The message of one input."""
    try:
        return _item(value)
    except UnicodeEncodeError as error:
        raise InvalidInputError(f"a text has what is no character, at {error.start}: {error.reason}") from error


def _item(value: Input) -> inference_pb2.Item:
    match value:
        case str():
            return inference_pb2.Item(text=value)
        case inference_pb2.Item():
            return value
        case Image():
            return inference_pb2.Item(image=_image(value.source))
        case Audio():
            return inference_pb2.Item(audio=_audio(value))
        case Question():
            document = None if value.document is None else _image(value.document)
            context = None if value.context is None else _text(value.context, "a context")
            question = inference_pb2.Question(text=_text(value.text, "a question"), context=context, document=document)
            return inference_pb2.Item(question=question)
        case Query():
            return inference_pb2.Item(query=_query(value))
        case Chat():
            return inference_pb2.Item(chat=_chat(value))
        case Mapping():
            tensors = {_text(name, "a tensor's name"): to_tensor(array, name) for name, array in value.items()}
            return inference_pb2.Item(tensors=inference_pb2.TensorMap(tensors=tensors))
        case bytes() | bytearray() | memoryview() | os.PathLike():
            data = _read(value)
            if _is_sound(data):
                return inference_pb2.Item(audio=inference_pb2.Audio(encoded=data))
            return inference_pb2.Item(image=inference_pb2.Image(encoded=data))
        case _ if _is_picture(value):
            return inference_pb2.Item(image=_image(value))
        case np.ndarray():
            raise InvalidInputError(
                f'an array of {value.dtype} {value.shape} alone may be anything: give tensors as {{"name": array}}, '
                "sound as Audio(array, rate)"
            )
        case _:
            raise InvalidInputError(
                f"a {type(value).__name__} is no input; give a str, bytes, a path, a PIL image, a mapping of arrays, "
                "or an Image, Audio, Question, Query or Chat"
            )


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise InvalidInputError(f"{what} is a text, not a {type(value).__name__}")
    return value


def _query(query: Query) -> inference_pb2.Query:
    if isinstance(query.documents, str) or not isinstance(query.documents, Iterable):
        raise InvalidInputError(f"the documents of a query are a list of texts, not a {type(query.documents).__name__}")
    documents = [_text(document, "a document") for document in query.documents]
    return inference_pb2.Query(text=_text(query.text, "a query"), documents=documents)


def _read(source: Any) -> bytes:
    if isinstance(source, (str, os.PathLike)):
        try:
            return Path(source).read_bytes()
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise InvalidInputError(f"{os.fspath(source)!r} cannot be read: {why}") from error
    return bytes(source)


def _is_sound(data: bytes) -> bool:
    """By the first bytes; the service looks closer. What is no known kind of sound is taken for a picture."""
    riff = data[:4] == b"RIFF" and data[8:12] == b"WAVE"
    frame = len(data) > 1 and data[0] == 0xFF and data[1] & 0xE0 == 0xE0
    return riff or frame or data.startswith((b"fLaC", b"OggS", b"ID3"))


def _is_picture(value: Any) -> bool:
    is_pixels = isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.ndim in (2, 3)
    # PIL itself is not needed for this.
    return is_pixels or (hasattr(value, "convert") and hasattr(value, "getbands"))


def _image(source: ImageLike) -> inference_pb2.Image:
    if isinstance(source, Image):
        source = source.source
    if isinstance(source, (str, os.PathLike, bytes, bytearray, memoryview)):
        return inference_pb2.Image(encoded=_read(source))
    if not _is_picture(source):
        wanted = "a file, its bytes, a PIL image, or pixels as uint8 of [height, width] or [height, width, channels]"
        raise InvalidInputError(f"no picture can be made of a {type(source).__name__}; give {wanted}")
    try:
        if hasattr(source, "convert") and source.mode not in ("L", "RGB", "RGBA"):
            source = source.convert("RGBA" if "A" in source.getbands() or "transparency" in source.info else "RGB")
        pixels = np.asarray(source)
    except (OSError, ValueError) as error:
        # Pillow reads a file's pixels only now.
        raise InvalidInputError(f"the picture cannot be read: {error}") from error
    if pixels.ndim == 2:
        pixels = pixels[:, :, np.newaxis]
    height, width, channels = pixels.shape
    if channels not in (1, 3, 4) or not pixels.size:
        raise InvalidInputError(f"pixels have the shape [height, width, 1, 3 or 4], not {list(pixels.shape)}")
    data = pixels.tobytes()
    return inference_pb2.Image(
        pixels=inference_pb2.Pixels(width=width, height=height, channels=channels, data=data),
    )


def _audio(sound: Audio) -> inference_pb2.Audio:
    if isinstance(sound.source, (str, os.PathLike, bytes, bytearray, memoryview)):
        return inference_pb2.Audio(encoded=_read(sound.source))
    if not isinstance(sound.rate, Integral) or not 0 < sound.rate < 2**32:
        raise InvalidInputError(f"samples need a rate: Audio(samples, rate=16000), not {sound.rate!r}")
    samples = np.asarray(sound.source)
    if samples.ndim != 1 or samples.dtype.kind != "f":
        raise InvalidInputError(
            f"samples are floats from -1 to 1 of one channel, not {samples.dtype} {list(samples.shape)}"
        )
    data = samples.astype("<f4", copy=False).tobytes()
    return inference_pb2.Audio(samples=inference_pb2.Samples(rate=sound.rate, data=data))


def _chat(chat: Chat) -> inference_pb2.Chat:
    said = [{"role": "user", "content": chat.messages}] if isinstance(chat.messages, str) else chat.messages
    if not isinstance(said, Iterable):
        raise InvalidInputError(f"a conversation is a text or a list of messages, not a {type(said).__name__}")
    messages = []
    for message in said:
        if not isinstance(message, Mapping) or not {"role", "content"} <= message.keys():
            raise InvalidInputError(f'a message is {{"role": ..., "content": ...}}, not {message!r:.80}')
        content = message["content"]
        parts = [
            inference_pb2.Part(text=part) if isinstance(part, str) else inference_pb2.Part(image=_image(part))
            for part in (content if isinstance(content, (list, tuple)) else [content])
        ]
        messages.append(inference_pb2.ChatMessage(role=_text(message["role"], "a role"), parts=parts))
    return inference_pb2.Chat(messages=messages)
