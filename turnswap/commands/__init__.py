"""The command ``turnswap`` and what it shows; nothing else imports it."""
