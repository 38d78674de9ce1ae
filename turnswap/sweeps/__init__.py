"""Layer swaps in memory: one model of two, many configurations tried without writing any."""
