"""Command-line commands, one module each. Commands never import each other."""
