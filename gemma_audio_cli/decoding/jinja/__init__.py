"""An evaluator for chat templates whose cost is bounded by how it is made.

    source ──jinja2's parser──► syntax tree ──run.py──► text
                                               │ every value a template makes is paid for, by its size
                                               ▼
                                            values.Meter

A model file comes from anywhere, and its template is a program. jinja2 would compile it to Python and run it:
then one expression can ask for gigabytes, or keep C code busy for hours, where neither a count of steps nor
Ctrl-C comes in between. Here no code is compiled and no Python attribute is looked up. Values are plain
text, numbers, lists, tuples and dicts. Before an operation makes a value, its size is known and limited;
afterwards it is charged with all that is inside, shared parts as often as they appear. So every value is
small, so is the cost of any operation on it, and the sum of all is limited.

    values.py    the meter, and the kinds of values jinja2 adds to Python's
    methods.py   attributes, items and methods, from tables
    operators.py arithmetic, comparisons, tests
    filters.py   filters, from a table
    expressions.py, run.py    the syntax tree itself

What is not supported (inheritance, imports, autoescaping, calls of anything else) is an error where it is
reached; what is supported gives what jinja2 gives.
"""
