"""Whatever an operator or an application can ask, once, over an opened installation."""
