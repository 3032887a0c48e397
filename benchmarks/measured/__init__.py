"""What is measured: a module for each part that `--only` names."""
