"""The `pyvae` command, a file for each subcommand."""
