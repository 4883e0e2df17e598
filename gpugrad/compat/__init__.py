"""Other libraries' names over gpugrad, for programs that were written for them."""
