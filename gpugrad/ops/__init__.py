"""The operations: one file a family, each primitive with all its rules beside it."""
