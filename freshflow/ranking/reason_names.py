"""Names of the reasons, apart from the compiled functions: commands that run no job do not load Numba for them."""

RANKING_REASONS = ("together", "again", "popular", "similar", "new")
