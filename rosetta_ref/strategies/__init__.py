"""Hypothesis strategies for blocks, tensors, archives and models, public for other projects' tests."""
