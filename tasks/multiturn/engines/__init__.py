"""The backends that take one request while they work on others, each behind one small interface: engine.py."""
