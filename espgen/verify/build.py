"""Builds of a component: host library, sanitized worker, agent process, firmware image.

Every unit and every result is cached under a digest of all it depends on. At most two compilers run at a time.
"""

from __future__ import annotations

import logging
import re
import subprocess
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from espgen.errors import EspgenError, environment_error
from espgen.resources import firmware_dir
from espgen.target.chips import L2_KB, V3, Chip
from espgen.verify.cache import cached, digest, digest_of_headers, prune
from espgen.verify.compilers import Compiler, firmware_compiler, host_compiler
from espgen.verify.component import Component
from espgen.verify.image import stored_sections
from espgen.verify.image_layout import start_flags

_LOG = logging.getLogger(__name__)

PARALLEL = 2
RAM_FULL = "internal RAM is full"
"""What the simulator's linker script says (firmware/boards/simulator/chip.ld)."""

SHOWN_LINES = 12
BOARDS = ("simulator",)
AGENT_LAYERS = 512  # what firmware/agent/runner.h has room for by default

LANGUAGE = ("-std=c++17", "-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics", "-Wall", "-Wextra")
AGENT_UNITS = (
    "agent.cpp",
    "agent_tensors.cpp",
    "crc32.cpp",
    "describe.cpp",
    "framing.cpp",
    "guards.cpp",
    "runner.cpp",
    "tensors.cpp",
)
LIBRARY_UNITS = ("host_api.cpp", "crc32.cpp", "describe.cpp", "guards.cpp", "tensors.cpp")

_INCBIN = re.compile(rb'\.incbin\s+"([^"]+)"')


@dataclass(frozen=True)
class Recipe:
    """How units are compiled and linked: everything but the units themselves."""

    compiler: Compiler
    flags: tuple[str, ...]
    link_flags: tuple[str, ...]
    include_dirs: tuple[Path, ...]
    served_model: str  # its namespace
    suffix: str = ""
    start_flags: tuple[str, ...] = ()  # of start.S alone: where memory lies
    assembly_flags: tuple[str, ...] = ()  # of every .S file: the chip's instruction set


def build_host(
    component_dir: Path | str, sanitize: Sequence[str] = (), compiler: str | None = None
) -> Path:
    """The component as a shared library for espgen.verify.host, or with `sanitize` ("address", "undefined") as a
    worker program. EspgenError (exit code 3) where there is no compiler or it refuses a unit."""
    component = Component.load(component_dir)
    firmware = firmware_dir()
    recipe = _host_recipe(component, host_compiler(compiler, tuple(sanitize)), tuple(sanitize))
    units = [*component.sources, *component.host_sources, *_agent(LIBRARY_UNITS)]
    if sanitize:
        units.append(firmware / "agent" / "host_worker.cpp")
    else:
        link_flags = (*recipe.link_flags, "-shared", "-Wl,-Bsymbolic")
        recipe = replace(recipe, link_flags=link_flags, suffix=".so")
    return build_units(recipe, units, f"host/{_safe(component.name)}")


def build_host_agent(
    component_dir: Path | str, sanitize: Sequence[str] = (), compiler: str | None = None
) -> Path:
    """The component with the serial agent as a host program whose port is standard input and output."""
    component = Component.load(component_dir)
    firmware = firmware_dir()
    recipe = _host_recipe(component, host_compiler(compiler, tuple(sanitize)), tuple(sanitize))
    units = [
        *component.sources,
        *component.host_sources,
        *_agent(AGENT_UNITS),
        firmware / "boards" / "host" / "board.cpp",
    ]
    return build_units(recipe, units, f"host_agent/{_safe(component.name)}", build_id=True)


