"""Data for people who train elsewhere: what a run has made, in the formats that other trainers load.

    python -m evodistill.export runs/quickstart/<time>/quickstart-0 --format llama_factory --to exported

`run.py` reads the run, `formats.py` writes rows, `columns.py` adds what is known of each, `llama_factory.py` what that
trainer wants beside them, `card.py` says where the data comes from, `push.py` uploads it. All of it is data: no text of
a record is ever rendered as a template.
"""
