"""Functions of functions: gradients, Jacobians, tangents, batching, in any order and depth."""
