"""Documents of a run: Markdown, a page, and a comparison of two runs.

Everything here is made from a `BenchReport` and the previews beside it; nothing is measured.
"""
