"""Programs as users write them, and single calls, as a recorder writes them down."""
