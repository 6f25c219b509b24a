"""The order in which a result is worked out again."""

from collections.abc import Iterator
from pathlib import Path

from llenergymeasure.results.verification.bundle import FIRST_WITH_SUMS, NEWEST, RESULT, Bundle, read_bundle
from llenergymeasure.results.verification.energy import verify_readings
from llenergymeasure.results.verification.figures import verify_figures
from llenergymeasure.results.verification.findings import Report, shown
from llenergymeasure.results.verification.load import verify_load
from llenergymeasure.results.verification.places import places_of
from llenergymeasure.results.verification.quality import verify_quality
from llenergymeasure.results.verification.raw_results import verify_raws
from llenergymeasure.results.verification.requests import verify_requests
from llenergymeasure.results.verification.schema import check_form
from llenergymeasure.results.verification.validity import verify_validity

# Where one row is lost, all that come after it may differ.
_MOST_LINES = 40
_MOST_NAMES = 12


def verify(folder: Path) -> Report:
    """Work the result in a folder out again from its files alone; whatever they hold, this raises nothing."""
    report = Report(folder)
    with report.part(RESULT):
        bundle = read_bundle(folder, report)
        if bundle.revision > NEWEST:
            report.damaged("schema_revision", f"it is {bundle.revision}, and {NEWEST} is the last one known here")
            return report
        if bundle.revision < FIRST_WITH_SUMS:
            report.schema_revision = bundle.revision
        check_form(bundle, report)
        _work_out(bundle, report)
    return report


def _work_out(bundle: Bundle, report: Report) -> None:
    served = verify_requests(bundle, report)
    verify_raws(bundle, served, report)
    with report.part("energy_devices"):
        verify_readings(bundle, report)
    verify_figures(bundle, report)
    with report.part("load"):
        verify_load(bundle, served, report)
    verify_quality(bundle, report)
    verify_validity(bundle, report)


def reports_of(path: Path) -> Iterator[Report]:
    """What is found in each result that a path means, and in the end what is to be said of where they lie.

    Where there is none, that is what the report says.
    """
    places = places_of(path)
    yield from map(verify, places.results)
    if places.report.findings:
        yield places.report
    if not places.results:
        yield verify(path)


def in_lines(report: Report) -> Iterator[str]:
    """What was found, a line for each finding, of many of a kind the first ones, and one for the whole."""
    findings, folder = report.findings, in_one_line(str(report.folder))
    counts = {kind: sum(f.kind == kind for f in findings) for kind in ("damaged", "differs", "not verifiable")}
    for kind, n in counts.items():
        of_kind = [str(finding) for finding in findings if finding.kind == kind]
        yield from (f"{folder}: {shown_line(text)}" for text in of_kind[:_MOST_LINES])
        if n > _MOST_LINES:
            yield f"{folder}: {kind}: and {n - _MOST_LINES} more"
    told = ", ".join(f"{n} {kind}" for kind, n in counts.items() if n)
    verdict = "agrees" if report.agrees else "does not agree"
    if report.schema_revision is not None and report.agrees:
        verdict = f"agrees as far as revision {report.schema_revision} can be verified"
        names = list(dict.fromkeys(shown(f.name) for f in findings if f.kind == "not verifiable"))
        told += f" ({', '.join(names[:_MOST_NAMES])}{', and more' if len(names) > _MOST_NAMES else ''})"
    yield f"{folder}: {verdict}: {report.n_agreed} figures derived again{f', {told}' if told else ''}"


def in_one_line(name: str) -> str:
    """A name in full that begins no line of its own."""
    return name if name.isprintable() else name.encode("unicode_escape", "backslashreplace").decode("ascii")


def shown_line(text: str) -> str:
    """A text that begins no line of its own."""
    return text if text.isprintable() else shown(text)
