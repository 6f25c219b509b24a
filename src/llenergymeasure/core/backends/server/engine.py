"""The engine ``server``: a server of OpenAI's kind, started here or found running."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence

from llenergymeasure.config.engines import ServerConfig
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.base import EngineBase
from llenergymeasure.core.backends.server.address import Address, tls_of
from llenergymeasure.core.backends.server.body import section_of
from llenergymeasure.core.backends.server.checks import not_taken, problems_of
from llenergymeasure.core.backends.server.connections import Pool
from llenergymeasure.core.backends.server.gpus import gpus_of, pids_on
from llenergymeasure.core.backends.server.model import Ready, ServerModel, head_of
from llenergymeasure.core.backends.server.questions import Questions, dialect_told, model_to_ask_for
from llenergymeasure.core.backends.server.started_server import StartedServer, started
from llenergymeasure.core.backends.server.words import cautions_of, elsewhere
from llenergymeasure.core.checkpoint.source import is_here
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.warnings import MeasurementWarning
from llenergymeasure.exceptions import BackendError

_PLACES = {"completions": "/v1/completions", "chat": "/v1/chat/completions"}


class ServerBackend(EngineBase):
    """Asks a server over HTTP, and starts and ends it where it is told how."""

    name = "server"
    section = ServerConfig
    packages = ("httptools",)
    extra = "server"
    loggers = ("transformers",)
    loads = frozenset({"all_at_once", "concurrency", "due_times"})

    def takes_text(self, config: ExperimentConfig) -> bool:
        """Where messages or text are sent the server tokenises."""
        return section_of(config).sends_text

    def elsewhere(self, config: ExperimentConfig) -> str | None:
        """That the server is on another machine."""
        return elsewhere(config)

    def problems(self, config: ExperimentConfig) -> list[str]:
        """What does not fit, and a server that is to be there and is not."""
        return list(problems_of(config))

    def cautions(self, config: ExperimentConfig) -> list[MeasurementWarning]:
        """Whose server it is, and where."""
        return list(cautions_of(config))

    def select_devices(self, config: ExperimentConfig, visible: Sequence[str]) -> tuple[str, ...]:
        """All that are visible where the server is on this machine."""
        return tuple(visible) if self.elsewhere(config) is None else ()

    @contextlib.contextmanager
    def load(self, plan: ExperimentPlan) -> Iterator[ServerModel]:
        """Start the server, where it is ours, and find out what it is; on leaving, it has ended.

        Raises:
            BackendError: it cannot be started or asked, or does not take what the experiment has.
        """
        config, section = plan.config, section_of(plan.config)
        address, questions = Address.of(section.url), Questions(section)
        head = head_of(f"{address.base}{_PLACES[section.api]}", address.named, config)
        before = pids_on(plan.devices)
        with contextlib.ExitStack() as stack:
            own = None
            if section.command is not None:
                own = stack.enter_context(started(section, section.command, questions))
            elif (problem := questions.problem()) is not None:
                raise BackendError(f"no server is ready at {section.url}: {problem}")
            ready = self._found(plan, questions, own, before)
            pool = Pool(address.found(), tls_of(section), address.host)
            stack.callback(pool.close)
            yield ServerModel(config, ready, pool, head)

    def _found(
        self,
        plan: ExperimentPlan,
        questions: Questions,
        own: StartedServer | None,
        before: Mapping[str, frozenset[int] | None],
    ) -> Ready:
        config, section = plan.config, section_of(plan.config)
        facts = questions.facts()
        dialect = dialect_told(section, facts)
        problem = next(not_taken(config, dialect), None)
        if problem is not None:
            raise BackendError(problem)
        devices = plan.devices
        if own is not None:
            devices = gpus_of(plan.devices, before, pids_on(plan.devices), own.pids)
        known = is_here(config.model) or not section.sends_text
        return Ready(
            questions=questions,
            dialect=dialect,
            served_model=model_to_ask_for(section, facts, config.model),
            version=questions.version(dialect),
            n_context=facts.n_context,
            devices=devices,
            own=own,
            checkpoint=self.checkpoint(config) if known else None,
        )
