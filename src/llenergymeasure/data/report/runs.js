// One run over time: power, temperature and tokens, with its window and prefill shaded.
const RUN_COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00"];

function runsPanel(data, drawing) {
  const { runs, n_more: nMore } = data.courses;
  if (!runs.length) return [element("h2", {}, "Runs over time"), element("p", {}, "No run could be read.")];
  const select = element("select", { id: "run", change: () => draw() }, runs.map((run, at) => element("option", { value: at }, cut(run.label, 120))));
  const about = element("div");
  const holders = [["power", "power (W)"], ["temperature", "temperature (\u00b0C)"], ["tokens", "output tokens per second"]]
    .map(([key, label]) => ({ key, label, title: element("h2", {}, label), node: element("div", { class: "plot low", id: `course-${key}`, role: "img", "aria-label": `${label} over time; a table is below` }) }));
  const beside = element("details", {}, element("summary", {}, "The same in figures"));

  function shading(course) {
    const { accent, dim } = colours();
    const span = (from, to, colour, opacity) => ({ type: "rect", xref: "x", yref: "paper", x0: from, x1: to, y0: 0, y1: 1,
      fillcolor: colour, opacity, line: { width: 0 }, layer: "below" });
    return [span(0, course.window_s, accent, 0.09), ...(course.steady ? [span(course.steady[0], course.steady[1], accent, 0.12)] : []),
      ...course.prefill.map(([from, to]) => span(from, to, dim, 0.22))];
  }

  function draw() {
    const run = runs[Number(select.value)];
    const { course } = run;
    for (const { key, label, title, node } of holders) {
      const series = course[key];
      title.hidden = node.hidden = !series.length;
      if (!series.length) continue;
      drawInto(node, series.map((each, place) => ({ type: "scatter", mode: "lines", name: plain(each.label), x: each.t, y: each.y,
        line: { color: RUN_COLOURS[place % RUN_COLOURS.length], width: 1.5 } })), {
        shapes: shading(course), showlegend: true, yaxis: { title: { text: label }, rangemode: key === "temperature" ? "normal" : "tozero" },
        xaxis: { title: { text: "seconds from the beginning of the window" } } });
    }
    const missing = holders.filter(({ key }) => !course[key].length).map(({ label }) => label);
    const all = holders.flatMap(({ key }) => course[key]);
    const thinned = all.filter((each) => each.n > each.t.length && !each.label.startsWith("output tokens"));
    about.replaceChildren(list([
      `the energy of this run is ${run.validity.replace("_", " ")}`,
      `light: the window, ${number(course.window_s)} s; darker stripes: a request had no token yet (prefill, or waiting for it)${course.steady ? "; the part that figures are of is shaded once more" : ""}`,
      ...(missing.length ? [`not there: ${missing.join(", ")}`] : []),
      ...(thinned.length ? ["of many readings few are drawn; among them are the least and the greatest of each stretch"] : []),
      ...course.notes, ...run.warnings.map((warning) => `warning: ${warning}`)]));
    beside.replaceChildren(beside.firstElementChild, plainTable("Least, greatest and mean of what is drawn", ["series", "readings", "least", "greatest", "mean"],
      all.map((each) => [each.label, each.n, number(Math.min(...each.y)), number(Math.max(...each.y)),
        number(each.y.reduce((sum, value) => sum + value, 0) / each.y.length)]), [1, 2, 3, 4]));
  }

  drawing.add("runs", draw);
  return [element("h2", {}, "Runs over time"), element("label", {}, "Run", select),
    ...(nMore ? [element("p", {}, `${nMore} more runs are not in this page; llem report with the folder of one shows it.`)] : []),
    about, ...holders.flatMap(({ title, node }) => [title, node]), beside];
}
