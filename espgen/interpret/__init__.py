"""The reference interpreter: runs an integer graph in numpy, exactly."""

from espgen.interpret.integer import run_integer, run_layers

__all__ = ["run_integer", "run_layers"]
