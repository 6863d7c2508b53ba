"""python -m evodistill.trainer JOB.json                       trains a job that the runner has written
python -m evodistill.trainer JOB.json --machine_rank 1     joins it, on another machine that sees the same folder
"""

import argparse
import subprocess
import sys
from pathlib import Path

from evodistill import RunError
from evodistill.trainer.fit import fit
from evodistill.trainer.job import Job
from evodistill.trainer.launch import ERROR


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", type=Path)
    parser.add_argument("--machine_rank", type=int, help="which of launch.num_machines this one is, from 1")
    args = parser.parse_args()
    try:
        job = Job.read(args.job)
        if args.machine_rank is None:
            fit(job)
        else:
            sys.exit(subprocess.call(job.trainer.launch.command(args.job, args.machine_rank)))
    except RunError as error:
        sys.exit(f"{ERROR}{error}")
    except Exception as error:  # the run that started this shows one line, its log the traceback
        print(f"{ERROR}{type(error).__name__}: {error}", flush=True)
        raise


if __name__ == "__main__":
    main()
