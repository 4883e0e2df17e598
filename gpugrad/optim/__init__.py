"""Optimizers, with PyTorch's names, and what goes with them."""

from gpugrad.optim.adagrad import Adagrad
from gpugrad.optim.adam import Adam, AdamW
from gpugrad.optim.lion import Lion
from gpugrad.optim.optimizer import Optimizer
from gpugrad.optim.rmsprop import RMSprop
from gpugrad.optim.sgd import SGD

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "Lion", "Optimizer", "RMSprop"]