def build_firmware(
    component_dir: Path | str,
    out: Path | None = None,
    board: str = "simulator",
    compiler: str | None = None,
    chip: Chip = V3,
    l2_kb: int = L2_KB,
) -> Path:
    """The component with agent and board files as an ELF image for a chip; copied to `out` if given.

    EspgenError: unknown board; exit code 3: no compiler, or it refuses a unit.
    """
    if board not in BOARDS:
        raise EspgenError(
            f"no stand-alone image for board {board!r}",
            hint=f"boards: {', '.join(BOARDS)}; images for chips are built by ESP-IDF (espgen compile --project)",
        )
    component = Component.load(component_dir)
    firmware = firmware_dir()
    folder = firmware / "boards" / board
    chosen = firmware_compiler(compiler)
    recipe = Recipe(
        compiler=chosen,
        flags=(
            *image_flags(chosen),
            *table_sizes(component),
            *(f"-D{define}" for define in component.defines),
        ),
        link_flags=image_link_flags(chosen, folder),
        start_flags=start_flags(chip, l2_kb, large_tables=bool(table_sizes(component))),
        assembly_flags=(f"-DESPGEN_ESPV={chip.espv[0]}",),
        include_dirs=(*component.include_dirs, firmware / "include", firmware, folder, folder / "include"),
        served_model=component.namespace,
        suffix=".elf",
    )
    units = [
        *sorted(folder.glob("*.S")),
        *component.sources,
        *component.firmware_sources,
        *_agent(AGENT_UNITS),
        *sorted(folder.glob("*.cpp")),
    ]
    image = build_units(recipe, units, f"firmware/{_safe(component.name)}", build_id=True)
    if out is None:
        return image
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(image.read_bytes())
    return out


@dataclass(frozen=True)
class Stored:
    """What a component adds to an image, in bytes: code, and code, constants and tables in all."""

    code: int
    total: int


def stored_bytes(
    image: Path, board: str = "simulator", compiler: str | None = None, chip: Chip = V3, l2_kb: int = L2_KB
) -> Stored:
    """What a component adds to `image`, which build_firmware made of it with the same arguments."""
    no_model = firmware_dir() / "boards" / "no_model"
    empty = stored_sections(build_firmware(no_model, board=board, compiler=compiler, chip=chip, l2_kb=l2_kb))
    held = stored_sections(image)
    code = held.get(".text", 0) - empty.get(".text", 0)
    return Stored(code, sum(held.values()) - sum(empty.values()))


FIRMWARE_FLAGS = {
    "gcc": ("-march=rv32imafc", "-mabi=ilp32f", "-mcmodel=medany"),
    "zig": (
        "-target",
        "riscv32-freestanding-none",
        "-mcpu=generic_rv32+m+a+f+c",
        "-mabi=ilp32f",
        "-mcmodel=medany",
        "-fno-sanitize=undefined",
    ),
}
FIRMWARE_LINK_FLAGS = {"gcc": ("-nostdlib", "-lgcc"), "zig": ("-nostdlib++", "-nostartfiles")}


def image_flags(compiler: Compiler) -> tuple[str, ...]:
    """How the sources of a stand-alone image are compiled."""
    return (
        *FIRMWARE_FLAGS[compiler.kind],
        "-O2",
        "-ffreestanding",
        "-ffunction-sections",
        "-fdata-sections",
        "-ffp-contract=off",
        "-DESPGEN_FIRMWARE=1",
    )


def image_link_flags(compiler: Compiler, board: Path) -> tuple[str, ...]:
    """How a stand-alone image is linked for the chip's memory, by the script in the board's folder."""
    return (
        *FIRMWARE_FLAGS[compiler.kind],
        *FIRMWARE_LINK_FLAGS[compiler.kind],
        "-Wl,--gc-sections",
        f"-Wl,-T,{board / 'chip.ld'}",
    )


def table_sizes(component: Component) -> tuple[str, ...]:
    """Definitions that give the agent larger tables where a model has more layers than they hold by default."""
    kernels = component.manifest.get("kernels", ())
    layers = len(kernels) if isinstance(kernels, list) else 0
    if layers <= AGENT_LAYERS:
        return ()
    return (f"-DESPGEN_AGENT_LAYERS={layers}", f"-DESPGEN_AGENT_OUTPUTS={2 * layers}")


def _host_recipe(component: Component, compiler: Compiler, sanitize: tuple[str, ...]) -> Recipe:
    component.check_host_files()
    if sanitize:
        checks = (f"-fsanitize={','.join(sanitize)}", "-fno-sanitize-recover=all")
        flags: tuple[str, ...] = ("-O1", "-g", "-fno-omit-frame-pointer", *checks)
        link_flags: tuple[str, ...] = checks
    else:
        quiet = ("-fno-sanitize=undefined",) if compiler.kind == "zig" else ()
        flags, link_flags = ("-O3", *quiet), quiet
    if compiler.kind == "zig":
        link_flags = (*link_flags, "-nostdlib++")
    firmware = firmware_dir()
    return Recipe(
        compiler=compiler,
        flags=(
            *flags,
            "-fPIC",
            "-ffp-contract=off",
            "-DESPGEN_HOST=1",
            *table_sizes(component),
            *(f"-D{define}" for define in component.defines),
        ),
        link_flags=link_flags,
        include_dirs=(*component.include_dirs, firmware / "include", firmware),
        served_model=component.namespace,
    )


