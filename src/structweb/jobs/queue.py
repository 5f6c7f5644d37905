"""The jobs that wait for their turn, and those who wait to hand one in."""

from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import Final

import anyio

from structweb.jobs.job import Job


class Applicant:
    """Somebody who has a job to hand in while the queue is full."""

    __slots__ = ("answered", "job")

    def __init__(self, job: Job[object]) -> None:
        self.job: Final = job
        #: Set when the job was taken, or refused.
        self.answered: Final = anyio.Event()


class Queue:
    """Pending jobs in the order of their spawning, at most `limit` of them (0 for any number).

    Behind them stand those who must wait until there is room.  Nobody overtakes: room that appears is given to the
    first of them in the same step, not when its task has its turn.
    """

    __slots__ = ("_applicants", "_jobs", "limit")

    def __init__(self, limit: int) -> None:
        self.limit: Final = limit
        self._jobs: OrderedDict[Job[object], None] = OrderedDict()
        self._applicants: deque[Applicant] = deque()

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[Job[object]]:
        return iter(self._jobs)

    def __contains__(self, job: object) -> bool:
        return job in self._jobs

    async def put(self, job: Job[object]) -> None:
        """Add a job at the end, and wait for room before that.  Cancelled, it takes the job out and discards it.

        One that has started meanwhile is left alone: it is its scheduler's.
        """
        if self._has_room() and not self._applicants:
            self._jobs[job] = None
            return
        applicant = Applicant(job)
        self._applicants.append(applicant)
        try:
            await applicant.answered.wait()
        except BaseException:
            if job.pending:
                job._stop("its spawn was cancelled")
            raise

    def take(self) -> Job[object] | None:
        """Take the first job out, and let the next one in; None if there is none."""
        if not self._jobs:
            return None
        job, _ = self._jobs.popitem(last=False)
        self._admit()
        return job

    def remove(self, job: Job[object]) -> None:
        """Take a job out, wherever it stands."""
        if job in self._jobs:
            del self._jobs[job]
            self._admit()
        else:
            self._applicants = deque(each for each in self._applicants if each.job is not job)

    def close(self, reason: str) -> None:
        """Discard every job, and let nobody wait any longer."""
        applicants, self._applicants = self._applicants, deque()
        for job in [*self._jobs, *(applicant.job for applicant in applicants)]:
            job._stop(reason)
        for applicant in applicants:
            applicant.answered.set()

    def _has_room(self) -> bool:
        return not self.limit or len(self._jobs) < self.limit

    def _admit(self) -> None:
        while self._applicants and self._has_room():
            applicant = self._applicants.popleft()
            self._jobs[applicant.job] = None
            applicant.answered.set()
