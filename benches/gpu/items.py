"""Items to measure with: texts of an exact number of tokens, pictures and sound. No two of a set are alike."""

from __future__ import annotations

import io
import random
from pathlib import Path

import numpy as np

#: Words that are one token each in BERT's vocabulary.
# fmt: off
WORDS = [
    "air", "animal", "answer", "bank", "bird", "black", "boat", "book", "bridge", "brother", "car", "child",
    "church", "city", "cloud", "cold", "color", "country", "day", "door", "earth", "evening", "eye", "family",
    "farm", "field", "fire", "fish", "floor", "flower", "forest", "friend", "garden", "glass", "gold", "grass",
    "green", "hand", "heart", "hill", "horse", "house", "island", "king", "lake", "letter", "light", "market",
    "moon", "morning", "mountain", "music", "night", "ocean", "paper", "rain", "river", "road", "school", "ship",
    "snow", "stone", "summer", "winter",
]
# fmt: on

#: The tokens at the ends of each text.
SPECIAL = 2
#: Texts of a set: more than are ever in flight.
TEXTS = 2048
LABELS = ["a cat", "a dog", "a car", "a house"]


def texts(tokens: int, seed: int = 1) -> list[str]:
    """Texts of so many tokens, those at the ends counted."""
    choice = random.Random(seed * 1000 + tokens)
    return [" ".join(choice.choices(WORDS, k=tokens - SPECIAL)) for _ in range(TEXTS)]


def text_file(folder: Path, tokens: int) -> Path:
    """The same, a line each."""
    path = folder / f"texts-{tokens}.txt"
    path.write_text("\n".join(texts(tokens)) + "\n")
    return path


def pictures(count: int) -> list[bytes]:
    """JPEG files of 640 x 480."""
    from PIL import Image

    made = []
    for seed in range(count):
        draw = np.random.default_rng(seed)
        rows, columns = np.mgrid[0:480, 0:640]
        red, green, blue = draw.integers(0, 255, 3)
        channels = [(columns + red) % 256, (rows + green) % 256, ((columns + rows) // 4) ^ blue]
        out = io.BytesIO()
        Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8)).save(out, "JPEG", quality=85)
        made.append(out.getvalue())
    return made


def sounds(count: int) -> list[np.ndarray]:
    """Thirty seconds of noise each, 16,000 samples a second."""
    return [np.random.default_rng(seed).uniform(-0.5, 0.5, 30 * 16_000).astype(np.float32) for seed in range(count)]
