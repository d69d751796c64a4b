"""``make demo``: a good release promoted and a bad one reverted on a real cluster, shown as it happens.

``story`` plays it, ``frame`` reads what there is to see, ``view`` shows it, ``claims`` checks what was promised.
"""
