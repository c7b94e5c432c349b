"""Parts of a URL on the command line: a path, `-`, or `scheme://…`."""

STDIN = STDOUT = "-"


def scheme_name(url: str) -> str:
    """Return the text before `://`, `-` for a standard stream, or the empty string for a path."""
    name, separator, _ = url.partition("://")
    if separator:
        return name
    return STDIN if url == STDIN else ""
