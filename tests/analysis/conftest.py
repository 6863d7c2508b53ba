from pathlib import Path

import pytest
from job_folders import family, score, write_job

from evodistill.record import Origin, Record


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    """Two evolvers, five seeds, two rounds; by hand: small − large is 1, 2, 3, 4, 5 in round 1 and 0 in round 2."""
    for number, (evolver, plus) in enumerate({"small-1b": 1, "large-70b": 0}.items()):
        rows = [score(f"s{k}", 1, 50 + 10 * k + plus * k) for k in range(1, 6)]
        rows += [score(f"s{k}", 2, 60 + k) for k in range(1, 6)]
        seeds = [Record(f"s{k}", f"Seed {k}", origin=Origin(seed=f"s{k}")) for k in range(1, 6)]
        records = [record for k in range(1, 6) for record in family(seeds[k - 1], evolver)]
        lost = [
            seeds[0]
            .child("<script>alert(1)</script>", step="evolution", round=2, operation="deepen")
            .reject("echo", raw="<b>raw</b>")
        ]
        write_job(tmp_path / "sweep" / str(number), evolver, {"complexity_score": rows}, records=records, rejects=lost)
    return tmp_path / "sweep"
