// What was measured on, which settings, how to cite and repeat it; and the head of the page.
function environmentPanel(data, table) {
  const differing = table.ofKey && data.table.columns.filter((column) => column.key.startsWith("setting."));
  const rows = table.rows.slice(0, LISTED).map((row, at) => [`#${row.number}`, ...differing.map((column) => {
    const value = column.values[at];
    return value === null ? "not set" : String(value);
  })]);
  return [element("h2", {}, "Machines"),
    ...data.environments.flatMap(({ n, facts, packages }, place) => [
      element("h3", {}, `Environment ${place + 1}, of ${n} ${n === 1 ? "run" : "runs"}`), pairs(facts),
      element("details", {}, element("summary", {}, `${packages.length} packages`), list(packages.map(([name, version]) => `${name} ${version}`)))]),
    ...(data.n_not_read ? [element("p", {}, `${data.n_not_read} more runs were not read for this.`)] : []),
    element("h2", {}, "Settings that differ"),
    differing.length ? plainTable(`${rows.length} of ${table.rows.length} rows`, ["row", ...differing.map((column) => column.label)], rows)
      : element("p", {}, "None: there is one configuration."),
    element("h2", {}, "Settings that all have alike"), pairs(data.settings.alike)];
}

function citePanel(data) {
  const { texts } = data;
  const block = (id, title, text, about) => [element("h2", {}, title), ...(about ? [element("p", {}, about)] : []),
    copyButton(`Copy ${title}`, () => text, `copy-${id}`), element("pre", { tabindex: "0", "aria-label": title, id: `text-${id}` }, text)];
  return [
    ...block("markdown", "Markdown", texts.markdown, "The table of configurations, for an issue."),
    ...block("latex", "LaTeX", texts.latex, "A row for each run, with notes on joules that are modelled or not citable."),
    ...block("bibtex", "BibTeX", texts.bibtex, "The tool that measured."),
    ...(texts.methods ? block("methods", "Methods", texts.methods, "How the result came about.") : []),
    ...block("command", "Command", texts.command, "What measures the same again."),
    ...block("report", "Page", texts.report, "What makes this page again."),
  ];
}

function drawHead(data) {
  const { title, facts, banner, cautions, problems } = data.head;
  document.title = `${cut(title, 80)}: energy of LLM inference`;
  byId("title").textContent = title;
  const box = byId("banner");
  box.className = banner.verdict;
  box.append(element("p", { class: "headline" }, banner.headline), ...(banner.reasons.length ? [list(banner.reasons)] : []));
  byId("facts").replaceWith(pairs(facts));
  if (cautions.length || problems.length) {
    byId("cautions").append(list([...cautions.map((text) => `caution: ${text}`), ...problems.slice(0, 20).map((text) => `problem: ${text}`)]));
  }
  byId("footer").textContent = `Made by llem ${data.tool_version} from results alone. Nothing in this page leaves it, and it fetches nothing.`;
}
