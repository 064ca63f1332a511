"""Names of models, inputs and outputs: pretty where nothing is in their way, and never in anybody else's."""

from __future__ import annotations

import re
import subprocess
from itertools import combinations

import pytest

from espgen.codegen.naming import camel, identifier, model_identifier, port_identifiers
from espgen.verify.compilers import host_compilers

HEADERS = "assert ctype errno inttypes locale math setjmp signal stdint stdio stdlib string strings time unistd wchar".split()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("kws", "kws"),
        ("digits_int8_qdq", "digits_int8_qdq"),
        ("My Model (v2)", "my_model_v2"),
        ("Café", "cafe"),
        ("9 lives", "n9_lives"),
        ("stdint", "stdint_model"),
        ("xor", "xor_model"),
        ("New", "new_model"),
        ("time", "time_model"),
        ("index", "index_model"),
        ("errno", "errno_model"),
        ("linux", "linux_model"),
        ("esp_log", "esp_log_model"),
        ("uint8_t", "uint8_t_model"),
        ("kws_io", "kws_io_model"),
        ("com1", "com1_model"),
    ],
)
def test_names_of_models(name: str, expected: str) -> None:
    assert model_identifier(name) == expected


def test_models_whose_names_are_cut_or_have_no_letters_stay_apart() -> None:
    names = ["猫", "犬", "", "!!!", "x" * 100 + "a", "x" * 100 + "b", "x" * 5000]
    found = [model_identifier(name) for name in names]
    assert len(set(found)) == len(names) and all(len(name) <= 48 for name in found)
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in found)


def generated(symbol: str) -> tuple[str, ...]:
    return f"kInput{camel(symbol)}", f"write_{symbol}", f"write_{symbol}_real", f"write_{symbol}_image"


@pytest.mark.parametrize(
    "names",
    [
        ["x1", "x_1"],
        ["x_1", "x1", "X1", "x__1", "x-1"],
        ["y", "y_real", "y_real_real", "y_image"],
        ["", "?", "unnamed", "猫"],
        ["a" * 500, "a" * 501, "a" * 48],
        ["x_2", "x", "x!", "x_2_"],
    ],
)
def test_no_two_ports_share_a_symbol(names: list[str]) -> None:
    found = port_identifiers(names, generated)
    assert list(found) == names and found[names[0]] == identifier(names[0])
    for first, second in combinations(names, 2):
        assert not set(generated(found[first])) & set(generated(found[second])), (first, second)


def test_no_reserved_name_is_missing() -> None:
    """Every word of the standard headers, as the namespace of a model of that name, compiles behind these headers."""
    gcc = [compiler for compiler in host_compilers() if compiler.kind != "zig"]
    if not gcc:
        pytest.skip("no host compiler but zig")
    command = [*gcc[0].command, "-x", "c++", "-std=gnu++17", "-w"]
    includes = "".join(f"#include <{header}.h>\n" for header in HEADERS)

    def run(options: list[str], text: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*command, *options, "-"], input=text, capture_output=True, text=True, check=False)

    text = run(["-E"], includes).stdout + run(["-E", "-dM"], includes).stdout
    words = sorted({word for word in re.findall(r"[A-Za-z][A-Za-z0-9_]*", text) if "__" not in word})
    assert len(words) > 1000
    spaces = "".join(f"namespace {name} {{}}\n" for name in dict.fromkeys(map(model_identifier, words)))
    compiled = run(["-fsyntax-only"], includes + spaces)
    assert compiled.returncode == 0, compiled.stderr[:2000]
