"""A user's mistake, told in one message."""


class UserError(Exception):
    """A mistake in the user's input: what is wrong, where, and what would be right.

    The command prints it without a traceback and exits with `code`.
    """

    def __init__(self, what: str, where: str | None = None, remedy: str | None = None, *, code: int = 1) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.remedy = remedy
        self.code = code

    def __str__(self) -> str:
        lines = [f"ERROR: {self.what}"]
        if self.where:
            lines.append(f"  where:  {self.where}")
        if self.remedy:
            lines.append(f"  remedy: {self.remedy}")
        return "\n".join(lines)


UNREADABLE = (UserError, OSError, EOFError, UnicodeDecodeError)


def mistake_of(error: Exception, where: str | None) -> UserError:
    """Return an error of UNREADABLE, met while a file was read, as a user's mistake; `where` is the file."""
    if isinstance(error, UserError):
        return error
    return UserError(f"the file cannot be read: {getattr(error, 'strerror', None) or error}", where, "check the file")
