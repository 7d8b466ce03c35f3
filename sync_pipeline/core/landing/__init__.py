"""Records of other systems on their way into PostgreSQL tables: values and rules, nothing acts.

``spec`` says what a landing is, ``fields`` finds values in records, ``values`` turns them into
what a column holds, ``records`` maps whole pages, ``walking`` keeps pages by offset together,
``passes`` says what one pass through an origin has seen and whether it saw everything,
``absence`` which rows may go because of it, and ``bounds`` up to when what landed is complete.
"""
