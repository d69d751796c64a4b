"""``make demo``: a good release promoted and a bad one reverted on a real cluster, shown as it happens.

``story`` tells it in ``acts``, which play on the ``scene``; ``frame`` reads what there is to see, ``view`` shows it,
``claims`` checks what was promised. ``gitops`` is the loop of the third act.
"""
