"use strict";
// All text from results goes through textContent, so that a model's name or a question is never markup.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const at = (id) => document.getElementById(id);
  const root = document.documentElement;
  const MOST = 8;
  const TEXT = 12; // pixels, of all text in plots
  const sections = [...document.querySelectorAll(".board")];
  const state = { board: 0, picks: data.boards.map(() => new Set()), model: data.boards.map(() => null) };

  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children.filter((child) => child !== null));
    return element;
  }
  const say = (text) => { at("status").textContent = text; };
  const board = () => data.boards[state.board];
  const picked = () => board().rows.filter((row, place) => state.picks[state.board].has(place));

  // Links to the signatures of numbers, by model and mode; the list of several is folded

  const signature = (place, mode, text) => (board().rows[place].signatures[mode]
    ? make("a", { href: `#s-${state.board}-${place}-${mode}`, title: "the signature of this number" }, text) : text);
  function signed(id, places, wanted) {
    const items = places.map((place) => {
      const links = wanted.filter((mode) => board().rows[place].signatures[mode]).flatMap((mode) => [" ", signature(place, mode, mode)]);
      return links.length ? make("li", {}, make("bdi", {}, board().rows[place].label), ":", ...links) : null;
    }).filter((item) => item);
    at(id).replaceChildren(...(items.length ? [make("details", { class: "signed" }, make("summary", {}, `Signatures of these numbers (${items.length})`), make("ul", {}, ...items))] : []));
  }

  // Leaderboards: a column to pick models, headings that sort

  function enhance(section, number) {
    const table = section.querySelector(".leaderboard");
    const heading = table.tHead.rows[0];
    heading.prepend(make("th", { scope: "col", class: "pick" }, "pick"));
    for (const row of table.tBodies[0].rows) {
      const place = Number(row.dataset.row);
      const box = make("input", { type: "checkbox", "aria-label": `pick ${data.boards[number].rows[place].label}` });
      box.addEventListener("change", () => pick(number, place, box));
      row.prepend(make("td", { class: "pick" }, box));
    }
    for (const cell of heading.querySelectorAll("th[data-column]")) {
      const column = Number(cell.dataset.column);
      const button = make("button", { type: "button" }, cell.textContent);
      button.addEventListener("click", () => sort(table, number, column, cell));
      cell.replaceChildren(button);
    }
    const first = data.boards[number].columns.findIndex((column) => column.name === data.boards[number].sorted_by);
    const lower = data.boards[number].columns[first]?.lower;
    heading.querySelector(`th[data-column="${first}"]`)?.setAttribute("aria-sort", lower ? "ascending" : "descending");
    data.boards[number].rows.forEach((row, place) => {
      if (state.picks[number].size < 3 && row.measured) {
        state.picks[number].add(place);
        table.querySelector(`tr[data-row="${place}"] input`).checked = true;
      }
    });
    state.model[number] = data.boards[number].rows.findIndex((row) => row.closeup);
  }

  function pick(number, place, box) {
    const picks = state.picks[number];
    if (box.checked && picks.size >= MOST) {
      box.checked = false;
      say(`No more than ${MOST} models can be picked: unpick one first.`);
      return;
    }
    if (box.checked) picks.add(place); else picks.delete(place);
    say(`${picks.size} models picked.`);
    draw();
  }

  function sort(table, number, column, heading) {
    const about = data.boards[number].columns[column];
    const best = about.measure && !about.lower ? "descending" : "ascending";
    const now = heading.getAttribute("aria-sort");
    const direction = now === null ? best : now === "ascending" ? "descending" : "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", direction);
    const sign = direction === "ascending" ? 1 : -1;
    const value = (row) => data.boards[number].rows[Number(row.dataset.row)].cells[column][2];
    const rows = [...table.tBodies[0].rows].sort((one, other) => {
      const [less, more] = [one, other].map((row) => data.boards[number].rows[Number(row.dataset.row)].incomplete.length > 0);
      if (less !== more) return less - more; // a mean over fewer languages is compared with none
      const [a, b] = [value(one), value(other)];
      if (a === null || b === null) return (a === null) - (b === null);
      return sign * (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));
    });
    table.tBodies[0].append(...rows);
    table.querySelector("caption .order").textContent = `sorted by ${about.header}, ${direction}`;
    say(`Sorted by ${about.header}, ${direction}.`);
  }

  function find() {
    const wanted = at("find").value.trim().toLowerCase();
    let left = 0;
    for (const row of sections[state.board].querySelectorAll(".leaderboard tbody tr")) {
      row.hidden = !board().rows[Number(row.dataset.row)].label.toLowerCase().includes(wanted);
      left += row.hidden ? 0 : 1;
    }
    say(`${left} of ${board().rows.length} models.`);
  }

  // Plots

  function colours(room) {
    const style = getComputedStyle(root);
    const [ink, soft, line] = ["--ink", "--soft", "--line"].map((name) => style.getPropertyValue(name).trim());
    return {
      background: "transparent",
      font: "system-ui, sans-serif",
      axis: { labelColor: soft, titleColor: ink, gridColor: line, domainColor: line, tickColor: line, titleFontWeight: 500, labelFontSize: TEXT, titleFontSize: TEXT },
      legend: { labelColor: ink, titleColor: ink, labelFontSize: TEXT, labelLimit: Math.max(120, room - 60), columns: 1, layout: { bottom: { anchor: "start", direction: room >= 540 ? "horizontal" : "vertical" } } },
      header: { labelColor: ink, labelFontSize: TEXT + 1 },
      view: { stroke: line },
    };
  }

  // Panels side by side where there is room, and never so wide that their text would be made smaller to fit
  function fitted(spec, room) {
    const columns = room >= 540 ? 2 : 1;
    const width = Math.max(150, Math.min(300, Math.floor(room / columns) - 80));
    const panel = (one) => (typeof one.width === "number" ? { ...one, width } : one);
    const found = { ...panel(spec), ...(spec.columns ? { columns } : {}) };
    if (spec.concat) found.concat = spec.concat.map(panel);
    if (spec.spec) found.spec = panel(spec.spec);
    return found;
  }

  function plot(id, values, change = (spec) => spec) {
    const room = at(id).clientWidth;
    const spec = change({ ...structuredClone(fitted(data.specs[id], room)), datasets: { values } });
    // ast: Vega interprets its expressions, as the page's policy forbids to compile them
    const options = { mode: "vega-lite", ast: true, actions: false, renderer: "svg", defaultStyle: false, config: colours(room), tooltip: { theme: dark() ? "dark" : "light" } };
    return vegaEmbed(at(id), spec, options).catch((error) => { at(id).textContent = `This plot failed: ${error.message}`; throw error; });
  }

  function tradeoff() {
    const modes = ["mono:AP", "cross:AP", "multi:AP"];
    const picks = state.picks[state.board];
    const all = at("reported").checked;
    at("reported-label").hidden = board().rows.every((row) => row.measured);
    const rows = board().rows.map((row, place) => [row, place])
      .filter(([row, place]) => !row.incomplete.length && (row.measured || all || picks.has(place)));
    const drawn = rows.some(([row]) => modes.every((mode) => typeof row.values[mode] === "number"));
    at("tradeoff-figure").hidden = !drawn; // an axis without a point breaks the whole drawing
    if (!drawn) return null;
    const values = rows.map(([row, place]) => ({
      model: row.label, measured: row.measured, picked: picks.has(place),
      mono: row.values["mono:AP"], cross: row.values["cross:AP"], multi: row.values["multi:AP"],
    }));
    signed("tradeoff-signed", rows.filter(([row]) => modes.some((mode) => typeof row.values[mode] === "number")).map(([, place]) => place), ["mono", "cross", "multi"]);
    const domain = values.filter((one) => one.picked).map((one) => one.model);
    return plot("tradeoff", values, (spec) => {
      for (const { layer } of spec.concat) {
        const { color, shape } = layer[1].encoding;
        let next = 0;
        const range = values.filter((one) => one.picked).map((one) => (one.measured ? shape.scale.range[next++] : data.reported_shape));
        color.scale = { ...color.scale, domain };
        shape.scale = { domain, range };
      }
      return spec;
    });
  }

  function distances() {
    const rows = picked().filter((row) => row.closeup && row.closeup.distances.length);
    at("distances-figure").hidden = !rows.length;
    signed("distances-signed", rows.map((row) => board().rows.indexOf(row)), ["multi"]);
    if (!rows.length) return null;
    return plot("distances", rows.flatMap((row) => row.closeup.distances.map((share, bar) => ({
      model: row.label, share, distance: ((bar + 0.5) * row.closeup.pool) / data.bins, random: row.closeup.random,
    }))));
  }

  function alpha() {
    const points = board().sweep;
    at("alpha-figure").hidden = !points.length;
    signed("alpha-signed", [...new Set(points.map((point) => point.row))], ["mono", "cross", "multi"]);
    return points.length ? plot("alpha", points.map((point) => ({ ...point, model: board().rows[point.row].label }))) : null;
  }

  // One model: heat map and worst questions

  // One scale for all models, so that colours can be compared; `ticks` are what its key shows
  const MEASURES = {
    ap: { title: "AP", mode: null, text: (value) => value.toFixed(2), scale: (value) => value, ticks: () => [0, 0.25, 0.5, 0.75, 1] },
    // ranks differ by orders of magnitude, and a low one is good
    ranks: { title: "Mean rank of the answers", mode: "multi", text: (value) => value.toFixed(0),
      scale: (value, pool) => 1 - Math.log(value) / Math.log(pool), ticks: (pool) => [1, 0.75, 0.5, 0.25, 0].map((part) => Math.round(pool ** part)) },
    shares: { title: "% of the top 10", mode: "multi", text: (value) => value.toFixed(0), scale: (value) => value / 100, ticks: () => [0, 25, 50, 75, 100] },
  };

  // cividis, which colour-blind readers see as others do, at ten places (Nuñez, Anderton and Renslow 2018)
  const CIVIDIS = ["00204d", "00336f", "39486b", "575d6d", "707173", "8a8779", "a69d75", "c4b56c", "e4cf5b", "ffea46"]
    .map((hex) => [0, 2, 4].map((from) => parseInt(hex.slice(from, from + 2), 16)));

  function shade(share) {
    const place = Math.min(1, Math.max(0, share)) * (CIVIDIS.length - 1);
    const low = Math.min(Math.floor(place), CIVIDIS.length - 2);
    const [red, green, blue] = CIVIDIS[low].map((part, at) => Math.round(part + (place - low) * (CIVIDIS[low + 1][at] - part)));
    const linear = [red, green, blue].map((part) => { const s = part / 255; return s <= 0.04045 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4; });
    const luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
    return [`rgb(${red}, ${green}, ${blue})`, luminance > 0.18 ? "#000" : "#fff"];
  }

  const language = (code) => (data.names[code] ? make("abbr", { title: data.names[code] }, code) : code);

  function heat() {
    const row = board().rows[state.model[state.board]];
    const name = at("measure").value;
    const measure = MEASURES[name];
    const matrix = row?.closeup?.[name] ?? [];
    at("key").replaceChildren();
    signed("model-signed", row?.closeup ? [state.model[state.board]] : [], ["mono", "cross", "multi"]);
    if (!matrix.length) {
      at("heat").replaceChildren(make("p", {}, "There are no ranks of this model, or no such mode."));
      return;
    }
    const languages = row.closeup.languages;
    const pool = Math.max(2, row.closeup.pool);
    const paint = (element, value) => { [element.style.backgroundColor, element.style.color] = shade(measure.scale(value, pool)); return element; };
    at("key").replaceChildren("colours, the same for all models: ", ...measure.ticks(pool).map((value) => paint(make("span", {}, measure.text(value)), value)));
    const body = matrix.map((values, place) => make("tr", {}, make("th", { scope: "row" }, language(languages[place])),
      ...values.map((value, other) => (value === null ? make("td", {}, "-")
        : paint(make("td", {}, signature(state.model[state.board], measure.mode ?? (place === other ? "mono" : "cross"), measure.text(value))), value)))));
    const heading = make("tr", {}, make("th", { scope: "col" }, "query"), ...languages.map((code) => make("th", { scope: "col" }, language(code))));
    const caption = `${measure.title} of ${row.label}: a row is the language of the query, a column that of the document`;
    at("heat").replaceChildren(make("table", { class: "heat" }, make("caption", {}, caption), make("thead", {}, heading), make("tbody", {}, ...body)));
  }

  function worst() {
    const row = board().rows[state.model[state.board]];
    const questions = row?.closeup?.worst ?? [];
    if (!questions.length) {
      at("worst").replaceChildren(make("p", {}, board().texts ? "There are none." : "The texts of this collection were not there when the page was made."));
      return;
    }
    const code = (text) => make("span", { class: "code" }, text);
    at("worst").replaceChildren(make("ol", {}, ...questions.map((one) => make("li", {},
      make("p", { class: "text", dir: "auto", lang: one.language }, one.text),
      make("p", {}, code(one.language), ` rank distance ${one.rank_distance.toLocaleString("en")}; ranks of the answers: `,
        Object.entries(one.ranks).sort((a, b) => a[1] - b[1]).map(([name, rank]) => `${name}\u00a0${rank.toLocaleString("en")}`).join(", ")),
      make("p", { class: "first" }, "First stood ", code(one.first_language)),
      make("p", { class: "first", dir: "auto", lang: one.first_language }, one.first_text)))));
  }

  function models() {
    for (const place of document.querySelectorAll(".of")) place.textContent = board().collection;
    const options = board().rows.map((row, place) => (row.closeup ? make("option", { value: place }, row.label) : null));
    at("model").replaceChildren(...options.filter((option) => option));
    at("model").value = String(state.model[state.board]);
  }

  function draw() { return Promise.all([tradeoff(), distances(), alpha()]); }
  function show(number) {
    state.board = number;
    sections.forEach((section, place) => { section.hidden = place !== number; });
    models();
    heat();
    worst();
    find();
    return draw();
  }

  // Theme: the reader's, or the system's

  function dark() {
    const chosen = root.dataset.theme;
    return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  }
  function themed() {
    at("theme").textContent = dark() ? "Light" : "Dark";
    at("theme").setAttribute("aria-label", dark() ? "Light colours" : "Dark colours");
  }
  at("theme").removeAttribute("aria-pressed");
  at("theme").addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; themed(); draw(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { themed(); draw(); });

  // A link to a signature opens the list it stands in
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.('a[href^="#s-"]');
    const target = link && document.getElementById(link.getAttribute("href").slice(1));
    if (target) target.closest("details").open = true;
  });

  sections.forEach(enhance);
  at("collection").addEventListener("change", (event) => show(Number(event.target.value)));
  at("collection").closest("label").hidden = data.boards.length < 2;
  at("find").addEventListener("input", find);
  at("reported").addEventListener("change", tradeoff);
  let resized = null;
  addEventListener("resize", () => { clearTimeout(resized); resized = setTimeout(draw, 150); });
  at("model").addEventListener("change", (event) => { state.model[state.board] = Number(event.target.value); heat(); worst(); });
  at("measure").addEventListener("change", heat);
  themed();
  show(0).then(() => { performance.mark("report-ready"); root.dataset.ready = "true"; });
})();
