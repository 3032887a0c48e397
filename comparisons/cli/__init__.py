"""The `compare` subcommand."""
