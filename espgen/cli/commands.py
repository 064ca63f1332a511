"""The verbs of the compiler: inspect, compile, verify, profile, doctor, demo."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from espgen.cli.options import (
    Inputs,
    chip_option,
    existing,
    input_option,
    member_option,
    model_options,
    output_options,
    parse_bytes,
    progress,
    show,
)
from espgen.errors import ENVIRONMENT, MISMATCH
from espgen.target.chips import Chip

if TYPE_CHECKING:
    pass


@click.command()
@click.argument("model", type=existing("file"))
@model_options
@member_option
@output_options
def inspect(model: Path, as_json: bool, debug: bool, **given: Any) -> None:
    """Show a model's operators, and what is unsupported and why."""
    from espgen import api
    from espgen.report import text

    show(api.inspect(model, **given), text.inspection, as_json)


@click.command("compile")
@click.argument("model", type=existing("file"))
@click.option("-o", "--output", type=click.Path(file_okay=False, path_type=Path), required=True, metavar="DIR",
              help="Folder of the component.")  # fmt: skip
@click.option("--project", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
              help="Also write an example ESP-IDF project that uses the component.")  # fmt: skip
@click.option("--dump-ir", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
              help="Write the graph before and after each pass.")  # fmt: skip
@chip_option
@click.option("--internal-ram", callback=parse_bytes, metavar="BYTES",
              help="Internal RAM that activations may use, as 160K or 163840.  [what the chip has less --reserve]")  # fmt: skip
@click.option("--reserve", callback=parse_bytes, metavar="BYTES",
              help="Internal RAM that stays with ESP-IDF and the application.  [64K]")  # fmt: skip
@click.option("--l2", type=click.Choice(["128", "256"]), help="KB of internal RAM that the L2 cache takes.  [256]")
@click.option("--psram", callback=parse_bytes, metavar="BYTES", help="PSRAM that activations may use; 0 forbids it.  [32M]")
@click.option("--kernels", type=click.Choice(["auto", "portable"]),
              help="The cheapest kernel of each layer (auto, the default), or portable C++ only.")  # fmt: skip
@click.option("--license", "license_", metavar="SPDX", help="License of the component, for a registry.")
@click.option("--url", metavar="URL", help="Where the component is from, for a registry.")
@click.option("--hardware-loops/--no-hardware-loops", default=None,
              help="esp.lp.* in kernels (the default), or branches for early silicon.")  # fmt: skip
@click.option("--schedule", type=click.Choice(["auto", "bands", "layers"]),
              help="Bands of rows of several layers where faster (auto, default), wherever it saves RAM, never.")  # fmt: skip
@click.option("--code-size/--no-code-size", default=True,
              help="Also tell the size of the code, where a compiler is found (the default).")  # fmt: skip
@model_options
@member_option
@output_options
def compile_(
    model: Path,
    output: Path,
    project: Path | None,
    dump_ir: Path | None,
    chip: Chip | None,
    internal_ram: int | None,
    reserve: int | None,
    l2: str | None,
    psram: int | None,
    kernels: str | None,
    license_: str | None,
    url: str | None,
    hardware_loops: bool | None,
    schedule: str | None,
    code_size: bool,
    as_json: bool,
    debug: bool,
    **given: Any,
) -> None:
    """Compile a quantized model into an ESP-IDF component."""
    from espgen import api
    from espgen.report import text

    wanted: dict[str, Any] = {
        "chip": chip,
        "internal_bytes": internal_ram,
        "reserve_bytes": reserve,
        "l2_kb": None if l2 is None else int(l2),
        "psram_bytes": psram,
        "kernels": kernels,
        "license": license_,
        "url": url,
        "hardware_loops": hardware_loops,
        "schedule": schedule,
    }
    options = api.Options(**{name: value for name, value in wanted.items() if value is not None})
    result = api.compile(
        model, output, project=project, dump_ir=dump_ir, options=options, code_size=code_size, progress=progress(as_json), **given
    )
    show(result, text.compilation, as_json)


@click.command()
@click.argument("component", type=existing("folder"))
@click.option("--data", type=existing("file"), metavar="F.npz",
              help="Arrays named after the graph inputs, and optional labels y.  "
              "[default: the model file's own vectors, or 4 random samples]")  # fmt: skip
@click.option("--target", type=click.Choice(["sim", "host"]), default="sim", show_default=True,
              help="Where the component runs: the P4 simulator or a host library.")  # fmt: skip
@click.option("--port", metavar="DEV", help="Serial port of a board to run on instead.")
@chip_option
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Use the first N samples only.")
@input_option
@output_options
def verify(
    component: Path,
    data: Path | None,
    target: str,
    port: str | None,
    chip: Chip | None,
    limit: int | None,
    inputs: Inputs,
    as_json: bool,
    debug: bool,
) -> None:
    """Prove that a component computes what the network says."""
    from espgen import api
    from espgen.report import text

    _check_place(chip, port if target == "sim" else target)
    result = api.verify(
        component, data=data, target=target, port=port, chip=chip, limit=limit, inputs=inputs, progress=progress(as_json)
    )
    show(result, text.verification, as_json)
    if not result["equal"]:
        sys.exit(MISMATCH)


@click.command()
@click.argument("component", type=existing("folder"))
@click.option("--port", metavar="DEV", help="Serial port of a board to run on instead of the simulator.")
@chip_option
@click.option("--explain", is_flag=True, help="Show the kernels each layer could have had, and their predicted cycles.")
@output_options
def profile(component: Path, port: str | None, chip: Chip | None, explain: bool, as_json: bool, debug: bool) -> None:
    """Show cycles and stalls per layer, and the memory plan."""
    from espgen import api
    from espgen.report import text

    _check_place(chip, port)
    result = api.profile(component, port=port, chip=chip, explain=explain, progress=progress(as_json))
    show(result, text.profiling, as_json)


def _check_place(chip: Chip | None, place: str | None) -> None:
    """--chip says what the simulator is; a board and a PC are what they are."""
    if chip is not None and place is not None:
        raise click.UsageError("--chip belongs to the simulator: a board says which chip it has, a host library has none")


@click.command()
@output_options
def doctor(as_json: bool, debug: bool) -> None:
    """Say which tools were found, and what to install."""
    from espgen import api
    from espgen.report import text

    result = api.doctor()
    show(result, text.diagnosis, as_json)
    if not result["ok"]:
        sys.exit(ENVIRONMENT)


@click.command()
@click.option("-o", "--output", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
              help="Keep the component here.  [default: a temporary folder]")  # fmt: skip
@click.option("--limit", type=click.IntRange(min=1), default=None, metavar="N", help="Verify the first N digits only.")
@output_options
def demo(output: Path | None, limit: int | None, as_json: bool, debug: bool) -> None:
    """Compile, verify and profile the bundled digits model."""
    from espgen import demo as demonstration
    from espgen.report import text

    if as_json:
        click.echo(json.dumps(demonstration.run(output, limit), indent=2, ensure_ascii=False))
        return
    as_text = {"compile": text.compilation, "verify": text.verification, "profile": text.profiling}
    demonstration.run(
        output,
        limit,
        announce=lambda command: click.echo(f"$ {command}"),
        report=lambda verb, result: click.echo(f"{as_text[verb](result)}\n"),
        progress=progress(as_json),
    )
