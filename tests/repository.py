"""Where the repository lies, and the overrides that put every role on the fake backend."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
ROLES = ("evolver", "teacher", "student", "judge", "embedder", "reward", "nli", "optimizer", "small", "large")
FAKES = [f"model@{role}=fake" for role in ROLES]
UNREPORTED = "~hydra.callbacks.finish"  # no tables, figures and report at the end: they take longer than a run of fakes
