"""A chat message to typed conditions, in plain English and Chinese.

In: the text, the catalogue's vocabulary, the conditions in force. Out: `Understanding`. The way there: tokens ->
pieces (`reading`) -> clause by clause, who is asked for and who is refused (`messages`, `walk`) -> conditions
(`wishes`).

Decisions, so that nobody has to guess:
- A taste is no condition: "I like red" and 我喜欢红色 leave the ranking free (they are evidence); "I'd like red"
  asks for it. A dislike is one: "I don't like horror", 不喜欢恐怖片.
- One amount of money without a comparison is a ceiling; "around 500" is 400 to 600.
- Of a refused phrase its describing words are refused, not its noun: "no red dresses" keeps dresses.
- What was bought before, and questions how or why, set no conditions.
"""

from __future__ import annotations

from collections.abc import Sequence

from recsys.dialogue.conditions import Understanding
from recsys.dialogue.messages import Message
from recsys.dialogue.reading import read
from recsys.dialogue.tokens import MAX_CHARACTERS, tokenise
from recsys.dialogue.vocabulary import Vocabulary
from recsys.text import language
from recsys.user import Condition


def understand(
    text: str,
    vocabulary: Vocabulary,
    *,
    event_id: str | None,
    expires: int | None,
    in_force: Sequence[Condition] = (),
) -> Understanding:
    """What a message asks for. Never raises; reads the first 2,000 characters.

    `event_id` and `expires` (ms) are written into the new conditions. `in_force` is what the message may take
    back or add to; `conditions.merge` puts the two together.
    """
    text = text[:MAX_CHARACTERS].replace("\n", " ; ")
    tokens = tokenise(text)
    message = Message(tokens, vocabulary)
    for piece in read(tokens, vocabulary):
        message.take(piece)
    message.end_clause()
    constraints, retracted, query = message.wishes.settle(vocabulary, event_id, expires, in_force)
    return Understanding(
        constraints=constraints,
        retracted=retracted,
        query=query,
        negated_terms=tuple(dict.fromkeys(refusal.said for refusal in message.wishes.refused)),
        language=language(text),
        is_request=bool(constraints or retracted or message.asks),
    )
