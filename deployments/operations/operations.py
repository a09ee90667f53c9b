"""Carries out what a caller asks for, the same in every dialect.

dialect.parse ──► Operation ──► Operations.perform ──► Outcome ──► dialect.render
                                       └──► wait, watch ──► TaskOutcome
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from deployments.clock import utc_now
from deployments.delivery.sink import SIGNING
from deployments.errors import BadCall, CallRefused, FaultKind, NotFound, Unavailable
from deployments.operations import operation as asked
from deployments.operations import outcome as came
from deployments.operations.caller import Caller
from deployments.operations.doors import Doors
from deployments.operations.keeping import Keeping
from deployments.operations.own_pictures import own_sources
from deployments.operations.statistics import RecentCounts, statistics_of
from deployments.tasks.ends import Ends
from deployments.tasks.task import Fault, Preview, Task, TaskState
from deployments.tasks.views import Query
from models.catalog import CATALOG, ModelSpec
from models.cost import peak_bytes, work_units
from models.request import GenerationRequest, InvalidRequest

if TYPE_CHECKING:
    from deployments.delivery.sink import Sink

#: Seconds after which a followed task is looked at again without a signal.
POLL_S = 1.0
#: Seconds between two looks at a followed task, however often the store changes.
LOOK_EVERY_S = 0.25


class Operations:
    """Carries out operations for one caller at a time."""

    def __init__(self, doors: Doors, *, wait_s: float) -> None:
        """Take the doors it works through; ``wait_s`` bounds how long a caller is kept waiting."""
        self._doors = doors
        self._store = doors.store
        self._ends = Ends(doors.store, doors.signal)
        self._wait_s = wait_s
        self._keeping = Keeping(kept=doors.kept, references=doors.references, sinks=doors.sinks)
        self._counts = RecentCounts(doors.views.count)

    async def perform(  # noqa: C901, PLR0911, PLR0912 -- one line per operation
        self, operation: asked.Operation, caller: Caller
    ) -> came.Outcome:
        """Do what was asked, without waiting for the end of any task.

        Raises:
            CallRefused: when it cannot be done; nothing was changed.
        """
        match operation:
            case asked.Submit():
                return await self.submit(operation, caller)
            case asked.Refuse():
                return await self._shown(await self._refuse(operation, caller), caller)
            case asked.Read() | asked.Watch():
                return await self._read(operation, caller)
            case asked.ReadOnce():
                return await self._read_once(operation, caller)
            case asked.Cancel():
                return await self._cancel(operation, caller)
            case asked.Delete():
                return await self._delete(operation, caller)
            case asked.Redeliver():
                return await self._shown(await self._doors.redelivering.redeliver(operation, caller.tenant_id), caller)
            case asked.List():
                return await self._list(operation, caller)
            case asked.Quote(request=request):
                return came.Quoted(price=self._checked(request).price(request), model=request.model)
            case asked.ReadBalance():
                return await self._balance(caller)
            case asked.ReadWebhookSecret():
                return came.WebhookSecret(secret=self._doors.signer.secret_of(caller.tenant_id))
            case asked.ReadWebhookKeys():
                return came.WebhookKeys(keys=self._doors.signer.public_keys)
            case asked.Keep():
                return await self._keeping.keep(operation, caller)
            case asked.Drop(uuid=uuid):
                await self._doors.kept.drop(uuid, tenant_id=caller.tenant_id)
                return came.Dropped(uuid=uuid)
            case asked.GrantUpload():
                return await self._keeping.grant(operation, caller)
            case asked.IssueUploadToken():
                token, until_s = self._doors.kept.token_for(caller.tenant_id)
                return came.UploadToken(token=token, expires_at=datetime.fromtimestamp(until_s, UTC))
            case asked.ReadStatistics():
                return statistics_of(await self._counts.read())
            case asked.CheckHealth(of_replicas=of_replicas):
                await self._store.ping()
                return came.Healthy(draws=not of_replicas or await self._doors.draws())
            case asked.Tell(subject=subject, notes=notes):
                return came.Told(subject=subject, notes=notes)
            case asked.Batch():
                return await self._perform_all(operation, caller)

    async def settle(self, outcome: came.Outcome, caller: Caller) -> came.Outcome:
        """Wait for every end that the caller wants to be answered with."""
        match outcome:
            case came.TaskOutcome(is_awaited=True):
                return await self.wait(outcome, caller)
            case came.BatchOutcome(is_awaited=True, parts=parts):
                settling = [self.settle_part(part, caller) for part in parts]
                return came.BatchOutcome(parts=tuple(await asyncio.gather(*settling)))
        return outcome

    async def settle_part(self, part: came.PartOutcome, caller: Caller) -> came.PartOutcome:
        """Wait for the end that one part of a batch wants to be answered with."""
        if isinstance(part.outcome, CallRefused):
            return part
        try:
            return replace(part, outcome=await self.settle(part.outcome, caller))
        except CallRefused as refusal:
            return replace(part, outcome=refusal)

    async def wait(self, outcome: came.TaskOutcome, caller: Caller) -> came.TaskOutcome:
        """Wait for the end of a task; what comes back has it, or says that the patience of this server ended first."""
        is_given_up = False
        try:
            async with asyncio.timeout(self._wait_s):
                await self._ends.wait(outcome.task.id)
        except TimeoutError:
            is_given_up = outcome.ends_when_given_up and await self._give_up(outcome.task)
        shown = await self._shown(await self._look_again(outcome.task), caller, is_awaited=True)
        return replace(shown, is_ended_by_call=is_given_up)

    async def _give_up(self, task: Task) -> bool:
        with suppress(Unavailable):  # the caller must be answered, whatever becomes of the database
            return await self._store.cancel(task.id, tenant_id=task.tenant_id)
        return False

    async def watch(self, outcome: came.TaskOutcome, caller: Caller) -> AsyncIterator[came.TaskOutcome]:
        """Yield a task as it is, and again whenever it has changed, until it has ended or is gone."""
        yield outcome
        task = outcome.task
        while not task.state.is_terminal:
            seen = self._doors.signal.mark()
            found = await self._look_again(task)
            if (found.state, found.steps_done, found.fence) != (task.state, task.steps_done, task.fence):
                shown = await self._with_place(await self._shown(found, caller))
                yield replace(shown, preview=await self._preview(found))
            task = found
            if not task.state.is_terminal:
                await asyncio.sleep(LOOK_EVERY_S)
                await self._doors.signal.wait(seen, timeout_s=POLL_S)

    async def abandon(self, outcome: came.Outcome) -> None:
        """End a task that nobody waits for any more, if it was to end with its caller; leave everything else alone."""
        if not isinstance(outcome, came.TaskOutcome) or not outcome.ends_with_caller:
            return
        if not outcome.task.state.is_terminal:
            await self._store.cancel(outcome.task.id, tenant_id=outcome.task.tenant_id)

    async def submit(self, submit: asked.Submit, caller: Caller) -> came.TaskOutcome:
        """Accept a request, without waiting for its end.

        Raises:
            CallRefused: when it cannot be accepted; nothing was written.
        """
        request = own_sources(submit.request, caller, kept=self._doors.kept, sinks=self._doors.sinks)
        spec = self._checked(request)
        await self._doors.callbacks.check(submit, caller.tenant_id)
        await self._doors.bound.check()
        task = replace(
            _new_task(submit, request.model, caller),
            sinks=submit.sinks,
            upload_url=submit.upload_url and self._doors.seal.close(submit.upload_url),
            lifetime_s=submit.lifetime_s,
            start_before=_moment_in(submit.start_within_s),
            work_units=work_units(request, self._doors.costs),
            price=spec.price(request),
            steps_total=request.num_images * request.num_inference_steps,
        )
        accepted = await self._store.accept(task, request, once=submit.once, body=submit.body)
        shown = await self._shown(accepted, caller, is_awaited=submit.wait)
        # A call that was answered before does not end the task of the one that made it.
        is_new = accepted.id == task.id
        shown = replace(
            shown,
            ends_with_caller=submit.cancel_with_caller and is_new,
            # Who has named a key can send the call again, and is answered with the end.
            ends_when_given_up=submit.cancel_when_given_up and is_new and submit.once is None,
        )
        return await self._with_place(shown) if submit.with_place else shown

    def _checked(self, request: GenerationRequest) -> ModelSpec:
        spec = CATALOG[request.model]
        try:
            spec.check(request)
        except InvalidRequest as error:
            raise BadCall(str(error)) from error
        most, needed = self._doors.request_bytes, peak_bytes(request)
        if most is not None and needed > most:
            raise BadCall(
                f"this takes about {needed / 1e9:.1f} GB of a device's memory, and {most / 1e9:.1f} GB are there for "
                "one request; ask for fewer pixels or references"
            )
        return spec

    async def _refuse(self, refuse: asked.Refuse, caller: Caller) -> Task:
        await self._doors.callbacks.check(refuse, caller.tenant_id)
        fault = Fault(kind=FaultKind.REFUSED, message=refuse.refusal.message)
        return await self._store.refuse(
            _new_task(refuse, refuse.model, caller), fault, once=refuse.once, body=refuse.body
        )

    async def _read(self, read: asked.Read | asked.Watch, caller: Caller) -> came.TaskOutcome:
        is_state_enough = isinstance(read, asked.Read) and not read.with_pictures
        task = await (self._state if is_state_enough else self._task)(read.task_id, caller)
        shown = await self._shown(task, caller)
        if isinstance(read, asked.Watch):
            return await self._with_place(replace(shown, is_followed=True))
        if read.with_body:
            shown = replace(shown, body=await self._doors.views.body(shown.task.id))
        return await self._with_place(shown) if read.with_place else shown

    async def _read_once(self, read: asked.ReadOnce, caller: Caller) -> came.TaskOutcome:
        task = await self._doors.views.once(read.key, tenant_id=caller.tenant_id)
        if task is None or task.dialect != caller.dialect:
            raise NotFound("task not found")
        body = await self._doors.views.body(task.id) if read.with_body else None
        return replace(await self._shown(task, caller), body=body)

    async def _cancel(self, cancel: asked.Cancel, caller: Caller) -> came.TaskOutcome:
        task = await self._state(cancel.task_id, caller)
        is_ended_by_call = await self._store.cancel(task.id, tenant_id=caller.tenant_id)
        shown = await self._shown(await self._task(task.id, caller), caller)
        return replace(shown, is_ended_by_call=is_ended_by_call)

    async def _delete(self, delete: asked.Delete, caller: Caller) -> came.Deleted:
        deleted = await self._doors.views.delete(delete.task_ids, dialect=caller.dialect, tenant_id=caller.tenant_id)
        if delete.must_exist and not deleted:
            raise NotFound("task not found")
        with suppress(Unavailable):  # they are deleted, and due: what is left of them here, the housekeeper erases
            await self._doors.eraser.erase(deleted)
        return came.Deleted(task_ids=tuple(deleted))

    async def _list(self, wanted: asked.List, caller: Caller) -> came.Listing:
        query = Query(
            dialect=caller.dialect,
            page=wanted.page,
            page_size=wanted.page_size,
            model=wanted.model,
            states=wanted.states,
            created_from=wanted.created_from,
            created_before=wanted.created_before,
        )
        tasks, total = await self._doors.views.page(query, tenant_id=caller.tenant_id)
        listed = await self._all_shown([_without_inline(task) for task in tasks], caller)
        return came.Listing(tasks=tuple(listed), page=wanted.page, total=total)

    async def _balance(self, caller: Caller) -> came.Balance:
        tenant = await self._doors.directory.find(caller.tenant_id)
        if tenant is None:
            raise NotFound
        return came.Balance(left=tenant.left, spent=tenant.spent, held=tenant.held)

    async def _perform_all(self, batch: asked.Batch, caller: Caller) -> came.BatchOutcome:
        parts = [self.perform_part(part, caller) for part in batch.parts]
        return came.BatchOutcome(parts=tuple(await asyncio.gather(*parts)))

    async def perform_part(self, part: asked.Part, caller: Caller) -> came.PartOutcome:
        """Do one part of a batch; its refusal touches no other part."""
        if isinstance(part.operation, CallRefused):
            return came.PartOutcome(notes=part.notes, outcome=part.operation)
        try:
            return came.PartOutcome(notes=part.notes, outcome=await self.perform(part.operation, caller))
        except CallRefused as refusal:
            return came.PartOutcome(notes=part.notes, outcome=refusal)

    async def _task(self, task_id: str, caller: Caller) -> Task:
        return _found(await self._store.read(task_id, tenant_id=caller.tenant_id), caller)

    async def _state(self, task_id: str, caller: Caller) -> Task:
        return _found(await self._store.read_state(task_id, tenant_id=caller.tenant_id), caller)

    async def _look_again(self, task: Task) -> Task:
        try:
            found = await self._store.read(task.id, tenant_id=task.tenant_id)
        except Unavailable:  # the task is accepted: its caller must get its id, whatever becomes of the database
            return task
        if found is None:
            raise NotFound("task not found")
        return found

    async def _preview(self, task: Task) -> Preview | None:
        if task.state is not TaskState.RUNNING:
            return None
        with suppress(Unavailable):  # a picture on its way is worth no trouble
            return await self._store.read_preview(task)
        return None

    async def _with_place(self, outcome: came.TaskOutcome) -> came.TaskOutcome:
        if outcome.task.state is not TaskState.QUEUED:
            return outcome
        return replace(outcome, place=await self._doors.views.place(outcome.task))

    async def _shown(self, task: Task, caller: Caller, *, is_awaited: bool = False) -> came.TaskOutcome:
        [outcome] = await self._all_shown([task], caller)
        return replace(outcome, is_awaited=is_awaited)

    async def _all_shown(self, tasks: Sequence[Task], caller: Caller) -> list[came.TaskOutcome]:
        sinks, base_url = self._doors.sinks, caller.base_url
        if any(output.sink in SIGNING for task in tasks for output in task.outputs):
            return await asyncio.to_thread(lambda: [shown(task, sinks, base_url=base_url) for task in tasks])
        return [shown(task, sinks, base_url=base_url) for task in tasks]


def shown(task: Task, sinks: Mapping[str, Sink], *, base_url: str) -> came.TaskOutcome:
    """Make what a caller sees of a task, with a link or the content of each output.

    Raises:
        Unavailable: when a sink that it was placed in is no longer set up.
    """
    if any(output.sink not in sinks for output in task.outputs):
        raise Unavailable("the pictures are in a bucket that this server is not set up for")
    pictures = tuple(sinks[output.sink].link(output.value, base_url=base_url) for output in task.outputs)
    return came.TaskOutcome(task=task, pictures=pictures)


def _found(task: Task | None, caller: Caller) -> Task:
    if task is None or task.dialect != caller.dialect:
        raise NotFound("task not found")
    return task


def _new_task(asks: asked.Submit | asked.Refuse, model: str, caller: Caller) -> Task:
    return Task(
        id=secrets.token_hex(16),
        tenant_id=caller.tenant_id,
        model=model,
        dialect=asks.dialect,
        notes=asks.notes,
        created_at=utc_now(),
        webhook=asks.webhook,
        traceparent=caller.traceparent,
    )


def _without_inline(task: Task) -> Task:
    """Leave out the outputs whose value is the picture itself: a page of them would be gigabytes."""
    return replace(task, outputs=tuple(output for output in task.outputs if output.sink != "inline"))


def _moment_in(seconds: float | None) -> datetime | None:
    return None if seconds is None else utc_now() + timedelta(seconds=seconds)
