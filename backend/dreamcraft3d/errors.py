"""The one exception a user may meet: a sentence that says what is wrong and what to do."""


class UserError(Exception):
    """Bad input or a machine that cannot do what was asked.

    The message is shown as it stands, without a traceback, so it names the thing at fault and its mend:
    ``UserError("There is no file out/tree.png.", hint="Check the path given to --image.")``.
    """

    def __init__(self, sentence: str, hint: str = "") -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.sentence} {self.hint}".strip()
