"""The assembly of every family and of fuzzed networks: words of both levels, loops that silicon allows, portable text.

What the generator writes is assembled with the project's own macros and looked at word by word, by the tables alone.
"""

from __future__ import annotations

import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

pytest.importorskip("onnxruntime", reason="scales the networks")

from network_check import lowered
from random_networks import random_network

from espgen.codegen.build import Options, plan_graph
from espgen.codegen.component import build_component
from espgen.codegen.families import FAMILIES
from espgen.codegen.pie.asm import assembly_file
from espgen.target.espv import Level, Levels
from espgen.target.isa import decode, instruction_table
from espgen.target.pie_macros import support_files

sys.path.append(str(Path(__file__).parents[2]))
from tests.e2e.reference_models import MODELS, ReferenceModel, integer_graph

SEEDS = (1, 3, 19, 25, 29, 35, 36, 40, 41)
"""Together they use every family."""

BUILDS = [(Levels.BOTH, Level.V21), (Levels.BOTH, Level.V22), (Levels.V21, Level.V21), (Levels.V22, Level.V22)]
EACH_BUILD = pytest.mark.parametrize(("levels", "level"), BUILDS, ids=lambda value: value.name)

UNCERTAIN = re.compile(r"esp\.(vsl|vsr|vsld|vsrd|cmul|vcmulas|fft|vrelu|vprelu|vzipt|vunzipt|sat)\b")
"""Instructions whose text means, or may mean, something else on the other chip, or nothing certain on either."""

KEYWORDS = re.compile(r"\b(sat|trunc|rdn|rup|raz|rtz|rhaz|rhtz|rne|dyn)\b")


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], set[str]]:
    """Symbol -> text of every assembly function of many networks, and the kernels that layers took."""
    texts: dict[str, str] = {}
    kernels: set[str] = set()
    for seed in SEEDS:
        graph = lowered(random_network(seed), tmp_path_factory.mktemp("networks")).graph
        planned = plan_graph(graph, Options(internal_bytes=64 * 1024))
        texts.update(build_component(planned, f"n{seed}").assembly)
        kernels |= {plan.kernel for plan in planned.nodes}
    return texts, kernels


@cache
def _model_texts(model: ReferenceModel) -> dict[str, str]:
    return dict(build_component(plan_graph(integer_graph(model), Options()), "model").assembly)


def _words(texts: dict[str, str], levels: Levels, level: Level, folder: Path) -> dict[str, list[int]]:
    """Words of every function, by symbol, as the project's macros make them for a level."""
    for name, content in support_files(levels).items():
        (folder / name).write_text(content)
    (folder / "kernels.S").write_text(assembly_file(list(texts.values()), levels))
    command = [sys.executable, "-m", "ziglang", "cc", "-target", "riscv32-freestanding-none"]
    command += ["-mcpu=generic_rv32+m+a+f+c", f"-DESPGEN_ESPV={level.value}", "-c", "kernels.S", "-o", "kernels.o"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:3000]
    return dict(_functions((folder / "kernels.o").read_bytes()))


def _functions(data: bytes) -> Iterator[tuple[str, list[int]]]:
    """Every `.text.SYMBOL` section of an object: symbol and words."""
    (table,) = struct.unpack_from("<I", data, 32)
    size, count, names_index = struct.unpack_from("<HHH", data, 46)
    headers = [struct.unpack_from("<10I", data, table + size * i) for i in range(count)]
    names = headers[names_index][4]
    for header in headers:
        start = names + header[0]
        name = data[start : data.index(b"\0", start)].decode()
        if name.startswith(".text."):
            assert header[8] % 4 == 0, f"{name} is not aligned"
            yield name.removeprefix(".text."), list(struct.unpack_from(f"<{header[5] // 4}I", data, header[4]))


