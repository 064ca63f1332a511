"""The verb that measures a chip."""

from __future__ import annotations

from pathlib import Path

import click

from espgen.cli.options import chip_option, output_options, progress, show
from espgen.target.chips import Chip


@click.command()
@click.option("--port", metavar="DEV",
              help="Serial port of a board that runs the calibration firmware.  [default: the simulator]")  # fmt: skip
@click.option("--project", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
              help="Write the firmware as an ESP-IDF project instead, to be built and flashed with idf.py.")  # fmt: skip
@chip_option
@click.option("--l2", type=click.Choice(["128", "256"]), help="KB of internal RAM that the L2 cache takes.  [256]")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Write the measured chip as a file for --chip.")  # fmt: skip
@output_options
def calibrate(
    port: str | None, project: Path | None, chip: Chip | None, l2: str | None, output: Path | None, as_json: bool, debug: bool
) -> None:
    """Measure a chip's cycles, caches and rates, beside what the simulator assumes."""
    from espgen import api
    from espgen.calibrate import text

    if port is not None and chip is not None:
        raise click.UsageError("--chip belongs to the simulator: a board says which chip it has")
    if project is not None:
        if any(value is not None for value in (port, chip, l2, output)):
            raise click.UsageError("--project only writes the firmware: flash it, then run espgen calibrate --port DEV")
        show(api.calibration_project(project), text.written_project, as_json)
        return
    l2_kb = None if l2 is None else int(l2)
    result = api.calibrate(port=port, chip=chip, l2_kb=l2_kb, output=output, progress=progress(as_json))
    show(result, text.calibration, as_json)
