"""The engine: primitives, the tape, and the transforms that walk it. It depends on no layer and no array library."""
