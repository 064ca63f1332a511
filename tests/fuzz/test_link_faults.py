"""Faults on the line between the real host side and the real agent: the right result or a clean error, in time.

Each case is one session over a line that drops, flips, duplicates, reorders, truncates, repeats or adds bytes, from
its first byte on: hello, the model's description, a run with hashes, outputs, one layer's bytes, counters. The fast
part runs with the suite; `make prove` runs 1,000 cases against the agent as a host process and 1,000 against the
agent in the simulator.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from faulty_line import Faults, FaultyLine, Transport

sys.path.insert(0, str(Path(__file__).parent.parent / "unit"))
from toy_reference import TOY, AgentProcess, toy_input, toy_reference

from espgen.errors import ENVIRONMENT, EspgenError
from espgen.verify.build import build_firmware, build_host_agent
from espgen.verify.compare import Comparison, compare_device
from espgen.verify.device import Device
from espgen.verify.link import Link, Timing, open_serial
from espgen.verify.simulator import Simulator

# Short waits: the line itself takes no time. What the link promises scales with them.
TIMING = Timing(reply=0.03, retries=8, silence=0.4, hello=1.0, hello_interval=0.03, drain=0.004, drain_limit=0.05)
# Every wait of a case is bounded by these; no case needs more than a few of them in a row.
CASE_LIMIT = 20.0

PROFILES = {
    "none": Faults(),
    "drop": Faults(drop=0.002),
    "flip": Faults(flip=0.002),
    "duplicate": Faults(duplicate=0.002),
    "reorder": Faults(reorder=0.002),
    "cut": Faults(cut=0.05),
    "noise": Faults(noise=0.05, boot=True),
    "repeat": Faults(repeat=0.2),
    "all": Faults(0.0007, 0.0007, 0.0007, 0.0007, 0.02, 0.02, 0.1, boot=True),
    "dreadful": Faults(0.002, 0.002, 0.002, 0.002, 0.1, 0.05, 0.3, boot=True),
}


def one_case(transport: Transport, profile: str, seed: int) -> str:
    """Run a session. Returns "right" or the error's text; fails for a wrong result, another exception or lateness."""
    line = FaultyLine(transport, PROFILES[profile], seed)
    link = Link(line, place="line", timing=TIMING)
    start = time.monotonic()
    outcome = "right"
    try:
        session(link, seed)
    except EspgenError as error:
        assert error.exit_code == ENVIRONMENT, error
        assert line.done > 0, f"an error without a fault: {error}"
        outcome = error.message
    assert time.monotonic() - start < CASE_LIMIT
    return outcome


def session(link: Link, seed: int) -> None:
    device = Device.connect(link, expected_hash=bytes(range(32)).hex())
    x = toy_input(seed)
    reference = toy_reference(x)
    comparison = Comparison(device.layers)
    outputs = compare_device(device, {"x": x}, reference, comparison, seed)
    assert comparison.equal, comparison.to_json()
    for name in ("wide", "high"):
        np.testing.assert_array_equal(outputs[name], reference[name])
    layer = device.layers[seed % 3]
    for name, value in device.read_layer({"x": x}, layer).items():
        np.testing.assert_array_equal(value, reference[name])
    profile = device.profile({"x": x})
    assert profile.cycles == sum(entry.cycles for entry in profile.layers) > 0
    memory = device.memory()
    assert (memory.internal, memory.psram, memory.weights) == (528, 256, 3)


@contextmanager
def host_agent() -> Iterator[Transport]:
    agent = AgentProcess(build_host_agent(TOY))
    try:
        yield agent
    finally:
        agent.close()


def verdict(outcomes: Counter[str]) -> None:
    """A line with few faults must mostly give results, or the property would be kept by never answering."""
    total = sum(outcomes.values())
    print(f"{outcomes['right']} of {total} sessions gave the right result")
    for message, count in outcomes.most_common():
        if message != "right":
            print(f"  {count} x {message}")


@pytest.mark.parametrize("profile", list(PROFILES))
def test_faults_between_host_and_agent(profile: str) -> None:
    outcomes: Counter[str] = Counter()
    for seed in range(6):
        with host_agent() as agent:
            outcomes[one_case(agent, profile, seed)] += 1
    verdict(outcomes)
    if profile == "none":
        assert outcomes["right"] == 6
    elif profile != "dreadful":
        assert outcomes["right"] >= 3


def test_faults_between_host_and_simulator() -> None:
    outcomes: Counter[str] = Counter()
    with Simulator(build_firmware(TOY)) as simulator, open_serial(simulator.port) as link:
        for seed in range(10):
            outcomes[one_case(link.transport, "all", seed)] += 1
        assert one_case(link.transport, "none", 0) == "right"
    verdict(outcomes)
    assert outcomes["right"] >= 5


class RestartingAgent:
    """An agent that loses power after so many requests: what was written into it is gone."""

    def __init__(self, writes: int) -> None:
        self.left = writes
        self.agent = AgentProcess(build_host_agent(TOY))
        self.done = 0

    def read(self, timeout: float) -> bytes:
        return self.agent.read(timeout)

    def write(self, data: bytes) -> None:
        self.left -= 1
        if self.left == 0:
            self.agent.close()
            self.agent = AgentProcess(build_host_agent(TOY))
        self.agent.write(data)

    def close(self) -> None:
        self.agent.close()


@pytest.mark.parametrize("writes", [1, 2, 5, 10, 11, 12, 13, 14, 15, 16, 18, 20, 25])
def test_a_restart_in_the_session_is_a_clean_error(writes: int) -> None:
    agent = RestartingAgent(writes)
    link = Link(agent, place="line", timing=TIMING)
    try:
        if writes == 1:  # before anything was said
            session(link, 1)
        else:
            with pytest.raises(EspgenError, match="no session") as error:
                session(link, 1)
            assert error.value.exit_code == ENVIRONMENT
        assert agent.left <= 0
        session(link, 2)  # a new session on the same line works
    finally:
        agent.close()


@pytest.mark.prove
@pytest.mark.parametrize("profile", list(PROFILES))
def test_a_hundred_sessions_with_the_host_agent(profile: str) -> None:
    outcomes: Counter[str] = Counter()
    for seed in range(1000, 1100):
        with host_agent() as agent:
            outcomes[one_case(agent, profile, seed)] += 1
    verdict(outcomes)
    if profile != "dreadful":
        assert outcomes["right"] >= 70


@pytest.mark.prove
@pytest.mark.parametrize("profile", list(PROFILES))
def test_a_hundred_sessions_with_the_simulator(profile: str) -> None:
    """One simulator serves all sessions: what a broken one leaves behind must not reach the next."""
    outcomes: Counter[str] = Counter()
    with Simulator(build_firmware(TOY)) as simulator, open_serial(simulator.port) as link:
        for seed in range(2000, 2100):
            outcomes[one_case(link.transport, profile, seed)] += 1
        assert one_case(link.transport, "none", 0) == "right"
    verdict(outcomes)
    if profile != "dreadful":
        assert outcomes["right"] >= 70
