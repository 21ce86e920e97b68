"""What has to be done: configuration, suites and the graph of stages."""
