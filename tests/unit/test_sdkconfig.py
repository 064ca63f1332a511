"""What ESP-IDF makes of the settings of generated projects: resolved by esp-idf-kconfig, with the parts of Kconfig that decide
in words of our own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from espgen import api
from espgen.resources import models_dir
from espgen.target.chips import CHIPS
from espgen.verify.component import Component

pytest.importorskip("kconfgen", reason="esp-idf-kconfig is not installed")

# Revision, clock, cache, console and memory as ESP-IDF 5.5.3 and later decide them: revision 3.1 unless told otherwise, and a
# baud rate that can be set for a console on a UART of one's choice alone.
KCONFIG = """
mainmenu "test"
config IDF_TARGET
    string
    default "esp32p4"
config ESP32P4_SELECTS_REV_LESS_V3
    bool "old chips"
    default n
choice ESP32P4_REV_MIN
    prompt "least revision"
    default ESP32P4_REV_MIN_1 if ESP32P4_SELECTS_REV_LESS_V3
    default ESP32P4_REV_MIN_301
    config ESP32P4_REV_MIN_1
        bool "0.1"
        depends on ESP32P4_SELECTS_REV_LESS_V3
    config ESP32P4_REV_MIN_301
        bool "3.1"
        depends on !ESP32P4_SELECTS_REV_LESS_V3
endchoice
config ESP32P4_REV_MIN_FULL
    int
    default 1 if ESP32P4_REV_MIN_1
    default 301 if ESP32P4_REV_MIN_301
config ESP32P4_REV_MAX_FULL
    int
    default 199 if ESP32P4_SELECTS_REV_LESS_V3
    default 399
choice ESP_DEFAULT_CPU_FREQ_MHZ
    prompt "clock"
    default ESP_DEFAULT_CPU_FREQ_MHZ_360 if ESP32P4_SELECTS_REV_LESS_V3
    default ESP_DEFAULT_CPU_FREQ_MHZ_400
    config ESP_DEFAULT_CPU_FREQ_MHZ_360
        bool "360"
    config ESP_DEFAULT_CPU_FREQ_MHZ_400
        bool "400"
        depends on !ESP32P4_SELECTS_REV_LESS_V3
endchoice
config ESP_DEFAULT_CPU_FREQ_MHZ
    int
    default 360 if ESP_DEFAULT_CPU_FREQ_MHZ_360
    default 400 if ESP_DEFAULT_CPU_FREQ_MHZ_400
choice CACHE_L2_CACHE
    prompt "L2 cache"
    default CACHE_L2_CACHE_128KB
    config CACHE_L2_CACHE_128KB
        bool "128"
    config CACHE_L2_CACHE_256KB
        bool "256"
    config CACHE_L2_CACHE_512KB
        bool "512"
endchoice
config CACHE_L2_CACHE_SIZE
    hex
    default 0x20000 if CACHE_L2_CACHE_128KB
    default 0x40000 if CACHE_L2_CACHE_256KB
    default 0x80000 if CACHE_L2_CACHE_512KB
choice ESP_CONSOLE_UART
    prompt "console"
    default ESP_CONSOLE_UART_DEFAULT
    config ESP_CONSOLE_UART_DEFAULT
        bool "UART0"
    config ESP_CONSOLE_USB_SERIAL_JTAG
        bool "USB-Serial-JTAG"
    config ESP_CONSOLE_UART_CUSTOM
        bool "a UART"
endchoice
config ESP_CONSOLE_UART
    bool
    default y if ESP_CONSOLE_UART_DEFAULT || ESP_CONSOLE_UART_CUSTOM
config ESP_CONSOLE_UART_BAUDRATE
    int
    prompt "baud rate" if ESP_CONSOLE_UART_CUSTOM
    depends on ESP_CONSOLE_UART
    default 115200
config SPIRAM
    bool "PSRAM"
    default n
config SPIRAM_ALLOW_BSS_SEG_EXTERNAL_MEMORY
    bool "zeros in PSRAM"
    depends on SPIRAM
    default n
"""


def resolved(project: Path, folder: Path, *profiles: str) -> dict[str, str]:
    """sdkconfig of a project, by name; without the symbols that this Kconfig does not have."""
    (folder / "Kconfig").write_text(KCONFIG)
    command = [sys.executable, "-m", "kconfgen", "--kconfig", str(folder / "Kconfig"), "--config", str(folder / "sdkconfig")]
    for name in ("sdkconfig.defaults", *profiles):
        command += ["--defaults", str(project / name)]
    command += ["--output", "config", str(folder / "sdkconfig"), "--env", "IDF_TARGET=esp32p4"]
    environment = {**os.environ, "IDF_TARGET": "esp32p4"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    lines = (line for line in (folder / "sdkconfig").read_text().splitlines() if line.startswith("CONFIG_"))
    return dict(line.removeprefix("CONFIG_").split("=", 1) for line in lines)


def project(folder: Path, **options: object) -> Path:
    made = api.Options(**options)  # type: ignore[arg-type]
    api.compile(models_dir() / "digits_int8_qdq.onnx", folder / "components" / "digits", project=folder, options=made)
    return folder


@pytest.mark.parametrize(("name", "revisions", "clock"), [("esp32p4-v1", ("1", "199"), 360), ("esp32p4-v3", ("301", "399"), 400)])
@pytest.mark.parametrize("from_both", [False, True], ids=["alone", "profile"])
def test_the_configuration_is_the_chip(
    tmp_path: Path, name: str, revisions: tuple[str, str], clock: int, from_both: bool
) -> None:
    """A project for one chip says so itself; one for both with the profile file of the chip."""
    made = project(tmp_path / "app", chip=CHIPS["esp32p4" if from_both else name], l2_kb=128 if from_both else 256)
    found = resolved(made, tmp_path, *([f"sdkconfig.{name}"] if from_both else []))
    assert (found["ESP32P4_REV_MIN_FULL"], found["ESP32P4_REV_MAX_FULL"]) == revisions
    assert int(found["ESP_DEFAULT_CPU_FREQ_MHZ"]) * 1_000_000 == CHIPS[name].clock_hz == clock * 1_000_000
    assert int(found["CACHE_L2_CACHE_SIZE"], 16) == Component.load(made / "components" / "digits").l2_kb * 1024
    assert "SPIRAM" not in found  # a small model needs none
    assert found["ESP_CONSOLE_UART_BAUDRATE"] == "921600"


def test_psram_is_there_where_it_is_used(tmp_path: Path) -> None:
    found = resolved(project(tmp_path / "app", internal_bytes=1024), tmp_path)
    assert (found["SPIRAM"], found["SPIRAM_ALLOW_BSS_SEG_EXTERNAL_MEMORY"]) == ("y", "y")
