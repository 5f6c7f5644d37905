"""Background jobs with an owner: aiojobs' Scheduler and Job, and what handlers do with them."""

from structweb.jobs.application import (
    AIOJOBS_SCHEDULER,
    create_scheduler,
    get_scheduler,
    get_scheduler_from_app,
    get_scheduler_from_request,
    setup,
    shield,
    spawn,
)
from structweb.jobs.atomic import atomic
from structweb.jobs.job import Job, JobCancelled
from structweb.jobs.scheduler import ExceptionHandler, Scheduler

__all__ = [
    "AIOJOBS_SCHEDULER",
    "ExceptionHandler",
    "Job",
    "JobCancelled",
    "Scheduler",
    "atomic",
    "create_scheduler",
    "get_scheduler",
    "get_scheduler_from_app",
    "get_scheduler_from_request",
    "setup",
    "shield",
    "spawn",
]
