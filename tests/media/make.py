"""Makes the pictures and sounds of the tests, in the folder of this script.

    pip install -r ../models/requirements-tasks.txt
    python make.py            writes the files
    python make.py --check    makes them in memory and fails where what the files here hold differs

Drawn with seeded numbers. Compressed files may differ in bytes from one version of an encoder to the next, so --check
compares the pixels and samples of those, and the bytes of all others.
"""

from __future__ import annotations

import argparse
import io
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image, ImageDraw

HERE = Path(__file__).resolve().parent
SEED = 20261122
# Encoders write a serial number or their own version into these, or round otherwise.
COMPRESSED = {".png", ".jpg", ".webp", ".gif", ".flac", ".mp3", ".ogg"}


def shapes(size: int) -> Image.Image:
    """A disc, a square and a triangle."""
    unit = size // 16
    picture = Image.new("RGB", (size, size), (40, 60, 90))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((unit, unit, 7 * unit, 7 * unit), fill=(220, 40, 40))
    draw.rectangle((9 * unit, 2 * unit, 14 * unit, 7 * unit), fill=(40, 200, 80))
    draw.polygon([(8 * unit, 9 * unit), (14 * unit, 15 * unit), (2 * unit, 15 * unit)], fill=(240, 220, 60))
    return picture


def photo() -> Image.Image:
    """Smooth colours with grain."""
    random = np.random.default_rng(SEED)
    y, x = np.mgrid[0:120, 0:160] / 120
    colours = np.stack([np.sin(3 * x + y), np.cos(2 * y - x), np.sin(4 * x * y)], axis=-1)
    grain = random.normal(0, 6, colours.shape)
    return Image.fromarray(np.clip(128 + 90 * colours + grain, 0, 255).astype(np.uint8))


def form() -> Image.Image:
    """A sheet with a frame, lines and boxes, one of them ticked."""
    picture = Image.new("RGB", (64, 64), (255, 255, 255))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((2, 2, 61, 61), outline=(0, 0, 0))
    for row in range(4):
        top = 8 + 13 * row
        draw.rectangle((6, top, 13, top + 7), outline=(30, 30, 30))
        draw.line((18, top + 3, 56 - 7 * row, top + 3), fill=(60, 60, 60), width=2)
    draw.line((6, 21, 13, 28), fill=(0, 0, 0), width=2)
    draw.line((13, 21, 6, 28), fill=(0, 0, 0), width=2)
    return picture


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def with_alpha() -> Image.Image:
    picture = shapes(32).convert("RGBA")
    ramp = np.tile(np.linspace(0, 255, 32).astype(np.uint8), (32, 1))
    picture.putalpha(Image.fromarray(ramp))
    return picture


def bomb(side: int = 30_000) -> bytes:
    """A black picture of `side` * `side` pixels of 1 bit."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    packer = zlib.compressobj(9)
    row = bytes(1 + side // 8)
    rows = b"".join(packer.compress(row * 100) for _ in range(side // 100)) + packer.flush()
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def tones(rate: int, seconds: float = 1.0, pitch: float = 440.0) -> np.ndarray:
    """Two tones, the higher one three times as high, faded in and out."""
    time = np.arange(round(rate * seconds)) / rate
    wave = 0.4 * np.sin(2 * np.pi * pitch * time) + 0.2 * np.sin(6 * np.pi * pitch * time)
    return wave * np.clip(np.minimum(time, seconds - time) / 0.02, 0, 1)


def stereo(rate: int) -> np.ndarray:
    """The same tones; a third one is there in both channels, and nowhere once they are mixed."""
    middle = tones(rate)
    side = 0.25 * tones(rate, pitch=660.0)
    return np.stack([middle + side, middle - side], axis=1)


def long() -> np.ndarray:
    """70 s: a fifth of a second of tones every 5 s, each higher than the one before; silence between."""
    wave = np.zeros(70 * 16_000)
    for number in range(14):
        at = number * 5 * 16_000 + 8_000
        wave[at : at + 3_200] = tones(16_000, seconds=0.2, pitch=200.0 + 40 * number)
    return wave


def pcm(samples: np.ndarray) -> np.ndarray:
    return np.round(samples * 32767).astype("<i2")


def wav(samples: np.ndarray, rate: int = 16_000) -> bytes:
    data = pcm(samples).tobytes()
    head = b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, rate, 2 * rate, 2, 16)
    return b"RIFF" + struct.pack("<I", len(head) + 8 + len(data)) + head + b"data" + struct.pack("<I", len(data)) + data


def sound(samples: np.ndarray, rate: int, kind: str, subtype: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, pcm(samples) if subtype == "PCM_16" else samples, rate, format=kind, subtype=subtype)
    return file.getvalue()


def make() -> dict[str, bytes]:
    """All files by name."""
    large, high = shapes(64), stereo(44_100)
    files = {
        "shapes-32.png": encoded(shapes(32), "PNG"),
        "shapes-64.png": encoded(large, "PNG"),
        "photo-like.jpg": encoded(photo(), "JPEG", quality=85),
        "picture.webp": encoded(photo(), "WEBP", quality=85),
        "animated.gif": encoded(
            large, "GIF", save_all=True, append_images=[large.rotate(180)], duration=200, loop=0, optimize=False
        ),
        "grey.png": encoded(large.convert("L"), "PNG"),
        "alpha.png": encoded(with_alpha(), "PNG"),
        "form.png": encoded(form(), "PNG"),
        "bomb.png": bomb(),
        "tones-16k.wav": wav(tones(16_000)),
        "tones-44k-stereo.flac": sound(high, 44_100, "FLAC", "PCM_16"),
        "tones.mp3": sound(high, 44_100, "MP3", "MPEG_LAYER_III"),
        "tones.ogg": sound(high, 44_100, "OGG", "VORBIS"),
        "long.flac": sound(long(), 16_000, "FLAC", "PCM_16"),
        "silence.wav": wav(np.zeros(16_000)),
        "empty.wav": wav(np.zeros(0)),
        "not-media.bin": np.random.default_rng(SEED).bytes(1024),
    }
    for whole in ["shapes-64.png", "photo-like.jpg", "tones-16k.wav", "tones-44k-stereo.flac", "tones.mp3"]:
        share = 4 if len(files[whole]) > 20_000 else 2
        files[f"truncated{Path(whole).suffix}"] = files[whole][: len(files[whole]) // share]
    return files


def content(name: str, data: bytes) -> np.ndarray:
    """Pixels or samples of a file that is whole."""
    if Path(name).suffix in {".flac", ".mp3", ".ogg"}:
        return soundfile.read(io.BytesIO(data))[0] * 255
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"), dtype=float)


def differs(name: str, made: bytes, found: bytes) -> bool:
    if made == found:
        return False
    if Path(name).suffix not in COMPRESSED or name in {"bomb.png"}:
        return True
    if name.startswith("truncated"):
        return abs(len(made) - len(found)) > len(found) // 10
    a, b = content(name, made), content(name, found)
    return a.shape != b.shape or np.abs(a - b).mean() > 2


def main() -> int:
    parser = argparse.ArgumentParser(description="Makes the pictures and sounds of the tests.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail where the files here differ")
    check = parser.parse_args().check
    files = make()
    if check:
        wrong = [
            name
            for name, made in files.items()
            if not (HERE / name).is_file() or differs(name, made, (HERE / name).read_bytes())
        ]
        print(
            "\n".join(f"{name} is missing or differs" for name in wrong) or f"{len(files)} files are as they should be"
        )
        return 1 if wrong else 0
    for name, made in files.items():
        (HERE / name).write_bytes(made)
        print(f"{len(made):7} {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
