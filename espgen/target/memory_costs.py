"""The memory hierarchy as the kernel choice sees it (cycles per 64-byte line)."""

LINE_BYTES = 64
TILE_BYTES = 44 * 1024
"""What of the 64 KB, 2-way L1 data cache a tile may fill before its lines evict each other."""
MISS_INTERNAL = 13
MISS_PSRAM = 96
"""Half of what a 128-byte line of L2 costs and both of its L1 lines."""
