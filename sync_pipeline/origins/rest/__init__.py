"""Records of a REST system (``core.ports.landing.RecordOrigin``), with httpx.

``origin`` is the adapter. Below it ``paging`` walks through a list page by page, over
``run_ahead``, which has the next ones fetched meanwhile; ``client`` sends one request as often as
that helps, with a token of ``login`` and at the pace of ``pacing``; ``transport`` sends it once
and says what came; ``answers`` reads that, ``addresses`` says where to, ``since`` how a moment is
written.
"""
