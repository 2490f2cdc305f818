"""A transcript as a page for a browser: one file that asks nobody for anything.

The parts of the page are beside this module as they are edited: page.html, page.css and plain scripts.
"""
