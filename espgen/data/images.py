"""Images from a folder as model inputs: read when they are needed, so that a set may be larger than memory."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from espgen.errors import EspgenError, environment_error
from espgen.ir.layout import from_layout, to_layout

_LABEL = re.compile(r"-?[0-9]{1,9}")
LIST_FILES = ("val_list.txt", "image_label.txt", "labels.txt")


@dataclass(frozen=True)
class Preprocess:
    """How pixels 0..255 become model inputs: (pixel / divisor - mean) / std per channel, after resize and centre crop.

    resize: length the shorter side is scaled to before the crop, 0 for resizing straight to the input's size.
    """

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    divisor: float = 1.0
    resize: int = 0

    def apply(self, pixels: np.ndarray, axis: int = 1) -> np.ndarray:
        """uint8 or float [samples, ..] with channels along `axis` -> float32 of the same shape."""
        axis %= pixels.ndim
        shape = tuple(-1 if index == axis else 1 for index in range(pixels.ndim))
        for option, given in (("--mean", self.mean), ("--std", self.std)):
            if len(given) not in (1, pixels.shape[axis]):
                raise EspgenError(
                    f"{len(given)} numbers for {pixels.shape[axis]} channels", place=option,
                    hint="one for all, or one per channel",
                )  # fmt: skip
        if 0.0 in self.std or self.divisor == 0.0:
            raise EspgenError("pixels cannot be divided by 0", place="--std")
        mean = np.asarray(self.mean, np.float32).reshape(shape)
        std = np.asarray(self.std, np.float32).reshape(shape)
        return np.asarray((pixels.astype(np.float32) / np.float32(self.divisor) - mean) / std, np.float32)


@dataclass(frozen=True)
class ImageArray:
    """float32 [images, C, H, W] (or [images, H, W, C]) whose images are read when a part of it becomes an array.

    Slicing gives a shorter ImageArray, an index one image; `np.asarray` reads. size: (C, H, W); last: channels last.
    """

    files: tuple[Path, ...]
    size: tuple[int, int, int]
    preprocess: Preprocess
    last: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        channels, high, wide = self.size
        return (len(self.files), high, wide, channels) if self.last else (len(self.files), channels, high, wide)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, chosen: Any) -> Any:
        if isinstance(chosen, slice):
            return replace(self, files=self.files[chosen])
        if isinstance(chosen, int | np.integer):
            return np.asarray(replace(self, files=(self.files[int(chosen)],)))[0]
        positions = np.arange(len(self.files))[chosen]
        return replace(self, files=tuple(self.files[int(position)] for position in positions))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        pixels = np.empty((len(self.files), *self.size), np.uint8)
        for index, file in enumerate(self.files):
            pixels[index] = _read(file, self.size, self.preprocess.resize)
        found = self.preprocess.apply(pixels)
        turned = to_layout(found, "NHWC") if self.last else found
        return np.ascontiguousarray(turned, np.float32 if dtype is None else dtype)


def find_images(path: Path, shape: Sequence[int], preprocess: Preprocess, limit: int | None,
                channels_last: bool = False) -> tuple[ImageArray, np.ndarray | None]:  # fmt: skip
    """The images of a folder for an input of `shape` [1, C, H, W] or [1, H, W, C], and their labels where all have one.

    channels_last: the model is known to take them last (they are, where only the last axis can be channels, too).

    Raises EspgenError for other inputs, for lists that do not parse and (exit code 3) where Pillow is missing.
    """
    if len(shape) != 4:
        raise EspgenError("a folder of images fits only a model with one image input", place=str(path), hint="use an .npz")
    last = channels_last or (shape[1] not in (1, 3) and shape[3] in (1, 3))
    channels, high, wide = (shape[3], shape[1], shape[2]) if last else (shape[1], shape[2], shape[3])
    if channels not in (1, 3):
        raise EspgenError(f"images have 1 or 3 channels, the input has {channels}", place=str(path), hint="use an .npz")
    _pillow()
    entries = _entries(path)[:limit]
    known = all(label is not None for _, label in entries)
    labels = np.array([label for _, label in entries], np.int64) if known else None
    return ImageArray(tuple(file for file, _ in entries), (channels, high, wide), preprocess, last), labels


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise environment_error("reading images needs Pillow", hint="pip install 'espgen[quantize]'") from error
    return Image


def _read(file: Path, size: tuple[int, int, int], resize: int) -> np.ndarray:
    channels, high, wide = size
    pillow = _pillow()
    try:
        with pillow.open(file) as image:
            turned = image.convert("L" if channels == 1 else "RGB")
    except MemoryError:
        raise
    except Exception as error:  # Pillow's readers raise whatever a damaged file leads them to
        hint = "is it an image? leave it out of the list otherwise"
        raise EspgenError(f"can't read the image: {error}", place=str(file), hint=hint) from None
    return _fit(turned, high, wide, resize)


def _entries(path: Path) -> list[tuple[Path, int | None]]:
    """(image, label) of every line of the folder's list file, or every image without labels."""
    listing = next((path / name for name in LIST_FILES if (path / name).is_file()), None)
    entries: list[tuple[Path, int | None]] = []
    if listing is None:
        kinds = {".jpg", ".jpeg", ".png", ".bmp", ".ppm"}
        entries = [(file, None) for file in sorted(path.rglob("*")) if file.suffix.lower() in kinds]
    else:
        try:
            lines = listing.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            raise EspgenError("the list is no UTF-8 text", place=str(listing), hint="write lines of: path label") from None
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            name, _, label = line.strip().rpartition(" ")
            if not name or not _LABEL.fullmatch(label):
                raise EspgenError(f"line {number} is not 'path label'", place=str(listing), hint="a label is a class index")
            entries.append((path / name.strip(), int(label)))
    if not entries:
        raise EspgenError("the folder holds no images", place=str(path), hint="list them in val_list.txt: path label")
    return entries


def _fit(image: Any, high: int, wide: int, resize: int) -> np.ndarray:
    from PIL import Image

    bilinear = Image.Resampling.BILINEAR
    if resize:
        ratio = resize / min(image.size)
        image = image.resize((round(image.size[0] * ratio), round(image.size[1] * ratio)), bilinear)
        left, top = (image.size[0] - wide) // 2, (image.size[1] - high) // 2
        image = image.crop((left, top, left + wide, top + high))
    elif image.size != (wide, high):
        image = image.resize((wide, high), bilinear)
    pixels = np.asarray(image)
    last: np.ndarray = pixels[None, ..., None] if pixels.ndim == 2 else pixels[None]
    return np.asarray(from_layout(last, "NHWC")[0])
