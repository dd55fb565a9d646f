"""The dialogue, in its first form: a chat's text in, typed conditions, what they allow, and a reply out.

    text -> understand (tokens, vocabulary, amounts) -> Understanding
         -> conditions.merge (with those in force)   -> Constraints, which bind rankings
         -> reply                                    -> one or two sentences in the user's language

Plain English and Chinese. Pure: the catalogue's words, the time and the event's id are arguments.
"""
