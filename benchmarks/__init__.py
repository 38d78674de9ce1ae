"""What is fast, and how we know: every figure a ratio against a baseline that is named and run beside it."""
