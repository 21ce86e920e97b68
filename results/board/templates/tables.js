"use strict";
// Sorts tables by column, makes elements and intervals, and marks tables that scroll.

function makeSortable(table, first) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = head.querySelector("button");
    if (!button) return;
    button.addEventListener("click", () => {
      const preferred = head.dataset.first || "descending";
      const other = preferred === "descending" ? "ascending" : "descending";
      sortBy(table, column, head.getAttribute("aria-sort") === preferred ? other : preferred);
    });
  });
  if (first !== undefined) sortBy(table, first, heads[first].dataset.first || "descending");
}

// Unknown values stay at the end in both orders. Rows never leave their group.
function sortBy(table, column, order) {
  [...table.tHead.rows[0].cells].forEach((head, place) => {
    if (place === column) head.setAttribute("aria-sort", order);
    else head.removeAttribute("aria-sort");
  });
  const sign = order === "ascending" ? 1 : -1;
  const value = (row) => (row.cells[column].dataset.value ?? row.cells[column].textContent.trim());
  const unknown = (text) => text === "" || text === "-" || text === "not stated";
  for (const body of table.tBodies) {
    const rows = [...body.rows].filter((row) => row.cells.length > column).map((row) => [value(row), row]);
    rows.sort(([a], [b]) => {
      if (unknown(a) || unknown(b)) return unknown(a) - unknown(b);
      return sign * (isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b);
    });
    body.append(...rows.map(([, row]) => row));
  }
}

const element = (tag, attributes = {}, ...children) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
};

function options(select, values, chosen) {
  select.replaceChildren(...values.map(([value, label]) => element("option", { value }, label)));
  select.value = values.some(([value]) => value === chosen) ? chosen : values[0][0];
}

function remember(form) {
  const parts = [...new FormData(form)].filter(([, value]) => value).map(([key, value]) => `${key}=${encodeURIComponent(value)}`);
  history.replaceState(null, "", `#${parts.join("&")}`);
}

// Names the hidden columns of a table that is wider than its box.
const hint = () => document.querySelectorAll(".scroll").forEach((box) => box.classList.toggle("more", box.scrollWidth > box.clientWidth + 4));
addEventListener("resize", hint);
document.querySelectorAll("table.sortable").forEach((table) => makeSortable(table));
hint();
