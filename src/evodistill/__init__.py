"""evodistill: which model should write the instructions that other models learn from?"""

__version__ = "0.1.0"


class RunError(Exception):
    """Something the user can mend, in one line that names the file, key or value and the cure; never a traceback."""
