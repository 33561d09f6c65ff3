"""The command line: main.py and one file per command. A command reads options, calls the package and prints."""
