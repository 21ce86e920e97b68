"""The command line: one short file a verb, and the configuration it composes."""
