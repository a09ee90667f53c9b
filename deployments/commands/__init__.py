"""What an operator does from a shell besides running the service: one file per group of commands."""
