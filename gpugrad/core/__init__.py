"""Primitives and the interpreters that apply them: evaluate, tape, forward mode, batching, shapes.

The room knows no operation by name; ``gpugrad.ops`` fills it.
"""
