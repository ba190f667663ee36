// A table sorts by a click on a head, filters by words, and shows its first rows until asked for all.
for (const table of document.querySelectorAll("table.sorts")) {
  const body = table.tBodies[0], rows = [...body.rows], most = 20, box = table.closest(".scroll");
  const tools = document.createElement("div"), field = document.createElement("input"), all = document.createElement("button");
  let open = rows.length <= most;
  tools.className = "tools";
  field.type = "search";
  field.placeholder = "Filter rows";
  field.setAttribute("aria-label", "Filter rows");
  all.type = "button";
  all.textContent = `Show all ${rows.length} rows`;
  const show = () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of body.rows) {
      const fits = words.every(word => row.textContent.toLowerCase().includes(word));
      row.hidden = !fits || (!open && shown >= most);
      shown += fits;
    }
    all.hidden = open || shown <= most;
  };
  const value = (row, column) => row.cells[column].dataset.value ?? row.cells[column].textContent;
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down > 0 ? "ascending" : "descending");
      rows.sort((a, b) => down * value(a, column).localeCompare(value(b, column), "en", { numeric: true }));
      body.append(...rows);
      show();
    });
  });
  field.addEventListener("input", show);
  all.addEventListener("click", () => { open = true; show(); });
  tools.append(field);
  box.before(tools);
  box.after(all);
  all.className = "all";
  show();
}
