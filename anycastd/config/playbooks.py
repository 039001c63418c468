"""Playbooks: each a file of its own, read and held against the neighbors and prefixes of the configuration."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from pydantic import ValidationError

from anycastd.config.document import Document, Path, parse
from anycastd.config.near import did_you_mean
from anycastd.config.schema.playbooks import PlaybookFile, StepSection, WhenSection
from anycastd.config.source import read_text
from anycastd.config.validate import problems_of
from anycastd.errors import ConfigError, Problem
from anycastd.model.address import NeighborName, Prefix, family_of
from anycastd.model.spread import Announce, Playbook, PlayMode, PlayStep, StepKind, When
from anycastd.model.topology import Config

WELL_KNOWN = "65535:"


@dataclass(slots=True)
class _Checked:
    """One playbook's file and what is wrong with it."""

    document: Document
    problems: list[Problem] = field(default_factory=list)

    def error(self, path: Path, message: str, *, at_key: bool = False) -> None:
        """Note a mistake."""
        self.problems.append(self.document.problem(path, message, at_key=at_key))


def playbooks_of(config: Config, paths: tuple[str, ...]) -> Mapping[str, Playbook]:
    """Return the playbooks in these files by name; raise ConfigError with every problem of all of them."""
    found: dict[str, Playbook] = {}
    problems: list[Problem] = []
    for path in paths:
        try:
            book = read(read_text(path), path, config)
        except ConfigError as error:
            problems += error.problems
            continue
        if book.name in found:
            message = f"'{book.name}' is the name of {found[book.name].path} already"
            problems.append(Problem(1, 1, "name", message, path))
        found.setdefault(book.name, book)
    if problems:
        raise ConfigError(tuple(problems))
    return found


def problems_alone(paths: Iterable[str]) -> tuple[Problem, ...]:
    """Return what is wrong with these files in themselves, where there is no configuration to hold them against."""
    problems: list[Problem] = []
    for path in paths:
        try:
            problems += _checked(read_text(path), path, None)[0].problems
        except ConfigError as error:
            problems += error.problems
    return tuple(problems)


def _checked(text: str, path: str, config: Config | None) -> tuple[_Checked, PlaybookFile]:
    document, written = _written(text, path)
    checked = _Checked(document, list(document.problems))
    _conditions(checked, written, config)
    if config is not None:
        _prefixes(checked, written, config)
    if not written.steps:
        checked.error(("steps",), "a playbook without steps does nothing")
    for number, step in enumerate(written.steps):
        _step(checked, ("steps", number), step, config, written.prefixes)
    return checked, written


def read(text: str, path: str, config: Config) -> Playbook:
    """Return the playbook of a text; raise ConfigError with every problem."""
    checked, written = _checked(text, path, config)
    if checked.problems:
        raise ConfigError(tuple(sorted(set(checked.problems))))
    return Playbook(
        name=written.name,
        about=written.about or "",
        when=tuple(_when(one) for one in written.when),
        prefixes=written.prefixes,
        steps=tuple(map(step_of, written.steps)),
        calm_s=written.calm,
        path=path,
    )


def steps_of(text: str, path: str) -> tuple[Document, tuple[PlayStep, ...]]:
    """Return the steps of a text, whose neighbors and prefixes nobody has looked for; raise ConfigError."""
    document, written = _written(text, path)
    problems = list(document.problems)
    for number, step in enumerate(written.steps):
        if len(_parts(step)) != 1:
            wanted = ", ".join(kind.value for kind in StepKind)
            problems.append(document.problem(("steps", number), f"a step is exactly one of {wanted}"))
    if problems:
        raise ConfigError(tuple(sorted(set(problems))))
    return document, tuple(map(step_of, written.steps))


def _written(text: str, path: str) -> tuple[Document, PlaybookFile]:
    document = parse(text, path)
    try:
        return document, PlaybookFile.model_validate(document.value)
    except ValidationError as error:
        problems = (*document.problems, *problems_of(document, error.errors(include_url=False), PlaybookFile))
        raise ConfigError(tuple(sorted(set(problems)))) from error


def _conditions(checked: _Checked, written: PlaybookFile, config: Config | None) -> None:
    if not written.when:
        checked.error(("when",), "a playbook without a condition never begins")
    for number, one in enumerate(written.when):
        place = ("when", number)
        if one.state is None and one.load_above is None:
            checked.error(place, "state or load_above is missing")
        if config is not None and one.load_above is not None and config.attack.spread.capacity_bps is None:
            checked.error(
                (*place, "load_above"), "attack.spread.capacity is not written: of what is this a percentage?"
            )


