"""Micro-benchmarks that find a chip's cycle counts, sizes and rates, on a board or in the simulator."""
