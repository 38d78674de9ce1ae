"""What a translation must keep: demands, content, language, and the senses of words."""
