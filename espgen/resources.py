"""Where the files that ship with espgen are: templates, firmware sources, the demo model."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

MODEL_ABI = 4
"""espgen::kModelAbi: what a generated component tells about itself, and in which structures."""


def templates_dir() -> Path:
    """Folder of the Jinja2 templates."""
    return _beside("templates")


def firmware_dir() -> Path:
    """Folder of the C++ firmware sources (headers in include/)."""
    return _beside("firmware")


def models_dir() -> Path:
    """Folder of the bundled demo model and its test set."""
    return Path(__file__).parent / "models"


def _beside(name: str) -> Path:
    """An installed espgen holds `name` as a package; a plain checkout has it next to espgen/."""
    try:
        return Path(str(files(f"espgen.{name}")))
    except ModuleNotFoundError:
        return Path(__file__).parent.parent / name
