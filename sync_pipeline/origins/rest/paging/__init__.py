"""Walks through a list, page by page: by offset, by number, by key and by link."""