def _loops(words: list[int], level: Level) -> Iterator[tuple[int, list[int]]]:
    """Every hardware loop of a function: byte address of the set-up, words of the body."""
    for index, word in enumerate(words):
        found = decode(word, level)
        if found is not None and found[0].mnemonic.startswith("esp.lp."):
            assert found[0].mnemonic in ("esp.lp.setup", "esp.lp.setupi")
            distance = found[1][-1]
            assert distance % 4 == 0
            yield 4 * index, words[index + 1 : index + 1 + distance // 4]


def _check_words(functions: dict[str, list[int]], level: Level) -> int:
    """Look for unproven instructions and for loops that break a rule; returns how many loops there are."""
    loops = 0
    for symbol, words in functions.items():
        for word in words:
            found = decode(word, level)
            if found is not None:
                assert found[0].verified, (symbol, found[0].mnemonic)
        for address, body in _loops(words, level):
            loops += 1
            place = f"{symbol}+{address:#x}"
            assert len(body) >= 4, place
            assert all(word & 3 == 3 for word in body), place
            assert decode(body[-1], level) is None, f"{place} ends in {decode(body[-1], level)}"
            assert body[-1] & 0x7F not in (0x07, 0x27, 0x43, 0x47, 0x4B, 0x4F, 0x53, 0x63, 0x67, 0x6F), place
    return loops


def test_the_networks_use_every_family(fuzzed: tuple[dict[str, str], set[str]]) -> None:
    texts, kernels = fuzzed
    assert {family.name for family in FAMILIES} <= kernels
    assert len(texts) >= 60


@EACH_BUILD
def test_loops_of_fuzzed_networks(
    levels: Levels, level: Level, fuzzed: tuple[dict[str, str], set[str]], tmp_path: Path
) -> None:
    assert _check_words(_words(fuzzed[0], levels, level, tmp_path), level) > 25


@EACH_BUILD
@pytest.mark.parametrize(
    "model",
    [pytest.param(model, id=model.name, marks=[pytest.mark.prove] * ("mobilenet" in model.name)) for model in MODELS],
)
def test_loops_of_reference_models(model: ReferenceModel, levels: Levels, level: Level, tmp_path: Path) -> None:
    assert _check_words(_words(_model_texts(model), levels, level, tmp_path), level) >= 5


def test_one_text_differs_between_the_levels_in_words_only(
    fuzzed: tuple[dict[str, str], set[str]], tmp_path: Path
) -> None:
    """Word by word the same instruction with the same operands, but for the shift, which has a name per level."""
    old, new = (_words(fuzzed[0], Levels.BOTH, level, tmp_path) for level in Level)
    assert old.keys() == new.keys()
    for symbol in old:
        for before, after in zip(old[symbol], new[symbol], strict=True):
            first, second = decode(before, Level.V21), decode(after, Level.V22)
            if first is None or second is None:
                assert before == after
            elif first[0].mnemonic == "esp.vsl.32":
                assert (second[0].mnemonic, second[1]) == ("esp.vsl.s32", (*first[1], 0))
            elif first[0].mnemonic.startswith("esp.srcmb."):
                assert (second[0].mnemonic, second[1]) == (first[0].mnemonic, (*first[1], 7))
            else:
                defaults = tuple({"sat": 1, "rm": 7}[operand.kind] for operand in second[0].optional)
                assert (second[0].mnemonic, second[1]) == (first[0].mnemonic, (*first[1], *defaults))


def test_no_result_depends_on_cfg_in_text_for_revision_3(
    fuzzed: tuple[dict[str, str], set[str]], tmp_path: Path
) -> None:
    """Whatever rounds names round-half-even itself."""
    rounding = 0
    for words in _words(fuzzed[0], Levels.V22, Level.V22, tmp_path).values():
        for entry, values in filter(None, (decode(word, Level.V22) for word in words)):
            for operand, value in zip(entry.operands, values, strict=True):
                if operand.kind == "rm":
                    rounding += 1
                    assert value == 6, entry.mnemonic
    assert rounding > 40


def test_text_for_both_levels_is_portable(fuzzed: tuple[dict[str, str], set[str]]) -> None:
    lines = [line.split("//")[0].strip() for text in fuzzed[0].values() for line in text.splitlines()]
    used = {line.split()[0] for line in lines if line.startswith("esp.")}
    assert len(used) > 30
    assert not [name for name in used if UNCERTAIN.match(name)]
    tables = [instruction_table(level) for level in Level]
    assert all(name in table for name in used for table in tables)
    assert not [line for line in lines if KEYWORDS.search(line) and line.startswith(("esp.", "espgen."))]
    for line in lines:
        if re.match(r"esp\.vldbc\.(8|16)\.ip", line):  # assemblers before ESP-IDF 5.5.2 scale the offset wrongly
            assert line.endswith(", 0"), line
    for levels in Levels:
        everything = "\n".join(support_files(levels).values())
        assert "__riscv_x" not in everything, "what compilers announce does not tell the level"
        assert "#error" in everything


_STORE = re.compile(r"esp\..*\b(st|vst)\b")
_REGISTER = re.compile(r"\b(?:a[0-7]|s\d+|t[0-6]|sp)\b")
_SIZES = {"lw": 4, "lh": 2, "lhu": 2, "lb": 1, "lbu": 1, "sw": 4, "sh": 2, "sb": 1}


def _loads_without_fence(text: str) -> tuple[list[str], int]:
    """Scalar loads of bytes on the stack that a vector store may just have written; and how many bytes such stores wrote."""
    stored: set[int] = set()
    wrong, seen = [], 0
    for _ in range(2):  # what the end of a loop stores, its start may load
        places: dict[str, int] = {"sp": 0}
        for line in text.splitlines():
            mnemonic, _, rest = line.partition("//")[0].strip().partition(" ")
            operands = [operand.strip() for operand in rest.split(",")]
            if mnemonic == "fence":
                stored.clear()
            elif _STORE.match(mnemonic):
                base = _REGISTER.findall(rest)[0]
                if base in places:
                    width = 8 if ".64" in mnemonic else 16
                    stored |= set(range(places[base], places[base] + width))
                    seen += width
                    if mnemonic.endswith(".ip"):
                        places[base] += int(operands[-1])
                    elif mnemonic.endswith("incp"):
                        places[base] += width
                    else:
                        del places[base]
            elif mnemonic in _SIZES:
                offset, base = operands[1].rstrip(")").split("(")
                if base in places:
                    touched = range(places[base] + int(offset), places[base] + int(offset) + _SIZES[mnemonic])
                    if mnemonic.startswith("s"):
                        stored -= set(touched)
                    elif stored & set(touched):
                        wrong.append(line)
                if mnemonic.startswith("l"):
                    places.pop(operands[0], None)
            elif mnemonic == "addi" and operands[1] in places:
                if operands[0] != "sp":  # the frame counts from its own start
                    places[operands[0]] = places[operands[1]] + int(operands[2])
            elif mnemonic == "mv" and operands[1] in places:
                places[operands[0]] = places[operands[1]]
            elif mnemonic.startswith("esp.") and mnemonic.endswith(".ip") and _REGISTER.findall(rest)[0] in places:
                places[_REGISTER.findall(rest)[0]] += int(operands[-1])
            elif _REGISTER.match(operands[0]) and not mnemonic.startswith(("b", "esp.")):
                places.pop(operands[0], None)
    return wrong, seen


def test_scalar_loads_of_what_vectors_stored_stand_behind_a_fence(fuzzed: tuple[dict[str, str], set[str]]) -> None:
    """Revisions below 3 were seen to load what was there before the store."""
    texts = fuzzed[0]
    passing = 0
    for symbol, text in texts.items():
        wrong, seen = _loads_without_fence(text)
        assert not wrong, (symbol, wrong)
        passing += seen > 0
    unfenced = [_loads_without_fence(re.sub(r"(?m)^ *fence.*$", "", text))[0] for text in texts.values() if "fence" in text]
    assert passing > len(unfenced) > 0
    assert all(unfenced)  # every fence is needed, and would be missed
