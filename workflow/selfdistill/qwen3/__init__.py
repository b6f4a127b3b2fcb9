"""Qwen3 on the CPU: its arithmetic between the matrix products, compiled by numba, for drawing and for training.

A tiny model spends most of its time between its matrix products, in dozens of small operations per layer that each
read and write all activations. Here one compiled pass takes the place of several of them. transformers remains the
definition: tests hold logits, responses and gradients against it.
"""
