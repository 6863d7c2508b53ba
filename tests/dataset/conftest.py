import os
from pathlib import Path

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

ROOT = Path(__file__).parents[2]


@pytest.fixture
def real():
    """Loads a file of the data that lies beside the repository with a dataset option of ours."""

    def real(option, file, **changes):
        path = ROOT.parent / "shared/data" / file
        if not path.exists():
            message = f"{path} is missing"
            pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)
        config = OmegaConf.load(ROOT / "conf/dataset" / f"{option}.yaml")
        config = OmegaConf.merge(config, {"path": str(path), "seed": 0}, changes)
        return instantiate(config, _convert_="all")([], {})

    return real
