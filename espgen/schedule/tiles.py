"""Row tiles: how many output rows a kernel call should make so that what it reads again stays in the first-level cache.

A call runs block of 16 output channels / row / pixel: each call reads all weights once and its input once per block. Tall
calls read the weights less often, short calls keep their input in the cache between blocks.
"""

from __future__ import annotations

from espgen.target.memory_costs import LINE_BYTES, MISS_INTERNAL, MISS_PSRAM, TILE_BYTES


def row_tiles(
    *, out_rows: int, in_row_bytes: int, out_row_bytes: int, overlap_bytes: int, weight_bytes: int, blocks: int
) -> int:
    """Output rows per call with the least predicted stall cycles.

    in_row_bytes   input bytes per output row; overlap_bytes: input rows that neighbouring tiles both read
    weight_bytes   all constants of the layer, read from PSRAM once per call where they exceed the cache
    blocks         how often a call reads its input
    """
    best_rows, best_cost = out_rows, None
    for calls in range(1, out_rows + 1):
        rows = -(-out_rows // calls)
        tile_bytes = rows * (in_row_bytes + out_row_bytes) + overlap_bytes + weight_bytes // max(blocks, 1)
        reads = 1 if tile_bytes <= TILE_BYTES else blocks
        tiles = -(-out_rows // rows)
        input_bytes = tiles * (rows * in_row_bytes + overlap_bytes)
        weight_reads = 1 if weight_bytes + tile_bytes <= TILE_BYTES else tiles
        cost = input_bytes * reads * MISS_INTERNAL + weight_bytes * weight_reads * MISS_PSRAM + tiles * LINE_BYTES * 40
        if best_cost is None or cost < best_cost:
            best_rows, best_cost = rows, cost
    return best_rows
