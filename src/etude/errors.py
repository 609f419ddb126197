"""What went wrong, said to a person."""


class EtudeError(Exception):
    """A mistake in what the user gave, with what to do about it.

    The command line prints the two lines and exits with status 2. Anything else that is raised is a bug of
    ours and shows its traceback.

    Args:
        problem: What is wrong: which file, line, field or argument, and its value.
        hint: What would be right, or the next thing to try.
    """

    def __init__(self, problem: str, hint: str) -> None:
        super().__init__(f"{problem}\n{hint}")
        self.problem = problem
        self.hint = hint

    def __reduce__(self) -> tuple[type["EtudeError"], tuple[str, str]]:
        """Survive a process boundary with both lines."""
        return type(self), (self.problem, self.hint)
