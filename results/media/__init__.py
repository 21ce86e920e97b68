"""Films, galleries and strips of imagined frames."""
