"""Runs → tables: `collect` (results.csv), `compare` (comparison.csv), `report` (report.html); `study` does all three.

Everything is read from the folders that runs leave behind, never from a dashboard.
"""
