"""Data for a model: where it comes from, what its numbers mean, and in which layout. One way for every command."""
