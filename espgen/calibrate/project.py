"""The calibration firmware as an ESP-IDF project."""

from __future__ import annotations

import tempfile
from pathlib import Path

from espgen.calibrate.firmware import COMMON, generated
from espgen.errors import EspgenError, environment_error
from espgen.resources import firmware_dir
from espgen.target.chips import V1, V3

_CALIBRATE = (*COMMON, "kernels.h", "platform.h", "serve.h", "esp32p4/platform.cpp")
_PORT = "boards/esp32p4"


def files() -> dict[str, str]:
    """Path below the project -> text."""
    firmware = firmware_dir()
    fixed = firmware / "calibrate" / "esp32p4" / "project"
    found = {
        "CMakeLists.txt": (fixed / "CMakeLists.txt").read_text(),
        "main/CMakeLists.txt": (fixed / "main.CMakeLists.txt").read_text(),
        "sdkconfig.defaults": (fixed / "sdkconfig.defaults").read_text(),
        "main/agent/protocol.h": (firmware / "agent" / "protocol.h").read_text(),
    }
    found |= {f"main/calibrate/{name}": (firmware / "calibrate" / name).read_text() for name in _CALIBRATE}
    found |= {f"main/{_PORT}/{path.name}": path.read_text() for path in sorted((firmware / _PORT).glob("port*"))}
    found |= {f"main/{name}": text for name, text in generated().items()}
    for chip in (V1, V3):
        found[f"sdkconfig.{chip.name}"] = "".join(f"{name}={value}\n" for name, value in chip.kconfig.items())
    return found


def write_project(folder: Path) -> list[str]:
    """Write the project into a new folder; returns the paths below it.

    EspgenError: `folder` holds something; exit code 3: it cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise EspgenError("the project's folder holds something else", place=str(folder), hint="name a new folder")
    target = folder.resolve()
    texts = files()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as scratch:
            staging = Path(scratch) / "project"
            for name, text in texts.items():
                (staging / name).parent.mkdir(parents=True, exist_ok=True)
                (staging / name).write_text(text, encoding="utf-8")
            if target.exists():
                target.rmdir()
            staging.rename(target)
    except OSError as problem:
        reason = problem.strerror or str(problem)
        hint = "name a folder that can be written"
        raise environment_error(f"the project cannot be written: {reason}", place=str(folder), hint=hint) from problem
    return sorted(texts)
