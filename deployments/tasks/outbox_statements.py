"""The statements of the outbox, one per purpose, built once.

Every result is written by ``_MINE``: the number of the try is the fence, so a sender that comes late changes nothing.
Knows nothing of connections. Bound names start with ``this_`` where a column has the plain name.
"""

from __future__ import annotations

from sqlalchemy import (
    Double,
    Integer,
    Text,
    Update,
    and_,
    bindparam,
    case,
    exists,
    func,
    insert,
    literal_column,
    select,
    update,
)

from deployments.database.schema import database_now, octets, task_bodies, tasks, webhooks

_THIS_ID = bindparam("this_id", type_=Text)
_ANSWER = bindparam("this_answer", type_=Text)
_AT_MOST = bindparam("at_most", type_=Integer)
# In words and not as a value, so that the indexes of what waits can be used.
_IS_WAITING = webhooks.c.state == literal_column("'waiting'")
_MINE = and_(webhooks.c.id == _THIS_ID, _IS_WAITING, webhooks.c.attempts == bindparam("this_attempt", type_=Integer))
# Asked once, in a query of its own: what may change from row to row, as the time does, is not looked up in an index.
_NOW = select(database_now()).scalar_subquery()
_HAS_ROOM = and_(
    webhooks.c.host.not_in(bindparam("full_hosts", expanding=True)),
    webhooks.c.tenant_id.not_in(bindparam("full_tenants", expanding=True)),
)

#: Write down what is to be told.
INSERT = insert(webhooks)

#: Read how many seconds there are until the next webhook is due that there is room for.
NEXT_DUE = (
    select((webhooks.c.due_at - database_now()).label("due_in_s"))
    .where(_IS_WAITING, _HAS_ROOM)
    .order_by(webhooks.c.due_at)
    .limit(1)
)

#: Find the host of the webhook that has been due for longest and that there is room for.
NEXT_HOST = (
    select(webhooks.c.host)
    .where(_IS_WAITING, webhooks.c.due_at <= _NOW, _HAS_ROOM)
    .order_by(webhooks.c.due_at)
    .limit(1)
)


def _claim_of_host() -> Update:
    # In a common table expression the choice is made once; as a plain subquery PostgreSQL may run it again per row.
    chosen = (
        select(webhooks.c.id)
        .where(
            _IS_WAITING,
            webhooks.c.host == bindparam("this_host", type_=Text),
            webhooks.c.due_at <= _NOW,
            webhooks.c.tenant_id.not_in(bindparam("full_tenants", expanding=True)),
        )
        .order_by(webhooks.c.due_at)
        .limit(_AT_MOST)
        # SQLite has no row locks and leaves this out; there the transaction holds the whole file.
        .with_for_update(skip_locked=True)
        .cte("chosen")
    )
    return (
        update(webhooks)
        .where(webhooks.c.id.in_(select(chosen.c.id)))
        .values(attempts=webhooks.c.attempts + 1, due_at=database_now() + bindparam("lease_s", type_=Double))
    )


#: Take up to :at_most due webhooks of one host for a while; skip rows that another sender is taking right now. What
#: they say stays where it is: together it may be gigabytes.
CLAIM_OF_HOST = _claim_of_host().returning(*(column for column in webhooks.c if column is not webhooks.c.body))

#: Read the ended task that is told, and what its caller had sent; one that was deleted is told to nobody.
READ_TOLD = (
    select(tasks, task_bodies.c.body)
    .outerjoin(task_bodies, task_bodies.c.task_id == tasks.c.id)
    .where(tasks.c.id == _THIS_ID, tasks.c.deleted_at.is_(None))
)

_WRITTEN_FROM = octets(tasks.c.outputs) + func.coalesce(octets(task_bodies.c.body), 0)

#: Read in which dialect an ended task is told, and how much there is to tell, without reading that.
MEASURE = (
    select(
        tasks.c.dialect, tasks.c.traceparent, func.coalesce(octets(webhooks.c.body), _WRITTEN_FROM).label("size_bytes")
    )
    .join_from(webhooks, tasks, tasks.c.id == webhooks.c.task_id)
    .outerjoin(task_bodies, task_bodies.c.task_id == tasks.c.id)
    .where(webhooks.c.id == _THIS_ID, tasks.c.deleted_at.is_(None))
)

#: Read what was sent before.
READ_BODY = select(webhooks.c.body).where(webhooks.c.id == _THIS_ID)

#: Keep what is sent, for all repeats, unless something is kept already.
KEEP_BODY = (
    update(webhooks)
    .where(webhooks.c.id == _THIS_ID)
    .values(body=func.coalesce(webhooks.c.body, bindparam("this_body", type_=Text)))
    .returning(webhooks.c.body)
)

_IS_ERASED = exists().where(tasks.c.id == webhooks.c.task_id, tasks.c.erased_at.is_not(None))

#: Note that a webhook is done with, and how; what it said and where goes with the contents of its task.
END = (
    update(webhooks)
    .where(_MINE)
    .values(
        state=bindparam("this_state", type_=Text),
        ended_at=database_now(),
        last_answer=_ANSWER,
        body=case((_IS_ERASED, None), else_=webhooks.c.body),
        url=case((_IS_ERASED, ""), else_=webhooks.c.url),
    )
)

#: Note that a try has failed, and when the next one is due.
PUT_OFF = (
    update(webhooks)
    .where(_MINE)
    .values(due_at=database_now() + bindparam("pause_s", type_=Double), last_answer=_ANSWER)
)

#: Note that a try never began, so that it counts as none.
HAND_BACK = (
    update(webhooks)
    .where(_MINE)
    .values(attempts=webhooks.c.attempts - 1, due_at=database_now() + bindparam("pause_s", type_=Double))
)

#: Read the newest webhooks, without what they say; narrowed by what the operator asks for.
LIST = (
    select(
        webhooks.c.id,
        webhooks.c.tenant_id,
        webhooks.c.task_id,
        webhooks.c.host,
        webhooks.c.state,
        webhooks.c.attempts,
        webhooks.c.last_answer,
        webhooks.c.due_at,
        database_now().label("seen_at"),
    )
    .order_by(webhooks.c.created_at.desc(), webhooks.c.id)
    .limit(_AT_MOST)
)

#: Have webhooks sent again from the first try on, those of which it is known where; narrowed by what the operator asks
#: for. They wait from now on: by the end that they tell of, each would be stuck at once.
REPLAY = (
    update(webhooks)
    .where(webhooks.c.url != "")
    .values(state="waiting", attempts=0, created_at=database_now(), due_at=database_now(), ended_at=None)
    .returning(webhooks.c.id)
)
