"""What is done about one cause, as the log and a tracing system see it: ``operation`` is where to start reading."""
