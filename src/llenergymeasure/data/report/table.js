// The table of configurations: sorted, filtered, and drawn a page at a time, so that thousands of rows stay usable.
const PAGE = 50;
const LIMITS = [
  ["ttft_p95_s", "TTFT p95 at most (s)"],
  ["tpot_p95_s", "TPOT p95 at most (s)"],
  ["e2e_p95_s", "E2E p95 at most (s)"],
  ["energy_per_output_token_j", "Energy at most (J per output token)"],
];

function makeTable(data) {
  const { columns, rows, marks } = data.table;
  const ofKey = Object.fromEntries(columns.map((column) => [column.key, column]));
  const texts = rows.map((row, at) => [row.label, ...columns.filter((column) => column.kind === "text")
    .map((column) => column.values[at] || "")].join("\n").toLowerCase());
  const state = { order: rows.map((_, at) => at), sort: "number", down: false, page: 0, all: false, open: new Set(),
    text: "", limits: {}, citable: false, n_unknown: 0, watchers: [] };

  function passes(at) {
    if (state.text && !texts[at].includes(state.text)) return false;
    if (state.citable && rows[at].validity !== "citable") return false;
    for (const [key, most] of Object.entries(state.limits)) {
      const value = ofKey[key] ? ofKey[key].values[at] : null;
      if (value === null) {
        state.n_unknown += 1;
        return false;
      }
      if (value > most) return false;
    }
    return true;
  }

  function compare(first, second) {
    const values = ofKey[state.sort].values;
    const [ours, theirs] = [values[first], values[second]];
    // What is absent comes last, whichever way is sorted.
    if (ours === null || theirs === null) return (ours === null) - (theirs === null) || first - second;
    const order = typeof ours === "number" && typeof theirs === "number" ? ours - theirs
      : String(ours) < String(theirs) ? -1 : Number(String(ours) > String(theirs));
    return (state.down ? -order : order) || first - second;
  }

  function update() {
    state.n_unknown = 0;
    state.order = rows.map((_, at) => at).filter(passes).sort(compare);
    state.page = 0;
    draw();
    state.watchers.forEach((watch) => watch());
  }

  const status = element("p", { role: "status", id: "table-status" });
  const head = element("thead");
  const body = element("tbody");
  const pager = element("div", { class: "pager" });

  function shownColumns() {
    return columns.filter((column) => column.main || state.all);
  }

  function drawHead() {
    head.replaceChildren(element("tr", {}, shownColumns().map((column) => element("th", {
      scope: "col", class: column.kind === "number" ? "figure" : "",
      "aria-sort": state.sort !== column.key ? "none" : state.down ? "descending" : "ascending",
    }, element("button", { type: "button", "data-key": column.key, click: () => {
      state.down = state.sort === column.key && !state.down;
      state.sort = column.key;
      update();
      head.querySelector(`[data-key="${CSS.escape(column.key)}"]`).focus();
    } }, column.unit ? `${column.label} (${column.unit})` : column.label)))));
  }

  function cell(column, at) {
    const row = rows[at];
    if (column.kind === "text") {
      return element("td", {}, element("div", { class: "cell" }, column.values[at] || NONE));
    }
    const figure = element("td", { class: column.joules ? "figure joules" : "figure" }, column.shown[at]);
    if (column.joules && row.marks && column.values[at] !== null) figure.append(element("sup", {}, row.marks));
    if (row.best.includes(column.key)) figure.append(element("span", { title: "the best mean of its column" }, " *"));
    return figure;
  }

  function rowOf(at) {
    const row = rows[at];
    const cells = shownColumns().map((column) => {
      if (column.key !== "number") return cell(column, at);
      return element("th", { scope: "row" }, element("button", { type: "button", class: "plain",
        "aria-expanded": String(state.open.has(at)), "aria-label": `Row ${row.number}: what has to be known of it`,
        click: () => {
          if (!state.open.delete(at)) state.open.add(at);
          draw();
          body.querySelector(`[data-row="${at}"] button`).focus();
        } }, row.number));
    });
    const drawn = [element("tr", { "data-row": at, class: row.validity === "not_citable" ? "doubted" : "" }, cells)];
    if (state.open.has(at)) {
      drawn.push(element("tr", { class: "more" }, element("td", { colspan: cells.length }, list(about(row)))));
    }
    return drawn;
  }

  function about(row) {
    const reasons = row.flags.map(([flag, meaning]) => `${flag}${meaning ? `: ${meaning}` : ""}`);
    const validity = row.validity ? row.validity.replace("_", " ") : "not known: there is no run";
    return [
      `${row.label}; hash ${row.hash}; ${row.n} of ${row.n_planned} runs, ${row.n_failed} failed`,
      `energy: ${validity}${reasons.length ? ` (${reasons.join("; ")})` : ""}${row.origin ? `; ${row.origin}` : ""}`,
      ...row.notes,
      ...(row.warned.length ? [`warnings: ${row.warned.map(([flag, n]) => `${flag} in ${n}`).join(", ")}`] : []),
    ];
  }

  function draw() {
    const n = state.order.length;
    const nPages = Math.max(1, Math.ceil(n / PAGE));
    const from = state.page * PAGE;
    drawHead();
    body.replaceChildren(...state.order.slice(from, from + PAGE).flatMap(rowOf));
    const unknown = state.n_unknown
      ? `; ${state.n_unknown} are left out because a figure that a limit is on is not known of them` : "";
    status.textContent = `${n} of ${rows.length} rows${n > PAGE ? `, ${from + 1} to ${Math.min(n, from + PAGE)} shown` : ""}${unknown}`;
    const turn = (label, by, off) => element("button", { type: "button", class: "plain", disabled: off, click: () => {
      state.page += by;
      draw();
      const same = pager.querySelector(`[data-turn="${by}"]:not(:disabled)`);
      (same || pager.querySelector("button:not(:disabled)")).focus();
    }, "data-turn": by }, label);
    pager.replaceChildren(...(nPages === 1 ? [] : [
      turn("Previous rows", -1, state.page === 0), `page ${state.page + 1} of ${nPages}`,
      turn("Next rows", 1, state.page === nPages - 1)]));
  }

  function limitInput([key, label]) {
    const known = Boolean(ofKey[key]);
    return element("label", {}, label, element("input", { type: "number", min: "0", step: "any", id: `limit-${key}`,
      disabled: !known, placeholder: known ? "" : "not known", input: (event) => {
        const value = event.target.valueAsNumber;
        if (Number.isNaN(value)) delete state.limits[key];
        else state.limits[key] = value;
        update();
      } }));
  }

  function filters() {
    const form = element("form", { submit: (event) => event.preventDefault(), reset: () => {
      Object.assign(state, { text: "", limits: {}, citable: false, all: false });
      update();
    } }, element("fieldset", {}, element("legend", {}, "Show only rows"),
      element("label", {}, "with the text", element("input", { type: "search", id: "filter-text", input: (event) => {
        state.text = event.target.value.toLowerCase();
        update();
      } })),
      LIMITS.map(limitInput),
      element("label", { class: "beside" }, element("input", { type: "checkbox", id: "filter-citable", change: (event) => {
        state.citable = event.target.checked;
        update();
      } }), "citable energy"),
      element("button", { type: "reset", class: "plain", id: "filter-reset" }, "All rows"),
      element("label", { class: "beside" }, element("input", { type: "checkbox", id: "all-columns", change: (event) => {
        state.all = event.target.checked;
        draw();
      } }), "all columns")));
    return form;
  }

  function panel() {
    const used = [...new Set(rows.map((row) => row.marks).join(""))].sort();
    const more = data.table.n_more_remarks ? [["more", `${data.table.n_more_remarks} more remarks are in summary.md`]] : [];
    drawHead();
    update();
    return [element("h2", {}, "Configurations"), filters(), status,
      element("div", { class: "scrolled", tabindex: "0", role: "region", "aria-label": "Table of configurations" },
        element("table", { id: "table" }, element("caption", {},
          "A row for each configuration. The head of a column sorts; the number of a row opens what has to be known of it."),
        head, body)),
      pager, ...used.map((mark) => element("p", {}, element("sup", {}, mark), ` ${marks[mark]}`)),
      ofKey.ttft_p95_s || ofKey.e2e_p95_s || ofKey.tpot_p95_s ? element("p", {},
        "A p95 is the largest of the runs of a row, and is there where each run has 20 independent values or more. The limit on energy is held against the mean.") : null,
      element("h2", {}, "What has to be known"),
      list([...data.table.remarks, ...more].map(([label, text]) => `${label}: ${text}`)),
      element("p", {}, data.table.totals)];
  }

  return { panel, state, rows, ofKey, update };
}
