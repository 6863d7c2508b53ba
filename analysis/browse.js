// The browser of records: Grid.js over the JSON in the page. Text from data only ever becomes a text node.
const rows = JSON.parse(document.getElementById("rows").textContent);
const { Grid, h } = gridjs;
const columns = ["evolver", "round", "operation", "reason", "instruction", "output", "scores"];
const long = (text) =>
  text.length < 90 ? text : h("details", {}, h("summary", {}, text.slice(0, 80) + " …"), h("pre", { dir: "auto" }, text));
const filters = [...document.querySelectorAll("#browse select")];
const chosen = () =>
  rows.filter((row) => filters.every((select) => !select.value || String(row[columns.indexOf(select.name)]) === select.value));
const grid = new Grid({
  columns: columns.map((name) => ({ name, formatter: (cell) => long(String(cell)) })),
  data: rows,
  search: true,
  sort: true,
  pagination: { limit: 10 },
}).render(document.getElementById("grid"));
for (const select of filters) {
  for (const value of [...new Set(rows.map((row) => String(row[columns.indexOf(select.name)])))].sort()) {
    select.add(new Option(value || "(none)", value));
  }
  select.addEventListener("change", () => grid.updateConfig({ data: chosen() }).forceRender());
}
