// Plots of the table: energy against throughput and latency with the front, and what the energy is made of.
const MOST_POINTS = 2000;
const MOST_BARS = 40;
const LISTED = 200;

// Paper is white, whatever the scheme of the screen.
const PAPER = { paper: "#ffffff", ink: "#000000", rule: "#c9ced4", accent: "#005a9c", bad: "#8c0d18", dim: "#565c63", shade: "#f2f4f6" };
let onPaper = false;

function colours() {
  if (onPaper) return PAPER;
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(name).trim();
  return { paper: of("--paper"), ink: of("--ink"), rule: of("--rule"), accent: of("--accent"), bad: of("--bad"), dim: of("--dim"),
    shade: of("--shade") };
}

function drawInto(holder, traces, layout) {
  const { paper, ink, rule } = colours();
  const axis = { gridcolor: rule, zerolinecolor: rule, linecolor: rule, automargin: true };
  const laid = { paper_bgcolor: paper, plot_bgcolor: paper, font: { color: ink, family: "system-ui, sans-serif", size: 13 },
    margin: { t: 50, r: 20, b: 55, l: 70 }, legend: { orientation: "h", y: 1.02, yanchor: "bottom" }, showlegend: true, hovermode: "closest", ...layout };
  for (const name of Object.keys(laid).filter((key) => /^[xy]axis/.test(key))) laid[name] = { ...axis, ...laid[name] };
  return Plotly.react(holder, traces, laid, { responsive: true, displaylogo: false });
}

// Plots are drawn when they are first seen, and again for another scheme of colours or for paper.
function makeDrawing() {
  const known = new Map();
  return {
    add(panel, draw) {
      known.set(panel, [...(known.get(panel) || []), draw]);
    },
    draw(panel) {
      (known.get(panel) || []).forEach((draw) => draw());
    },
    all() {
      known.forEach((draws) => draws.forEach((draw) => draw()));
    },
  };
}

function bars(column, at, from) {
  const [low, high] = [column.low ? column.low[at] : null, column.high ? column.high[at] : null];
  if (low === null || high === null) return 0;
  return from === "above" ? Math.max(0, high - column.values[at]) : Math.max(0, column.values[at] - low);
}

function errorBars(column, places, colour) {
  return { type: "data", symmetric: false, array: places.map((at) => bars(column, at, "above")),
    arrayminus: places.map((at) => bars(column, at, "below")), color: colour, thickness: 1, width: 3 };
}

function scatterPlot(table, plot) {
  const [x, y] = [table.ofKey[plot.x], table.ofKey[plot.y]];
  const id = `plot-${plot.x}`;
  const holder = element("div", { class: "plot", id, role: "img" });
  const said = element("p", { role: "status" });
  const beside = element("details", {}, element("summary", {}, "The same as a table"));
  const title = `${y ? y.label : "energy per output token"} against ${x ? `${x.label} (${x.unit})` : plot.x}`;
  if (!x || !y) return { nodes: [element("h2", {}, title), element("p", {}, "No row has both.")], draw: () => {} };
  holder.setAttribute("aria-label", `${title}; the same is in the table below`);

  function draw() {
    const { ink, accent, bad } = colours();
    const both = (at) => x.values[at] !== null && y.values[at] !== null;
    const wanted = table.state.order.filter(both);
    const onFront = (at) => table.rows[at].fronts.includes(plot.x);
    const front = table.rows.map((_, at) => at).filter((at) => both(at) && onFront(at))
      .sort((first, second) => x.values[first] - x.values[second] || y.values[first] - y.values[second]);
    const step = Math.ceil(wanted.length / MOST_POINTS);
    const drawn = wanted.filter((at, place) => onFront(at) || place % step === 0);
    const hover = (at) => plain(`#${table.rows[at].number} ${table.rows[at].label}`, 120)
      + `<br>${plain(x.label)}: ${x.shown[at]} ${plain(x.unit)}<br>${plain(y.label)}: ${y.shown[at]} ${plain(y.unit)}`;
    const trace = (name, places, marker) => ({ type: "scatter", mode: "markers", name, x: places.map((at) => x.values[at]),
      y: places.map((at) => y.values[at]), hovertext: places.map(hover), hoverinfo: "text", marker,
      error_x: errorBars(x, places, marker.color), error_y: errorBars(y, places, marker.color) });
    const doubted = (at) => table.rows[at].validity === "not_citable" || table.rows[at].marks.includes("a");
    const traces = [
      trace("configurations", drawn.filter((at) => !doubted(at)), { color: accent, size: 8 }),
      trace("modelled or not citable", drawn.filter(doubted), { color: bad, size: 9, symbol: "x-open" }),
    ].filter((each) => each.x.length);
    if (front.length) {
      traces.push({ type: "scatter", mode: "lines+markers", name: "Pareto front", x: front.map((at) => x.values[at]),
        y: front.map((at) => y.values[at]), hovertext: front.map(hover), hoverinfo: "text",
        // Between two points that is had which the one does that keeps to both.
        line: { shape: plot.better === "more" ? "vh" : "hv", color: ink, width: 1.5, dash: "dot" },
        marker: { color: ink, size: 12, symbol: "circle-open", line: { width: 2 } } });
    }
    drawInto(holder, traces, { xaxis: { title: { text: plain(`${x.label} (${x.unit})`) } }, yaxis: { title: { text: plain(`${y.label} (${y.unit})`) } } });
    const thinned = drawn.length < wanted.length ? ` ${drawn.length} of ${wanted.length} points are drawn: all on the front, and every ${step}th of the others.` : "";
    const none = front.length ? "" : " There is no front: see what has to be known, below the table.";
    said.textContent = `${wanted.length} of the rows that the table shows have both. Bars are 95 % intervals of means, where there are three runs or more.${thinned}${none}`;
    const listed = [...new Set([...front.filter((at) => wanted.includes(at)), ...wanted])].slice(0, LISTED);
    beside.replaceChildren(beside.firstElementChild, plainTable(`${title}${listed.length < wanted.length ? `: ${listed.length} of ${wanted.length} rows, those on the front first` : ""}`,
      ["row", "configuration", x.label, y.label, "on the front"],
      listed.map((at) => [`#${table.rows[at].number}`, cut(table.rows[at].label, 200), x.shown[at], y.shown[at], onFront(at) ? "yes" : "no"]), [2, 3]));
  }
  return { nodes: [element("h2", {}, title), said, holder, beside], draw };
}

