"""What a policy looks like when it is written as a file."""

from __future__ import annotations

from weighbridge.policy import parse_policy, render

WRITTEN = """\
schema = 1
description = "Mail waits, and so does what is slow."

[[rule]]
name = "mail is queued"
when = "'mail' in tags"
lane = "queue"

[[rule]]
name = "what is slow"
when = '''
    loop.lag_ms > 20        # it is late
    or queue == "slow"
'''
unknown = "match"
lane = "queue"
reason = 'it is "slow"'

[otherwise]
lane = "in_process"
reason = "it's quick\\tenough"

[[example]]
facts = { weight = 1.5, tags = ["mail", "eu"], is_async = true, in_process = { waiting = 9 } }
lane = "queue"

[[example]]
facts = { loop = { lag_ms = 3 } }
lane = "in_process"
"""
EXTENDED = """\
schema = 1
extends = "by-weight"

[[rule]]
name = "mail is queued"
when = "'mail' in tags"
lane = "queue"
"""


def again(text: str) -> str:
    return render(parse_policy(text, name="ours", source="ours.toml"))


def test_a_policy_is_written_as_people_write_it() -> None:
    assert again(WRITTEN) == WRITTEN


def test_comments_and_what_is_the_default_are_left_out() -> None:
    text = "schema = 1   # so far\ndescription = ''\n[[example]]\nfacts = { weight = 0 }\nlane = 'queue'\n"
    assert again(text + "[otherwise]\nlane = 'queue'\nreason = ''\n") == (
        'schema = 1\n\n[otherwise]\nlane = "queue"\n\n[[example]]\nfacts = { }\nlane = "queue"\n'
    )


def test_what_a_policy_extends_is_not_written_out() -> None:
    assert again(EXTENDED) == EXTENDED
