// The leaderboards, charts and heat maps of a report.
(() => {
  const { byId, announce, make, offerCsv, isDark, theme } = page;
  const data = JSON.parse(document.getElementById("data").textContent);
  const root = document.documentElement;
  const MAX_PICKS = 8;
  const FONT_SIZE = 12; // pixels, of all text in charts
  const sections = [...document.querySelectorAll(".board")];
  const state = { board: 0, picks: data.boards.map(() => new Set()), model: data.boards.map(() => null) };

  const board = () => data.boards[state.board];

  // Links to the signatures of numbers, by model and mode; a list of several links is folded

  const signature = (index, mode, text) => (board().rows[index].signatures[mode]
    ? make("a", { href: `#s-${state.board}-${index}-${mode}`, title: "the signature of this number" }, text) : text);
  function listSignatures(id, indices, modes) {
    const items = indices.map((index) => {
      const links = modes.filter((mode) => board().rows[index].signatures[mode]).flatMap((mode) => [" ", signature(index, mode, mode)]);
      return links.length ? make("li", {}, make("bdi", {}, board().rows[index].label), ":", ...links) : null;
    }).filter((item) => item);
    byId(id).replaceChildren(...(items.length ? [make("details", { class: "signed" }, make("summary", {}, `Signatures of these numbers (${items.length})`), make("ul", {}, ...items))] : []));
  }

  // Leaderboards: a column of checkboxes, and headings that sort

  function enhance(section, index) {
    const table = section.querySelector(".leaderboard");
    const heading = table.tHead.rows[0];
    heading.prepend(make("th", { scope: "col", class: "pick" }, "pick"));
    for (const row of table.tBodies[0].rows) {
      const model = Number(row.dataset.row);
      const box = make("input", { type: "checkbox", "aria-label": `pick ${data.boards[index].rows[model].label}` });
      box.addEventListener("change", () => pick(index, model, box));
      row.prepend(make("td", { class: "pick" }, box));
    }
    table.tFoot?.rows[0].prepend(make("td", { class: "pick" }));
    for (const cell of heading.querySelectorAll("th[data-column]")) {
      const column = Number(cell.dataset.column);
      const button = make("button", { type: "button" }, cell.textContent);
      button.addEventListener("click", () => sort(table, index, column, cell));
      cell.replaceChildren(button);
    }
    const first = data.boards[index].columns.findIndex((column) => column.name === data.boards[index].sorted_by);
    const lower = data.boards[index].columns[first]?.lower;
    heading.querySelector(`th[data-column="${first}"]`)?.setAttribute("aria-sort", lower ? "ascending" : "descending");
    data.boards[index].rows.forEach((row, model) => {
      if (state.picks[index].size < 3 && row.measured) {
        state.picks[index].add(model);
        table.querySelector(`tr[data-row="${model}"] input`).checked = true;
      }
    });
    state.model[index] = data.boards[index].rows.findIndex((row) => row.details);
  }

  function pick(index, model, box) {
    const picks = state.picks[index];
    if (box.checked && picks.size >= MAX_PICKS) {
      box.checked = false;
      announce(`You can pick ${MAX_PICKS} models. Unpick a model first.`);
      return;
    }
    if (box.checked) picks.add(model); else picks.delete(model);
    announce(`${picks.size} models picked.`);
    draw();
    remember();
  }

  function sort(table, index, column, heading) {
    const { header, measure, lower } = data.boards[index].columns[column];
    const best = measure && !lower ? "descending" : "ascending";
    const current = heading.getAttribute("aria-sort");
    const direction = current === null ? best : current === "ascending" ? "descending" : "ascending";
    for (const cell of table.tHead.rows[0].cells) cell.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", direction);
    const sign = direction === "ascending" ? 1 : -1;
    const model = (row) => data.boards[index].rows[Number(row.dataset.row)];
    const rows = [...table.tBodies[0].rows].map((row) => [row, model(row).cells[column][2], model(row).incomplete.length > 0]);
    rows.sort(([, a, aIncomplete], [, b, bIncomplete]) => {
      if (aIncomplete !== bIncomplete) return aIncomplete - bIncomplete; // a mean over fewer languages is not comparable
      if (a === null || b === null) return (a === null) - (b === null);
      return sign * (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));
    });
    table.tBodies[0].append(...rows.map(([row]) => row));
    table.querySelector("caption .order").textContent = `sorted by ${header}, ${direction}`;
    announce(`Sorted by ${header}, ${direction}.`);
  }

  function find() {
    const text = byId("find").value.trim().toLowerCase();
    let count = 0;
    for (const row of sections[state.board].querySelectorAll(".leaderboard tbody tr")) {
      row.hidden = !board().rows[Number(row.dataset.row)].label.toLowerCase().includes(text);
      count += row.hidden ? 0 : 1;
    }
    announce(`${count} of ${board().rows.length} models.`);
  }

  // Charts

  function config(room) {
    const style = getComputedStyle(root);
    const [ink, soft, line] = ["--ink", "--soft", "--line"].map((name) => style.getPropertyValue(name).trim());
    return {
      background: "transparent",
      font: "system-ui, sans-serif",
      axis: { labelColor: soft, titleColor: ink, gridColor: line, domainColor: line, tickColor: line, titleFontWeight: 500, labelFontSize: FONT_SIZE, titleFontSize: FONT_SIZE },
      legend: { labelColor: ink, titleColor: ink, symbolBaseFillColor: ink, symbolBaseStrokeColor: ink, labelFontSize: FONT_SIZE, labelLimit: Math.max(120, room - 60), columns: 1, layout: { bottom: { anchor: "start", direction: room >= 540 ? "horizontal" : "vertical" } } },
      header: { labelColor: ink, labelFontSize: FONT_SIZE + 1 },
      view: { stroke: line },
    };
  }

  // Put panels side by side if there is room, and never so wide that their text would shrink to fit
  function fitted(spec, room) {
    const columns = room >= 540 ? 2 : 1;
    const width = Math.max(150, Math.min(300, Math.floor(room / columns) - 80));
    const resize = (panel) => (typeof panel.width === "number" ? { ...panel, width } : panel);
    const result = { ...resize(spec), ...(spec.columns ? { columns } : {}) };
    if (spec.concat) result.concat = spec.concat.map(resize);
    if (spec.spec) result.spec = resize(spec.spec);
    return result;
  }

  function* encodings(spec) {
    if (spec.encoding) yield spec.encoding;
    for (const child of [...(spec.layer ?? []), ...(spec.concat ?? []), ...(spec.spec ? [spec.spec] : [])]) yield* encodings(child);
  }

  // Give each picked model the same colour, shape and dash in all charts; reported figures are crosses
  function styleModels(spec, picked) {
    const domain = picked.map((row) => row.label);
    for (const encoding of encodings(spec)) {
      // black is invisible in the dark theme
      if (isDark() && encoding.color?.scale) encoding.color.scale.range = encoding.color.scale.range.map((colour) => (colour === "#000000" ? "#ffffff" : colour));
      for (const channel of ["color", "shape", "strokeDash"].map((name) => encoding[name]).filter((each) => each?.field === "model")) {
        const range = [...channel.scale.range];
        if (channel === encoding.shape) picked.forEach((row, index) => { if (!row.measured) range.splice(index, 0, data.reported_shape); });
        channel.scale = { domain, range };
      }
    }
  }

  function values(name) {
    const { fields, only_picked: onlyPicked } = data.charts[name];
    const picks = state.picks[state.board];
    const shown = ({ row }) => picks.has(row) || (!onlyPicked && (board().rows[row].measured || byId("reported").checked));
    const records = board().charts[name].filter(shown);
    // an axis without any number would break the whole drawing
    if (!records.some((record) => fields.every((field) => typeof record[field] === "number"))) return [];
    return records.map((record) => ({ ...record, model: board().rows[record.row].label, measured: board().rows[record.row].measured, picked: picks.has(record.row) }));
  }

  function drawChart(name) {
    const records = values(name);
    const chart = byId(name);
    byId(`${name}-figure`).hidden = !records.length;
    listSignatures(`${name}-signed`, [...new Set(records.map((record) => record.row))], data.charts[name].modes);
    if (!records.length) return null;
    const room = chart.clientWidth;
    const spec = { ...fitted(structuredClone(data.charts[name].spec), room), datasets: { values: records } };
    styleModels(spec, board().rows.filter((row, index) => records.some((record) => record.picked && record.row === index)));
    // ast: Vega interprets its expressions, because the page's policy forbids to compile them
    const options = { mode: "vega-lite", ast: true, actions: false, renderer: "svg", defaultStyle: false, config: config(room), tooltip: { theme: isDark() ? "dark" : "light" } };
    return vegaEmbed(chart, spec, options).catch((error) => { chart.textContent = `This chart failed: ${error.message}`; throw error; });
  }

  // One model: heat map and worst questions

  // One scale for all models, so that colours are comparable; `ticks` are the values in the key
  const MEASURES = {
    ap: { title: "AP", mode: null, text: (value) => value.toFixed(2), scale: (value) => value, ticks: () => [0, 0.25, 0.5, 0.75, 1] },
    // ranks differ by orders of magnitude, and a low rank is good
    ranks: { title: "Mean rank of the answers", mode: "multi", text: (value) => value.toFixed(0),
      scale: (value, pool) => 1 - Math.log(value) / Math.log(pool), ticks: (pool) => [1, 0.75, 0.5, 0.25, 0].map((power) => Math.round(pool ** power)) },
    shares: { title: "% of the top 10", mode: "multi", text: (value) => value.toFixed(0), scale: (value) => value / 100, ticks: () => [0, 25, 50, 75, 100] },
  };

  // Ten colours of cividis, which looks the same to colour-blind readers (Nuñez, Anderton and Renslow 2018)
  const CIVIDIS = ["00204d", "00336f", "39486b", "575d6d", "707173", "8a8779", "a69d75", "c4b56c", "e4cf5b", "ffea46"]
    .map((hex) => [0, 2, 4].map((from) => parseInt(hex.slice(from, from + 2), 16)));

  function shade(share) {
    const position = Math.min(1, Math.max(0, share)) * (CIVIDIS.length - 1);
    const low = Math.min(Math.floor(position), CIVIDIS.length - 2);
    const [red, green, blue] = CIVIDIS[low].map((value, index) => Math.round(value + (position - low) * (CIVIDIS[low + 1][index] - value)));
    const linear = [red, green, blue].map((value) => { const s = value / 255; return s <= 0.04045 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4; });
    const luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
    return [`rgb(${red}, ${green}, ${blue})`, luminance > 0.18 ? "#000" : "#fff"];
  }

  const language = (code) => (data.names[code] ? make("abbr", { title: data.names[code] }, code) : code);

  function heat() {
    const row = board().rows[state.model[state.board]];
    const name = byId("measure").value;
    const measure = MEASURES[name];
    const matrix = row?.details?.[name] ?? [];
    byId("key").replaceChildren();
    listSignatures("model-signed", row?.details ? [state.model[state.board]] : [], ["mono", "cross", "multi"]);
    if (!matrix.length) {
      byId("heat").replaceChildren(make("p", {}, "This model has no ranks, or no result in this mode."));
      return;
    }
    const { languages } = row.details;
    const family = (code) => data.families[code] ?? "unknown";
    const grouped = byId("order").value === "family";
    const order = languages.map((code, index) => index);
    if (grouped) order.sort((a, b) => family(languages[a]).localeCompare(family(languages[b])) || a - b);
    const groups = Object.entries(Object.groupBy(order, (index) => family(languages[index])));
    const pool = Math.max(2, row.details.pool);
    const paint = (element, value) => { [element.style.backgroundColor, element.style.color] = shade(measure.scale(value, pool)); return element; };
    byId("key").replaceChildren("Colours, the same for all models: ", ...measure.ticks(pool).map((value) => paint(make("span", {}, measure.text(value)), value)));
    const line = (query) => make("tr", {}, make("th", { scope: "row" }, language(languages[query])),
      ...order.map((document) => [document, matrix[query][document]]).map(([document, value]) => (value === null ? make("td", {}, "-")
        : paint(make("td", {}, signature(state.model[state.board], measure.mode ?? (query === document ? "mono" : "cross"), measure.text(value))), value))));
    const bodies = grouped ? groups.map(([name, members]) => make("tbody", {},
      make("tr", {}, make("th", { scope: "rowgroup", colspan: order.length + 1 }, name)), ...members.map(line))) : [make("tbody", {}, ...order.map(line))];
    const heading = [
      ...(grouped ? [make("tr", {}, make("td"), ...groups.map(([name, members]) => make("th", { scope: "colgroup", colspan: members.length }, name)))] : []),
      make("tr", {}, make("th", { scope: "col" }, "query"), ...order.map((index) => make("th", { scope: "col" }, language(languages[index])))),
    ];
    const caption = `${measure.title} of ${row.label}: rows are query languages, columns are document languages`;
    byId("heat").replaceChildren(make("table", { class: "heat" }, make("caption", {}, caption), make("thead", {}, ...heading), ...bodies));
    offerCsv(byId("heat").querySelector("table"));
  }

  function worst() {
    const row = board().rows[state.model[state.board]];
    const questions = row?.details?.worst ?? [];
    if (!questions.length) {
      byId("worst").replaceChildren(make("p", {}, board().texts ? "There are none." : "The texts of this collection were missing when the page was made."));
      return;
    }
    const code = (text) => make("span", { class: "code" }, text);
    const ranks = (question) => Object.entries(question.ranks).sort((a, b) => a[1] - b[1])
      .map(([name, rank]) => `${name}\u00a0${rank.toLocaleString("en")}`).join(", ");
    byId("worst").replaceChildren(make("ol", {}, ...questions.map((question) => make("li", {},
      make("p", { class: "text", dir: "auto", lang: question.language }, question.text),
      make("p", {}, code(question.language), ` rank distance ${question.rank_distance.toLocaleString("en")}; ranks of the answers: ${ranks(question)}`),
      make("p", { class: "first" }, "Ranked first: ", code(question.first_language)),
      make("p", { class: "first", dir: "auto", lang: question.first_language }, question.first_text)))));
  }

  function models() {
    for (const element of document.querySelectorAll(".collection")) element.textContent = board().collection;
    const options = board().rows.map((row, index) => (row.details ? make("option", { value: index }, row.label) : null));
    byId("model").replaceChildren(...options.filter((option) => option));
    byId("model").value = String(state.model[state.board]);
  }

  function draw() { return Promise.all(Object.keys(data.charts).map(drawChart)); }
  function show(index) {
    state.board = index;
    sections.forEach((section, other) => { section.hidden = other !== index; });
    byId("languages").parentElement.hidden = !board().rows.some((row) => row.details);
    byId("reported-label").hidden = board().rows.every((row) => row.measured);
    models();
    heat();
    worst();
    find();
    return draw();
  }

  // Permalinks: the address names what is shown, so a link shows the same; a link to a signature opens its list

  const CHOICES = ["measure", "order"];
  function remember() {
    const parts = new URLSearchParams();
    if (data.boards.length > 1) parts.set("collection", board().collection);
    for (const index of state.picks[state.board]) parts.append("pick", board().rows[index].label);
    if (board().rows[state.model[state.board]]) parts.set("model", board().rows[state.model[state.board]].label);
    for (const name of CHOICES) parts.set(name, byId(name).value);
    history.replaceState(null, "", `#${parts}`);
  }
  function recall() {
    const target = document.getElementById(location.hash.slice(1));
    const section = target?.closest(".board");
    if (section) {
      const shown = show(Number(section.dataset.board));
      if (target.closest("details")) target.closest("details").open = true;
      target.scrollIntoView();
      return shown;
    }
    const parts = new URLSearchParams(location.hash.slice(1));
    const index = Math.max(0, data.boards.findIndex((each) => each.collection === parts.get("collection")));
    const { rows } = data.boards[index];
    const picks = rows.flatMap((row, model) => (parts.getAll("pick").includes(row.label) ? [model] : [])).slice(0, MAX_PICKS);
    if (picks.length) {
      state.picks[index] = new Set(picks);
      for (const row of sections[index].querySelectorAll("tbody tr[data-row]")) row.querySelector("input").checked = picks.includes(Number(row.dataset.row));
    }
    const model = rows.findIndex((row) => row.details && row.label === parts.get("model"));
    if (model >= 0) state.model[index] = model;
    for (const name of CHOICES) if ([...byId(name).options].some((option) => option.value === parts.get(name))) byId(name).value = parts.get(name);
    byId("collection").value = String(index);
    return show(index);
  }

  // A link to a signature opens the folded list of signatures
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.('a[href^="#s-"]');
    const target = link && document.getElementById(link.getAttribute("href").slice(1));
    if (target) target.closest("details").open = true;
  });

  sections.forEach(enhance);
  byId("collection").addEventListener("change", (event) => { show(Number(event.target.value)); remember(); });
  byId("collection").closest("label").hidden = data.boards.length < 2;
  byId("find").addEventListener("input", find);
  byId("reported").addEventListener("change", draw);
  let resizing = null;
  addEventListener("resize", () => { clearTimeout(resizing); resizing = setTimeout(draw, 150); });
  byId("model").addEventListener("change", (event) => { state.model[state.board] = Number(event.target.value); heat(); worst(); remember(); });
  for (const name of CHOICES) byId(name).addEventListener("change", () => { heat(); remember(); });
  for (const table of document.querySelectorAll(".board table")) offerCsv(table);
  addEventListener("hashchange", () => { if (/=|^#s-/.test(location.hash)) recall(); }); // not for the skip link
  theme(draw);
  recall().then(() => { performance.mark("report-ready"); root.dataset.ready = "true"; });
})();