function plotsPanel(data, table, drawing) {
  const made = data.plots.map((plot) => scatterPlot(table, plot));
  made.forEach(({ draw }) => drawing.add("plots", draw));
  return made.flatMap(({ nodes }) => nodes);
}

// Parts of a bar: where the data has it, its name, its colour.
const PARTS = [["idle", "idling, before the model is loaded", "#8a8f98"],
  ["loaded", "with the model loaded and nothing asked, beyond idling where that is known", "#56b4e9"],
  ["above", "above that: what the work takes", "#d55e00"], ["whole", "all of it: idle power was not measured", "#cc79a7"]];
const PHASES = [["prefill.idle", "prefill: idling meanwhile", "#8a8f98"], ["prefill.net", "prefill: above idling", "#0072b2"],
  ["decode.idle", "decode: idling meanwhile", "#8a8f98"], ["decode.net", "decode: above idling", "#e69f00"]];

function energyPanel(data, table, drawing) {
  const holder = element("div", { class: "plot", id: "plot-energy", role: "img", "aria-label": "Energy of a window in its parts; the same is in the table below" });
  const phases = element("div", { class: "plot", id: "plot-phases", role: "img", "aria-label": "Energy of prefill and decode; the same is in the table below" });
  const said = element("p", { role: "status" });
  const beside = element("div");
  const anyPhases = data.energy.some((each) => each.phases);

  function stack(into, places, parts, value) {
    const labels = places.map((at) => `#${table.rows[at].number}`);
    const traces = parts.map(([key, name, colour]) => ({ type: "bar", name, x: labels, y: places.map((at) => value(data.energy[at], key)),
      marker: { color: colour, pattern: { shape: key.endsWith(".idle") ? "/" : "" } },
      hovertext: places.map((at) => plain(`${table.rows[at].label}: ${number(value(data.energy[at], key))} J ${name}`, 160)), hoverinfo: "text" }));
    drawInto(into, traces, { barmode: "relative", xaxis: { type: "category", title: { text: "row of the table" } }, yaxis: { title: { text: "energy (J)" } } });
  }

  function draw() {
    const places = table.state.order.filter((at) => !data.energy[at].why_none).slice(0, MOST_BARS);
    const parts = PARTS.filter(([key]) => places.some((at) => given(data.energy[at][key])));
    stack(holder, places, parts, (of, key) => (given(of[key]) ? of[key] : null));
    const withPhases = table.state.order.filter((at) => data.energy[at].phases).slice(0, MOST_BARS);
    if (anyPhases) {
      stack(phases, withPhases, PHASES, phasePart);
    }
    const left = table.state.order.filter((at) => data.energy[at].why_none);
    const why = [...new Set(left.map((at) => data.energy[at].why_none))].slice(0, 3).join("; ");
    said.textContent = `The first ${places.length} rows that the table shows and that have energy, each part the arithmetic mean of runs.`
      + (left.length ? ` ${left.length} rows have no parts (${why}).` : "")
      + " A part below zero is what readings and noise make of one that is hardly there.";
    beside.replaceChildren(plainTable("Energy of the window (J)", ["row", "configuration", ...parts.map(([, name]) => name), "runs", "validity"],
      places.map((at) => [`#${table.rows[at].number}`, cut(table.rows[at].label, 200), ...parts.map(([key]) => number(data.energy[at][key])), data.energy[at].n,
        (table.rows[at].validity || "").replace("_", " ")]), [2, 3, 4, 5].slice(0, parts.length + 1)),
    ...(anyPhases ? [plainTable("Prefill and decode, of windows of their own (J)", ["row", "prefill, gross", "prefill, net", "decode, gross", "decode, net", "resolved", "runs"],
      withPhases.map((at) => {
        const { prefill, decode, n } = data.energy[at].phases;
        return [`#${table.rows[at].number}`, number(prefill.gross) + interval(prefill.low, prefill.high), number(prefill.net),
          number(decode.gross) + interval(decode.low, decode.high), number(decode.net),
          prefill.resolved && decode.resolved ? "both" : prefill.resolved ? "prefill only" : decode.resolved ? "decode only" : "neither", n];
      }), [1, 2, 3, 4, 6])] : []));
  }

  drawing.add("energy", draw);
  return [element("h2", {}, "What the energy of a window is made of"), said, holder,
    ...(anyPhases ? [element("h2", {}, "Prefill and decode"),
      element("p", {}, "Gross is all that was read in the phase, net without idling for as long. Phases are of windows of their own; unresolved ones may be nothing."), phases]
      : [element("p", {}, "Prefill and decode were not measured apart in any run that was read.")]), beside];
}

function phasePart(of, key) {
  const [phase, part] = key.split(".");
  const { gross, net } = of.phases[phase];
  if (part === "net") return net === null ? gross : net;
  return net === null ? null : gross - net;
}
