"""The one entry point.

python run.py +experiment=quickstart                       one run
python run.py -m +experiment=quickstart +study=quickstart  a sweep, then its comparison and report
python run.py +experiment=quickstart dry_run=true          the plan: steps, counts, first prompts, tokens, hours
"""

import logging
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

import evodistill.config  # noqa: F401 - its resolvers, before anything is composed
from evodistill import RunError, misspelt

log = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg: DictConfig) -> dict[str, float]:
    """Run one experiment; gives its means. In a sweep a job that fails leaves the others running."""
    from evodistill import estimate, pipeline, plan

    job = HydraConfig.get()
    sweep = job.mode is RunMode.MULTIRUN
    try:
        if job.sweeper.params and not sweep:
            raise RunError(
                f"study {cfg.study} is a sweep: add -m, as in  python run.py -m {' '.join(job.overrides.task)}"
            )
        if cfg.dry_run:
            planned = plan.Plan(cfg)
            print(planned.text(prompts=not sweep))
            estimate.write(Path(job.runtime.output_dir), planned.rows, planned.hardware)
            return {}
        return pipeline.run(cfg, Path(job.runtime.output_dir))
    except RunError as error:  # a user's mistake: one line, no traceback
        if not sweep:
            raise SystemExit(f"error: {error}") from None
        log.error("%s", error)
    except Exception:
        if not sweep:
            raise
        log.exception("job %s failed", job.job.num)
    return {}


if __name__ == "__main__":
    try:
        main()
    except SystemExit as end:  # Hydra ends with the error that it has just told as context
        misspelt.explain(end.__context__, Path(__file__).parent / "conf")
        raise
