"""How measurements are shown and checked. Nothing imports it but the command line."""
