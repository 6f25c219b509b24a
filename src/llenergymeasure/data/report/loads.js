// Curves over load: energy and latency against how much comes, with what was promised.
const LOAD_COLOURS = ["#0072b2", "#009e73", "#cc79a7"];

function loadsPanel(data, drawing) {
  return data.loads.flatMap((curve, place) => loadCurve(curve, place, drawing));
}

function loadCurve(curve, place, drawing) {
  const named = `${curve.axis}${curve.told ? ` (${curve.told})` : ""}`;
  const steady = curve.points.map((_, at) => at).filter((at) => !curve.points[at].overloaded);
  const over = curve.points.map((_, at) => at).filter((at) => curve.points[at].overloaded);
  const asked = (places) => places.map((at) => curve.points[at].asked);

  function traces(lines) {
    const { bad } = colours();
    return lines.flatMap((line, number) => {
      const colour = LOAD_COLOURS[number % LOAD_COLOURS.length];
      const column = { values: line.values, low: line.low, high: line.high };
      const known = (places) => places.filter((at) => line.values[at] !== null);
      const of = (name, places, marker, mode) => ({ type: "scatter", mode, name, x: asked(places), y: places.map((at) => line.values[at]),
        marker, line: { color: colour, width: 1.5 }, error_y: errorBars(column, places, marker.color) });
      const made = [of(line.label, known(steady), { color: colour, size: 8 }, "lines+markers")];
      if (known(over).length) made.push(of(`${line.label}, overloaded`, known(over), { color: bad, size: 10, symbol: "x-open" }, "markers"));
      if (given(line.promised)) {
        const ends = [curve.points[0].asked, curve.points[curve.points.length - 1].asked];
        made.push({ type: "scatter", mode: "lines", name: `SLO: ${line.label} ${line.promised} s`, x: ends, y: ends.map(() => line.promised),
          line: { color: colour, width: 2, dash: "dash" }, hoverinfo: "name" });
      }
      return made;
    });
  }

  function figure(key, label, lines, knee) {
    const node = element("div", { class: "plot", id: `load-${place}-${key}`, role: "img", "aria-label": `${label} against ${named}; the same is in the table below` });
    drawing.add("loads", () => {
      const { dim, accent } = colours();
      const mark = (x, colour, dash) => ({ type: "line", xref: "x", yref: "paper", x0: x, x1: x, y0: 0, y1: 1, line: { color: colour, width: 1, dash } });
      drawInto(node, traces(lines), { shapes: [...(given(knee) ? [mark(knee, dim, "dot")] : []),
        ...(given(curve.highest_kept) ? [mark(curve.highest_kept, accent, "dash")] : [])],
      xaxis: { title: { text: plain(`${curve.axis} (${curve.unit})`) } }, yaxis: { title: { text: label }, rangemode: "tozero" } });
    });
    return [element("h3", {}, `${label} against load`), node];
  }

  const lines = [...curve.energy, ...curve.latency];
  const verdict = { true: "met", false: "NOT met", null: NONE };
  const rows = curve.points.map((point, at) => [number(point.asked), number(point.came), point.n,
    ...lines.map((line) => number(line.values[at]) + interval(line.low[at], line.high[at])), verdict[point.slo_met], point.overloaded ? "OVERLOADED" : ""]);
  const head = [curve.axis, "requests/s that came", "runs", ...lines.map((line) => line.label + (line.name.endsWith("_s") ? " (s)" : "")), "SLO", "note"];
  return [element("h2", {}, `Over ${named}`), list(curve.remarks),
    element("p", {}, "Bars are 95 % intervals of means, where there are three runs or more. The dotted line is the knee; a dashed one across is what was promised, one upright the highest load at which all of it was kept. Overloaded points are joined to nothing."),
    ...(curve.energy.length ? figure("energy", "energy (J)", curve.energy, curve.knees.energy) : []),
    ...(curve.latency.length ? figure("latency", "latency (s)", curve.latency, curve.knees.latency) : []),
    plainTable(`Points over ${named}`, head, rows, head.map((_, column) => column).slice(1, 3 + lines.length))];
}
