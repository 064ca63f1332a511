"""Cycle estimates of portable kernels, measured in the simulator (benchmarks/kernels.py) and rounded."""

PORTABLE_CYCLES_PER_MAC = 12
PORTABLE_CYCLES_PER_ELEMENT = 40
