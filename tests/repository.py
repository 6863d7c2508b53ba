"""Where the repository lies, and the overrides that put every role on the fake backend."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
FAKES = [f"model@{role}=fake" for role in ("evolver", "teacher", "student", "judge", "embedder", "reward", "nli")]