def _prefixes(checked: _Checked, written: PlaybookFile, config: Config) -> None:
    for number, prefix in enumerate(written.prefixes):
        if prefix not in config.prefixes:
            checked.error(("prefixes", number), f"{prefix} is no prefix of this POP")


def _parts(step: StepSection) -> dict[StepKind, object]:
    return {kind: part for kind in StepKind if (part := getattr(step, kind.value)) is not None}


def _step(
    checked: _Checked, place: Path, step: StepSection, config: Config | None, prefixes: tuple[Prefix, ...]
) -> None:
    kinds = [kind.value for kind in _parts(step)]
    if len(kinds) != 1:
        wanted = ", ".join(kind.value for kind in StepKind)
        checked.error(place, f"{' and '.join(kinds) or 'nothing'} is written; a step is exactly one of {wanted}")
        return
    if list(step.verify_after) != sorted(set(step.verify_after)) or not step.verify_after:
        checked.error((*place, "verify_after"), "times are wanted that rise")
    if step.communities is not None:
        _communities(checked, (*place, "communities", "add"), step.communities.add)
    if step.selective_neighbors is not None and not step.selective_neighbors.neighbors:
        checked.error((*place, "selective_neighbors", "neighbors"), "no neighbor is named")
    if config is not None:
        _neighbors(checked, place, step, config, prefixes)


def _neighbors(checked: _Checked, place: Path, step: StepSection, config: Config, prefixes: tuple[Prefix, ...]) -> None:
    for at, name in _named(step):
        neighbor = config.neighbors.get(NeighborName(name))
        if neighbor is None:
            hint = did_you_mean(name, config.neighbors)
            checked.error((*place, *at), f"no neighbor is called '{name}'{hint}")
        elif neighbor.is_observer:
            checked.error((*place, *at), f"'{name}' is an observer: it is sent beacons only")
    if step.selective_neighbors is not None:
        _never_all(checked, (*place, "selective_neighbors", "neighbors"), step, config, prefixes)


def _communities(checked: _Checked, place: Path, added: tuple[str, ...]) -> None:
    for number, community in enumerate(added):
        if community.startswith(WELL_KNOWN):
            what = "none of RFC 1997's own range: GSHUT at every POP, or a blackhole, would leave nobody to serve"
            checked.error((*place, number), f"{community}: {what}")
    if not added:
        checked.error(place, "no community is written")


def _named(step: StepSection) -> Iterator[tuple[Path, str]]:
    for key, part in (
        ("selective_neighbors", step.selective_neighbors), ("communities", step.communities), ("prepend", step.prepend),
    ):  # fmt: skip
        for number, name in enumerate(part.neighbors if part is not None else ()):
            yield (key, "neighbors", number), name


def _never_all(checked: _Checked, place: Path, step: StepSection, config: Config, prefixes: tuple[Prefix, ...]) -> None:
    named = set(step.selective_neighbors.neighbors) if step.selective_neighbors is not None else set()
    always = {name for name, one in config.neighbors.items() if one.announce is Announce.ALWAYS}
    for prefix, spec in config.prefixes.items():
        if (not prefixes or prefix in prefixes) and named and set(spec.neighbors) & always <= named:
            checked.error(place, f"all that carry {prefix} ({family_of(prefix)}) are named: the last one must keep it")
            return


def _when(section: WhenSection) -> When:
    return When(state=section.state, load_percent=section.load_above, for_s=section.for_)


def step_of(section: StepSection) -> PlayStep:
    """Return a step of a checked file."""
    ((kind, _),) = _parts(section).items()
    selective, communities, prepend = section.selective_neighbors, section.communities, section.prepend
    part = selective or communities or prepend
    default = PlayMode.ASK if kind.sheds else PlayMode.AUTO
    return PlayStep(
        kind=kind,
        neighbors=tuple(map(NeighborName, part.neighbors)) if part is not None else (),
        out=selective is not None and selective.withdraw,
        communities=communities.add if communities is not None else (),
        prepend=prepend.times if prepend is not None else 0,
        mode=default if section.mode is None else section.mode,
        falls_percent=section.falls,
        verify_after_s=section.verify_after,
    )
