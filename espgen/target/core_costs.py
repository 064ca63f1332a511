"""Cycles of the core model that the kernel generator counts with: those of firmware/simulator/parameters.inc.

A unit test holds the two together. A figure says how long the next reader of a result waits, unless it says otherwise.
"""

from __future__ import annotations

LOAD_USE = 1
QACC_MAC_USE = 2
"""A reader of QACC that is no multiply-accumulate, after one."""
XACC_MAC_USE = 2
QACC_LOAD_USE = 1
XACC_LOAD_USE = 1
XACC_MAC_INTERVAL = 5
"""From one multiply-accumulate on XACC to the next."""
MISPREDICTED_BRANCH = 4
JUMP = 3
"""What jal, jalr and ret lose."""
MUL_LATENCY = 1

PARAMETERS = {
    "load_use": LOAD_USE,
    "qacc_mac_use": QACC_MAC_USE,
    "xacc_mac_use": XACC_MAC_USE,
    "qacc_load_use": QACC_LOAD_USE,
    "xacc_load_use": XACC_LOAD_USE,
    "xacc_mac_interval": XACC_MAC_INTERVAL,
    "branch_mispredicted": MISPREDICTED_BRANCH,
    "jump": JUMP,
    "mul_latency": MUL_LATENCY,
}
"""The same by the simulator's names."""
