// Two configurations against each other, as llem compare found them when the page was made.
const OF_DIGITS = (value) => (value === null || value === undefined ? NONE : String(Number(value.toPrecision(4))));

function comparePanel(data, table) {
  const { pairs: found, names, why_none: whyNone } = data.comparisons;
  const there = table.rows.filter((row) => row.n > 0);
  const choose = (id, label, at) => element("label", {}, label, element("select", { id, change: () => draw() },
    there.map((row, place) => element("option", { value: row.number, selected: place === at }, cut(`#${row.number} ${row.label}`, 100)))));
  const [first, second] = [choose("compare-a", "A", 0), choose("compare-b", "B, against A", Math.min(1, there.length - 1))];
  const shown = element("div", { id: "compared" });

  function command(a, b) {
    const [ours, theirs] = [names[a], names[b]];
    return ours && theirs ? `llem compare ${ours} ${theirs}` : null;
  }

  function draw() {
    const [a, b] = [first, second].map((label) => Number(label.querySelector("select").value));
    const typed = command(a, b);
    const asked = typed ? [element("p", {}, "The same on the command line:"), element("pre", {}, typed)] : [];
    if (a === b) {
      shown.replaceChildren(element("p", {}, "A and B are the same configuration; choose two."));
      return;
    }
    if (whyNone) {
      shown.replaceChildren(element("p", {}, `Not compared in this page: ${whyNone}.`), ...asked,
        ...(typed ? [] : [element("p", {}, "llem compare takes the folders of the runs of each.")]));
      return;
    }
    const turned = a > b;
    const pair = found[turned ? `${b}-${a}` : `${a}-${b}`];
    if (pair.refused) {
      shown.replaceChildren(element("p", { class: "warning" }, `Not compared: ${pair.refused}`), ...asked);
      return;
    }
    shown.replaceChildren(...ofPair(pair, turned, a, b), ...asked);
  }

  function ofPair(pair, turned, a, b) {
    const [to, from] = turned ? [a, b] : [b, a];
    const note = turned ? [element("p", {}, `The ratio is that of #${to} over #${from}: each two are compared once, the lower number first.`)] : [];
    const value = (of) => (of.value === null ? NONE : `${number(of.value)}${interval(of.low, of.high)}, n=${of.n}`);
    const rows = pair.metrics.map((metric) => {
      const [ours, theirs] = metric.values;
      const [against] = metric.against_first;
      const ratio = against.ratio === null ? NONE
        : `${OF_DIGITS(against.ratio)}${against.low === null || against.low === against.high ? "" : ` (${OF_DIGITS(against.low)} to ${OF_DIGITS(against.high)})`}`;
      const verdict = against.refused && against.ratio === null ? "refused"
        : against.n_needed === null ? against.verdict : `${against.verdict}, ${against.n_needed} runs of each would decide`;
      const why = [against.refused, against.reason, ...against.notes].filter(Boolean);
      return [metric.unit ? `${metric.metric} (${metric.unit})` : metric.metric, value(ours), value(theirs), ratio, verdict, [...new Set(why)].join("; ")];
    });
    const isPackage = ({ name }) => name.startsWith("package.");
    const listed = (some) => some.map(({ kind, name, values }) => [kind, name.replace(/^package\./, ""), ...values.map((of) => of.map(told).join(", "))]);
    const [differences, packages] = [listed(pair.differences.filter((each) => !isPackage(each))), listed(pair.differences.filter(isPackage))];
    const margin = number(100 * pair.margin);
    return [...note, plainTable(`#${to} against #${from}`, ["metric", `#${from}`, `#${to}`, `#${to} / #${from}`, "verdict", "note"], rows, [1, 2, 3]),
      element("p", {}, `Different: the 95 % interval excludes 1 and the ratio is beyond ${margin} %; equivalent: all of the interval is within ${margin} %.`),
      ...(pair.cautions.length ? [list(pair.cautions.map((caution) => `caution: ${caution}`))] : []),
      element("h2", {}, "What else differs"),
      differences.length ? plainTable("Settings, tokens and environment that differ", ["kind", "name", `#${from}`, `#${to}`], differences) : element("p", {}, "Nothing."),
      ...(packages.length ? [element("details", {}, element("summary", {}, `${packages.length} packages that differ`),
        plainTable("Packages that differ", ["kind", "name", `#${from}`, `#${to}`], packages))] : [])];
  }

  function told(value) {
    return value === null ? "not set" : typeof value === "string" ? value : JSON.stringify(value);
  }

  draw();
  return [element("h2", {}, "Two configurations"), element("fieldset", {}, element("legend", {}, "Compare"), first, second), shown];
}
