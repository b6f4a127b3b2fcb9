"""Qwen3 on the CPU, for sampling and for training: numba kernels between the matrix products.

A tiny model spends most of its time between its matrix products, in dozens of small operations per layer that each
read and write all activations. One kernel here replaces several of them. transformers remains the definition: tests
compare logits, responses and gradients with it.
"""
