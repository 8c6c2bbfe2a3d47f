"""The engine: primitives, the tape, and the transforms that walk it. It knows no layer and no array library."""
