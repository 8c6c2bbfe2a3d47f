"""Operations: primitives that two or more layers use, with their derivative rules, in adjoint pairs."""
