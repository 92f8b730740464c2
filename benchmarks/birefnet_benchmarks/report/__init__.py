"""What is shown of a run: figures, Markdown, a page, and two runs side by side.

Everything here is made from a `Report` and the pictures beside it; nothing is measured.
"""
