"""YAML in, frozen Settings out, errors with lines."""
