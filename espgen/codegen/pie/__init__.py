"""PIE kernels: one generated assembly function per layer shape (docs/kernels.md)."""
