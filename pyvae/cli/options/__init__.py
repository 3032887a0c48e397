"""Options of the commands: typed groups, their choices, and which of them were given."""
