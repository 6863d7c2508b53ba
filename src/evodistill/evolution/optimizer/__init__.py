"""Optimizers of an evolving method (Auto Evol-Instruct, arXiv 2406.00770 §3)."""
