// Tabs, and what is drawn when.
const ALL_TABS = [["table", "Table"], ["plots", "Energy, speed, latency"], ["loads", "Under load"], ["runs", "Runs over time"], ["energy", "Energy split"],
  ["compare", "Compare"], ["environment", "Environment"], ["cite", "Cite and copy"]];

let TABS = ALL_TABS;

function openTab(name, drawing, focus) {
  for (const [each] of TABS) {
    const tab = byId(`tab-${each}`);
    tab.setAttribute("aria-selected", String(each === name));
    tab.tabIndex = each === name ? 0 : -1;
    byId(`panel-${each}`).hidden = each !== name;
  }
  if (focus) byId(`tab-${name}`).focus();
  drawing.draw(name);
}

function drawTabs(drawing) {
  const names = TABS.map(([name]) => name);
  byId("tabs").append(...TABS.map(([name, label]) => element("button", { type: "button", role: "tab", id: `tab-${name}`,
    "aria-controls": `panel-${name}`, click: () => openTab(name, drawing) }, label)));
  byId("tabs").addEventListener("keydown", (event) => {
    const at = names.indexOf(event.target.id.replace("tab-", ""));
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: names.length - 1 }[event.key];
    if (to === undefined || at < 0) return;
    event.preventDefault();
    openTab(names[(to + names.length) % names.length], drawing, true);
  });
}

async function main() {
  const data = await reportData();
  // Of results under no load, or one, there is no curve.
  TABS = ALL_TABS.filter(([name]) => name !== "loads" || data.loads.length);
  const drawing = makeDrawing();
  const table = makeTable(data);
  drawHead(data);
  drawTabs(drawing);
  byId("panel-table").append(...table.panel().filter(Boolean));
  byId("panel-plots").append(...plotsPanel(data, table, drawing));
  if (data.loads.length) byId("panel-loads").append(...loadsPanel(data, drawing));
  else byId("panel-loads").remove();
  byId("panel-runs").append(...runsPanel(data, drawing));
  byId("panel-energy").append(...energyPanel(data, table, drawing));
  byId("panel-compare").append(...comparePanel(data, table));
  byId("panel-environment").append(...environmentPanel(data, table));
  byId("panel-cite").append(...citePanel(data));
  byId("loading").remove();
  openTab("table", drawing);
  const again = () => TABS.filter(([name]) => !byId(`panel-${name}`).hidden).forEach(([name]) => drawing.draw(name));
  table.state.watchers.push(again);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  // On paper every part is there.
  addEventListener("beforeprint", () => {
    onPaper = true;
    drawing.all();
  });
  addEventListener("afterprint", () => {
    onPaper = false;
    again();
  });
}

main().catch((error) => {
  const said = byId("loading") || byId("said");
  said.textContent = `This page could not be shown: ${error.message}. It takes a browser of the last years; llem show prints the results.`;
  throw error;
});
