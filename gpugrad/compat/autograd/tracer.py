"""Boxes, nodes and traces under the names of autograd.tracer."""

from gpugrad.compat.autograd.boxes import Box, getval, isbox, new_box
from gpugrad.compat.autograd.core import primitive
from gpugrad.compat.autograd.nodes import Node, notrace_primitive, register_notrace, trace

__all__ = [
    "Box",
    "Node",
    "getval",
    "isbox",
    "new_box",
    "notrace_primitive",
    "primitive",
    "register_notrace",
    "trace",
]
