"""The command line: main.py and one file per verb. No logic: a verb reads options, calls the package, prints."""
