"""Where the stages meet: the only package that knows concrete classes."""
