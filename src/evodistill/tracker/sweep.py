"""A study as a W&B sweep: the same axes, for agents on many machines in the place of multirun.

    python -m evodistill.tracker.sweep +experiment=evol_students +study=temperature > sweep.yaml
    wandb sweep sweep.yaml && wandb agent ENTITY/PROJECT/ID        on each machine

Nothing is sent here. The jobs write to runs/<study>/sweep; `python -m analysis.study` makes one report of that folder.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evodistill import RunError

CONF = Path(__file__).parents[3] / "conf"


def axes(overrides: Sequence[str]) -> tuple[str, dict[str, list[str]]]:
    """(name of the study, key → its values as text) of what these overrides would sweep over, command line last."""
    from hydra import compose, initialize_config_dir
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    parser = OverridesParser.create()
    try:
        given = parser.parse_overrides([*overrides])
        fixed = [override.input_line or "" for override in given if not override.is_sweep_override()]
        with initialize_config_dir(str(CONF), version_base="1.3"):
            cfg = compose("config", fixed, return_hydra_config=True)
        params = dict(cfg.hydra.sweeper.params or {})
        swept = parser.parse_overrides([f"{key}={text(value)}" for key, value in params.items()])
    except HydraException as error:
        raise RunError(f"{' '.join(overrides)}: {error}") from None
    named = {override.get_key_element(): override for override in given}
    swept = [override for override in swept if override.get_key_element() not in named]
    swept += [override for override in given if override.is_sweep_override()]
    if not swept:
        raise RunError("there is nothing to sweep over: give a study (+study=NAME) or a list of values (KEY=A,B)")
    return cfg.study, {override.get_key_element(): values(override) for override in swept}


def text(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def values(override: Any) -> list[str]:
    if override.is_sweep_override():
        return list(override.sweep_string_iterator())
    return [override.get_value_element_as_str()]


def sweep(overrides: Sequence[str]) -> dict[str, Any]:
    """The content of a sweep's yaml. An agent runs one job at a time, so the study's own axes are taken out."""
    study, swept = axes(overrides)
    kept = [word for word in overrides if word.partition("=")[0] not in swept]
    return {
        "program": "run.py",
        "name": study,
        "method": "grid",
        "parameters": {key: {"values": given} for key, given in swept.items()},
        "command": [
            *("${env}", "${interpreter}", "${program}", *kept, "${args_no_hyphens}", "tracker=wandb"),
            *("hydra.sweeper.params=null", f"hydra.run.dir=runs/{study}/sweep/${{now:%Y-%m-%d_%H-%M-%S-%f}}"),
        ],
    }


def main() -> None:
    import yaml

    if len(sys.argv) < 2:
        sys.exit("usage: python -m evodistill.tracker.sweep +experiment=NAME +study=NAME [KEY=VALUE …] > sweep.yaml")
    try:
        print(yaml.safe_dump(sweep(sys.argv[1:]), sort_keys=False, allow_unicode=True, width=120), end="")
    except RunError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
