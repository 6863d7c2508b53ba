// The browser of records: Grid.js over the JSON in the page. Text from data only ever becomes a text node.
const rows = JSON.parse(document.getElementById("rows").textContent);
const { Grid, h } = gridjs;
const columns = ["evolver", "round", "operation", "reason", "instruction", "output", "scores"];
const long = (text) =>
  text.length < 90 ? text : h("details", {}, h("summary", {}, text.slice(0, 80) + " …"), h("pre", { dir: "auto" }, text));
const filters = [...document.querySelectorAll("#browse select")];
// not the search of Grid.js, which together with its sorting and its pages reports an error of its own
const search = document.querySelector("#browse input");
const texts = rows.map((row) => row.join("\n").toLowerCase());
const chosen = () =>
  rows.filter(
    (row, number) =>
      texts[number].includes(search.value.toLowerCase()) &&
      filters.every((select) => !select.value || String(row[columns.indexOf(select.name)]) === select.value.slice(1)),
  );
const grid = new Grid({
  columns: columns.map((name) => ({ name, formatter: (cell) => long(String(cell)) })),
  data: rows,
  sort: true,
  pagination: { limit: 10 },
}).render(document.getElementById("grid"));
const show = () => grid.updateConfig({ data: chosen() }).forceRender();
for (const select of filters) {
  for (const value of [...new Set(rows.map((row) => String(row[columns.indexOf(select.name)])))].sort()) {
    select.add(new Option(value || "(none)", "=" + value)); // "(none)" is a choice too, other than "all"
  }
  select.addEventListener("change", show);
}
let waiting;
search.addEventListener("input", () => {
  clearTimeout(waiting);
  waiting = setTimeout(show, 200);
});
