"use strict";
// Helpers of all pages. All text from results goes through textContent, so that a model's name or a question is never markup.
const page = (() => {
  const byId = (id) => document.getElementById(id);
  const root = document.documentElement;
  const announce = (text) => { byId("status").textContent = text; };
  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children.filter((child) => child !== null));
    return element;
  }
  // Tables as CSV (RFC 4180), with a quote before text that a spreadsheet would run as a formula

  function csvCell(cell) {
    const text = cell.textContent.replace(/\s+/g, " ").trim();
    const formula = /^[=+\-@＝＋－＠]/.test(text) && text !== "-" && !/^[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?$/i.test(text);
    return `"${(formula ? `'${text}` : text).replaceAll('"', '""')}"${",".repeat(cell.colSpan - 1)}`;
  }
  function offerCsv(table) {
    const button = make("button", { type: "button", class: "csv" }, "CSV", make("span", { class: "visually-hidden" }, ` of ${table.caption.textContent}`));
    button.addEventListener("click", () => {
      const lines = [...table.rows].filter((row) => !row.hidden).map((row) => [...row.cells].filter((cell) => !cell.classList.contains("pick")).map(csvCell).join(","));
      const link = make("a", { href: URL.createObjectURL(new Blob([`${lines.join("\r\n")}\r\n`], { type: "text/csv" })), download: `${table.className || "table"}.csv` });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    });
    table.after(button);
  }

  // Theme: the reader's choice, or the system's; `redraw` follows a change

  function isDark() {
    const chosen = root.dataset.theme;
    return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  }
  function theme(redraw = () => {}) {
    const label = () => {
      byId("theme").textContent = isDark() ? "Light" : "Dark";
      byId("theme").setAttribute("aria-label", isDark() ? "Light colours" : "Dark colours");
    };
    byId("theme").addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; label(); redraw(); });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { label(); redraw(); });
    label();
  }

  return { byId, announce, make, offerCsv, isDark, theme };
})();
