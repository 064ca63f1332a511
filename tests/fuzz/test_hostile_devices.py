"""Devices that lie about what they are and what they computed: an error or a mismatch, in bounded time and memory.

The fast part runs with the suite; `make prove` meets 100.
"""

from __future__ import annotations

import resource
import time
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
from hostile_device import NEVER_EQUAL, SOMETIMES_EQUAL, HostileDevice, Lie

from espgen import api, cli
from espgen.errors import DONE, ENVIRONMENT, MISMATCH
from espgen.resources import models_dir
from espgen.verify.build import build_host_agent
from espgen.verify.link import Timing, open_serial

# The waits of a real line, shortened: what the link promises scales with them.
TIMING = Timing(reply=0.1, retries=3, silence=0.5, run=2.0, hello=0.6, hello_interval=0.1, drain=0.01, drain_limit=0.1)
SECONDS = 20.0
KILOBYTES = 200_000

Device = tuple[Path, Path]


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Device:
    """A component, and the agent that serves it."""
    folder = tmp_path_factory.mktemp("hostile") / "digits"
    api.compile(models_dir() / "digits_int8_qdq.onnx", folder)
    return folder, build_host_agent(folder)


def met(device: Device, lie: Lie, seed: int, capsys: pytest.CaptureFixture[str], verb: str = "verify") -> int:
    """Exit code of a command whose board is the liar."""
    component, program = device
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    options = ["--limit", "1"] if verb == "verify" else []
    with HostileDevice(program, lie, seed) as board, pytest.raises(SystemExit) as done:
        cli.main([verb, str(component), "--port", board.port, *options])
    assert time.monotonic() - start < SECONDS, lie.__name__
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < KILOBYTES, lie.__name__
    printed = capsys.readouterr()
    assert "\x1b" not in printed.out + printed.err, lie.__name__
    code = done.value.code or DONE
    assert code in (DONE, MISMATCH, ENVIRONMENT), (lie.__name__, seed, printed.err)
    if code == ENVIRONMENT:
        assert "remedy: " in printed.err, (lie.__name__, printed.err)
    assert isinstance(code, int)
    return code


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "open_serial", partial(open_serial, timing=TIMING))


def honest(frame: object, _chance: object) -> list[object]:
    return [frame]


def test_the_line_itself_is_good(device: Device, capsys: pytest.CaptureFixture[str]) -> None:
    assert met(device, honest, 0, capsys) == DONE
    assert met(device, honest, 0, capsys, "profile") == DONE


@pytest.mark.parametrize("lie", NEVER_EQUAL, ids=lambda lie: lie.__name__)
def test_a_lie_is_never_equal(device: Device, lie: Lie, capsys: pytest.CaptureFixture[str]) -> None:
    assert met(device, lie, 1, capsys) != DONE


@pytest.mark.parametrize("lie", SOMETIMES_EQUAL, ids=lambda lie: lie.__name__)
def test_nonsense_ends_cleanly(device: Device, lie: Lie, capsys: pytest.CaptureFixture[str]) -> None:
    met(device, lie, 2, capsys)
    met(device, lie, 3, capsys, "profile")


@pytest.mark.prove
def test_100_hostile_devices(device: Device, capsys: pytest.CaptureFixture[str]) -> None:
    codes: Counter[int] = Counter()
    lies = (*NEVER_EQUAL, *SOMETIMES_EQUAL)
    for seed in range(100):
        lie = lies[seed % len(lies)]
        code = met(device, lie, 100 + seed, capsys, "profile" if seed % 7 == 6 else "verify")
        assert code != DONE or lie in SOMETIMES_EQUAL or seed % 7 == 6, lie.__name__
        codes[code] += 1
    with capsys.disabled():
        print(f"\nexit codes of 100 hostile devices: {dict(codes)}")
