"""Generated pre- and postprocessing on the host against numpy."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import numpy as np
import pytest

from espgen import arith
from espgen.codegen.build import Options, generate
from espgen.ir import DType, Value
from espgen.ops.base import GraphBuilder
from espgen.verify.compilers import host_compiler

MAIN = """
#include <stdio.h>
#include "picture_io.h"
int main() {
  static uint8_t pixels[12 * 10 * 3];
  if (fread(pixels, 1, sizeof pixels, stdin) != sizeof pixels) return 1;
  const espgen::Image image = {pixels, 12, 10, 36, espgen::PixelFormat::kRgb888};
  const float mean[3] = {123.675f, 116.28f, 103.53f}, deviation[3] = {58.395f, 57.12f, 57.375f};
  static picture::kInputXTable table;
  picture::make_x_table(table, mean, deviation);
  const espgen::Crop crop = {2, 1, 8, 8};
  static int8_t result[4 * 4 * 3];
  for (int resize = 0; resize < 2; ++resize) {
    picture::write_x_image(image, crop, static_cast<espgen::Resize>(resize), table);
    if (picture::run() != espgen::Status::kOk) return 1;
    picture::read_y(result);
    fwrite(result, 1, sizeof result, stdout);
  }
  static float real[48];
  for (int i = 0; i < 48; ++i) real[i] = static_cast<float>(i - 20) * 0.123f;
  picture::write_x_real(real);
  if (picture::run() != espgen::Status::kOk) return 1;
  picture::read_y_real(real);
  fwrite(real, sizeof(float), 48, stdout);
  espgen::Class best[3];
  picture::best_of_y(best, 3);
  for (const espgen::Class& one : best) fwrite(&one.index, sizeof one.index, 1, stdout);
  return 0;
}
"""

SCALE, ZERO = 0.0417, -7


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[np.ndarray, bytes]:
    folder = tmp_path_factory.mktemp("prepost")
    builder = GraphBuilder("picture")
    builder.input("x", (1, 4, 4, 3), DType.INT8, SCALE, ZERO)
    weights = arith.choose_weights([1.0], 8)
    builder.node("add", ("x",), (1, 4, 4, 3), DType.INT8, SCALE, ZERO, "y", weights=weights, low=-128, high=127)
    graph = builder.build(["y"])
    image_input = graph.updated(values=[_as_image(graph.value("x"))])
    component = generate(image_input, folder / "c", options=Options(kernels="portable"), name="picture", extra={})
    (folder / "main.cpp").write_text(MAIN)
    compiler = host_compiler(None, ())
    sources = [str(path) for path in sorted((component / "src").glob("*.cpp")) + sorted((component / "src").glob("*.S"))]
    flags = ["-std=c++17", "-DESPGEN_HOST=1", "-Wall", "-Wextra", "-Wconversion", "-Werror"]
    includes = [f"-I{component / 'include'}", f"-I{component / 'src'}"]
    command = [*compiler.command, *flags, *includes, *sources, str(folder / "main.cpp"), "-o", str(folder / "main")]
    subprocess.run(command, check=True, capture_output=True)
    pixels = np.random.default_rng(3).integers(0, 256, (10, 12, 3)).astype(np.uint8)
    done = subprocess.run([str(folder / "main")], input=pixels.tobytes(), check=True, capture_output=True)
    return pixels, done.stdout


def _as_image(value: Value) -> Value:
    return replace(value, layout="NHWC")


def quantized(pixels: np.ndarray) -> np.ndarray:
    mean = np.array([123.675, 116.28, 103.53], np.float32)
    deviation = np.array([58.395, 57.12, 57.375], np.float32)
    return arith.quantize((pixels.astype(np.float32) - mean) / deviation, SCALE, ZERO, -128, 127)


def test_nearest_crop_and_resize(outputs: tuple[np.ndarray, bytes]) -> None:
    pixels, data = outputs
    expected = quantized(pixels[1:9, 2:10][::2, ::2])
    assert np.array_equal(np.frombuffer(data[:48], np.int8).reshape(4, 4, 3), expected)


def test_bilinear_resize_by_two_averages_four_pixels(outputs: tuple[np.ndarray, bytes]) -> None:
    pixels, data = outputs
    crop = pixels[1:9, 2:10].astype(np.int64)
    total = crop[::2, ::2] + crop[1::2, ::2] + crop[::2, 1::2] + crop[1::2, 1::2]
    expected = quantized((total + 2) // 4)
    assert np.array_equal(np.frombuffer(data[48:96], np.int8).reshape(4, 4, 3), expected)


def test_real_values_in_and_out_and_the_best_classes(outputs: tuple[np.ndarray, bytes]) -> None:
    real = (np.arange(48) - 20).astype(np.float32) * np.float32(0.123)
    integers = arith.quantize(real, SCALE, ZERO, -128, 127)
    data = outputs[1]
    assert np.array_equal(np.frombuffer(data[96:288], np.float32), arith.dequantize(integers, SCALE, ZERO))
    order = np.argsort(-integers, kind="stable")[:3]
    assert np.array_equal(np.frombuffer(data[288:], np.int32), order)
