"""The report of a suite: tables, figures and the page."""