def _agent(names: Sequence[str]) -> list[Path]:
    """These units of the agent, and the one that tells them the model."""
    firmware = firmware_dir()
    return [*(firmware / "agent" / name for name in names), firmware / "boards" / "served_model.cpp"]


def build_units(recipe: Recipe, units: Iterable[Path], name: str, build_id: bool = False) -> Path:
    """Compile the units that changed and link them. With `build_id`, ESPGEN_BUILD_ID names this very build."""
    headers = digest_of_headers(recipe.include_dirs)
    sources = list(units)
    keys = [_unit_key(recipe, source, headers) for source in sources]
    served = (f"-DESPGEN_SERVED_MODEL={recipe.served_model}",)
    of_chip = (*recipe.start_flags, *recipe.assembly_flags)
    parts = ("\0".join(recipe.link_flags), "\0".join(of_chip), _link_script(recipe), headers)
    total = digest(recipe.compiler.identity, *parts, *served, *keys)

    def make(place: Path) -> None:
        _LOG.info("compiling %s", name)
        extra = (f'-DESPGEN_BUILD_ID="{total[:16]}"',) if build_id else ()

        def compile_one(job: tuple[Path, str]) -> Path:
            source, key = job
            # Only one file each reads the build id and the model's name; the others' objects stay good across builds.
            own = {"board.cpp": extra, "served_model.cpp": served, "start.S": recipe.start_flags}
            special = own.get(source.name, ()) + (recipe.assembly_flags if source.suffix == ".S" else ())
            final = digest(key, *special)
            return cached(f"objects/{final}.o", lambda out: _compile(recipe, source, special, out))

        with ThreadPoolExecutor(PARALLEL) as pool:
            objects = list(pool.map(compile_one, zip(sources, keys, strict=True)))
        libraries = tuple(flag for flag in recipe.link_flags if flag.startswith("-l"))
        others = tuple(flag for flag in recipe.link_flags if not flag.startswith("-l"))
        command = (*recipe.compiler.command, *others, "-o", str(place), *map(str, objects), *libraries)
        _run(command, place.parent, f"link {name}", recipe.compiler)
        prune()

    return cached(f"{name}-{total[:24]}{recipe.suffix}", make)


def _link_script(recipe: Recipe) -> bytes:
    """What the linker script says: an image depends on it as on its units."""
    scripts = [flag.removeprefix("-Wl,-T,") for flag in recipe.link_flags if flag.startswith("-Wl,-T,")]
    return b"".join(Path(script).read_bytes() for script in scripts)


def _unit_key(recipe: Recipe, source: Path, headers: str) -> str:
    content = source.read_bytes()
    included = b""
    if source.suffix == ".S":
        for match in _INCBIN.finditer(content):
            binary = source.parent / match.group(1).decode()
            included += binary.read_bytes() if binary.is_file() else b""
    return digest(recipe.compiler.identity, "\0".join(recipe.flags), headers, source.suffix, content, included)


def _compile(recipe: Recipe, source: Path, extra: tuple[str, ...], place: Path) -> None:
    # Only C++ has a language standard to be told; binaries are included relative to the source.
    language = () if source.suffix == ".S" else LANGUAGE
    includes = tuple(f"-I{folder}" for folder in recipe.include_dirs)
    command = (
        *recipe.compiler.command,
        *language,
        *recipe.flags,
        *extra,
        *includes,
        "-c",
        str(source),
        "-o",
        str(place),
    )
    _run(command, source.parent, str(source), recipe.compiler)


def _run(command: Sequence[str], folder: Path, what: str, compiler: Compiler) -> None:
    try:
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
    except OSError as error:
        raise environment_error(f"{compiler.name} cannot be run: {error}") from error
    if result.returncode != 0:
        lines = [line for line in result.stderr.splitlines() if line.strip()][:SHOWN_LINES]
        if RAM_FULL in result.stderr:
            raise environment_error(
                f"{RAM_FULL}: the component's arenas do not fit the pieces of this chip's internal RAM",
                place=what,
                hint="compile it for the chip that it runs on (--chip), which plans for the pieces that this one has",
            )
        raise environment_error(
            f"{compiler.name} failed:\n" + "\n".join(lines),
            place=what,
            hint="if the component is unchanged as generated, this is a defect of espgen: please report it",
        )


def _safe(name: str) -> str:
    """A model's name as part of a file name."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name)[:60].lstrip(".-") or "model"
