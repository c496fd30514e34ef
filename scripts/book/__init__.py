"""The machine of the book: what a page is, how it is run, checked and built."""
