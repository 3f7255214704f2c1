// The questions of a collection: a list to search and sort, and the ranks of a question for all models.
(async () => {
  const { byId, announce, make, offerCsv, theme } = page;
  const PAGE = 50; // questions that the list grows by
  const OPEN = 6; // models whose ranks are open
  const CELL = 12; // ranks in a cell
  const unpack = (text) => new Response(new Blob([Uint8Array.from(atob(text), (each) => each.charCodeAt(0))]).stream().pipeThrough(new DecompressionStream("deflate"))).json();
  const data = JSON.parse(byId("data").textContent);
  const index = await unpack(data.index);
  const state = { question: null, shown: [], room: PAGE };
  const code = (number) => index.languages[number];
  const language = (number) => make("abbr", { title: data.names[code(number)] ?? code(number) }, code(number));
  const id = (question) => index.questions[question][0][1];
  const chosen = (name) => Number(byId(name).value);
  const measure = () => index.measures[chosen("measure")];

  // Numbers: a value that the cut of a run leaves open is a pair of limits, and a missing value is null

  const middle = (value) => (Array.isArray(value) ? (value[0] + value[1]) / 2 : value);
  function text(value, { decimals }) {
    if (value === null) return "-";
    if (Array.isArray(value)) return value.map((end) => text(end, { decimals })).join(" to ");
    return value.toLocaleString("en", { minimumFractionDigits: Number.isInteger(value) && decimals < 2 ? 0 : decimals, maximumFractionDigits: decimals });
  }
  const mean = (model, question, number = chosen("measure")) => index.means[model][number][question];
  function difference(question) {
    const [one, other] = ["model", "other"].map((name) => mean(chosen(name), question)).map((value) => (Array.isArray(value) ? value : [value, value]));
    if (one[0] === null || other[0] === null) return null;
    const [low, high] = [one[0] - other[1], one[1] - other[0]];
    return low === high ? low : [low, high];
  }

  // The list

  const folded = (words) => words.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
  let haystacks = null; // made at the first search
  function found(question) {
    const words = folded(byId("find").value).split(/\s+/).filter((word) => word);
    if (!words.length) return true;
    haystacks ??= index.questions.map((versions) => folded(versions.map(([, name, words]) => `${name} ${words ?? ""}`).join("\n")));
    return words.every((word) => haystacks[question].includes(word));
  }
  function sorted() {
    const order = byId("order").value;
    const questions = [...index.questions.keys()].filter(found);
    if (order === "collection") return questions;
    const sign = (order === "worst") === measure().lower ? -1 : 1;
    const key = (question) => (order === "difference" ? -Math.abs(middle(difference(question)) ?? NaN) : sign * (middle(mean(chosen("model"), question)) ?? NaN));
    const keys = new Map(questions.map((question) => [question, key(question)]));
    const rank = (question) => (Number.isNaN(keys.get(question)) ? Infinity : keys.get(question)); // without a value last
    return questions.sort((a, b) => (rank(a) === rank(b) ? a - b : rank(a) - rank(b)));
  }
  function address(question) {
    const parts = new URLSearchParams(question === null ? {} : { q: id(question) });
    for (const name of CHOICES) parts.set(name, byId(name).value);
    for (const name of ["model", "other"]) parts.set(name, index.models[chosen(name)]);
    return `#${parts}`;
  }
  function list() {
    state.shown = sorted();
    const several = index.models.length > 1;
    const heading = ["question", "model", ...(several ? ["compared", "difference"] : [])];
    const names = ["model", ...(several ? ["other"] : [])].map((name) => index.models[chosen(name)]).join(", compared with ");
    const counts = [state.shown, index.questions].map(({ length }) => length.toLocaleString("en")).join(" of ");
    byId("caption").textContent = `${counts} questions, ${byId("order").selectedOptions[0].text}: mean ${measure().title} over the versions of a question, ${names}`;
    const table = byId("list").querySelector("table");
    table.tHead.replaceChildren(make("tr", {}, ...heading.map((name, column) => make("th", { scope: "col", ...(column ? { class: "number" } : {}) }, name))));
    const cell = (content) => make("td", { class: "number" }, content);
    table.tBodies[0].replaceChildren(...state.shown.slice(0, state.room).map((question) => {
      const versions = index.questions[question];
      const [number, name, words] = versions.find(([each]) => code(each) === "en") ?? versions[0];
      const link = make("a", { href: address(question), ...(question === state.question ? { "aria-current": "true" } : {}) },
        ...(words ? [make("bdi", { lang: code(number) }, words)] : [name]));
      return make("tr", {}, make("th", { scope: "row" }, link), cell(text(mean(chosen("model"), question), measure())),
        ...(several ? [cell(text(mean(chosen("other"), question), measure())), cell(text(difference(question), measure()))] : []));
    }));
    byId("more").hidden = state.shown.length <= state.room;
    const place = state.shown.indexOf(state.question);
    byId("previous").disabled = place < 1;
    byId("next").disabled = place < 0 ? !state.shown.length : place === state.shown.length - 1;
  }

  // Parts: each is a script that calls `hbtBenchPart` with its number and its packed ranks

  const parts = new Map();
  const waiting = new Map();
  window.hbtBenchPart = (number, packed) => waiting.get(number)(unpack(packed));
  function load(number) {
    if (!parts.has(number)) {
      parts.set(number, new Promise((resolve, reject) => {
        waiting.set(number, resolve);
        const script = make("script", { src: `${data.parts}-${number}.js` });
        script.addEventListener("error", () => { parts.delete(number); reject(new Error(`The file ${data.parts}-${number}.js is missing.`)); });
        document.head.append(script);
      }));
    }
    return parts.get(number);
  }

  // A question

  const worse = (rank) => (rank < 0 ? index.pool - rank : rank); // below the cut is worse than any known rank
  function rankText(rank) {
    if (rank === 0) return "-";
    if (rank === index.unretrieved) return "own text";
    return rank < 0 ? `> ${(-rank).toLocaleString("en")}` : rank.toLocaleString("en");
  }
  function cell(entries, worst) {
    if (!entries.length) return make("td", {});
    const shown = entries.toSorted((a, b) => worse(a.rank) - worse(b.rank)).map(({ rank, grade }) => rankText(rank) + (index.graded ? ` (${grade})` : ""));
    const hidden = shown.length - CELL;
    if (hidden > 1) shown.splice(CELL - 1, hidden, `${hidden} more`);
    const isWorst = entries.includes(worst);
    const result = make("td", isWorst ? { class: "worst" } : {}, shown.join(", "), isWorst ? make("span", { class: "visually-hidden" }, " worst") : null);
    const share = Math.max(...entries.map(({ rank }) => (rank ? Math.log(Math.min(worse(rank), index.pool)) / Math.log(Math.max(2, index.pool)) : 0)));
    result.style.setProperty("--share", (share ** 2).toFixed(2));
    return result;
  }
  function matrix(model, { documents, versions, models }) {
    const within = byId("ranks").value === "pool" ? 0 : 1;
    const entries = versions.map(([positions, grades], version) => positions.map((position, pair) => (
      { version, document: documents[position][0], grade: grades[pair], rank: models[model][version][within][pair] })));
    const worst = entries.flat().filter(({ rank }) => rank && rank !== index.unretrieved).reduce((a, b) => (a && worse(a.rank) >= worse(b.rank) ? a : b), null);
    const columns = [...new Set(documents.map(([number]) => number))].sort((a, b) => a - b);
    const asked = index.questions[state.question];
    const lines = asked.map(([number, name], version) => make("tr", {},
      make("th", { scope: "row" }, language(number), asked.filter(([each]) => each === number).length > 1 ? ` ${name}` : null),
      ...columns.map((column) => cell(entries[version].filter((entry) => entry.document === column), worst)),
      ...index.measures.map((each, column) => make("td", { class: "number" }, text(models[model][version][2][column], each)))));
    const where = worst && `; worst rank ${rankText(worst.rank)}: question in ${code(asked[worst.version][0])}, document in ${code(worst.document)}`;
    const table = make("table", { class: "ranks" }, make("caption", {}, `Ranks ${byId("ranks").selectedOptions[0].text}, ${index.models[model]}`),
      make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "question \\ document"), ...columns.map((column) => make("th", { scope: "col" }, language(column))),
        ...index.measures.map(({ title }) => make("th", { scope: "col", class: "number" }, title)))), make("tbody", {}, ...lines));
    const values = index.measures.map((each, number) => `${each.title} ${text(mean(model, state.question, number), each)}`).join(", ") + (where ?? "");
    const first = [chosen("model"), chosen("other")].includes(model);
    const details = make("details", { class: "model", ...(first || index.models.length <= OPEN ? { open: "" } : {}) }, make("summary", {}, index.models[model], make("small", {}, ` ${values}`)),
      make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `Ranks of ${index.models[model]}, scrolls sideways` }, table));
    offerCsv(table);
    return details;
  }
  async function show() {
    const { question } = state;
    byId("question").hidden = question === null;
    if (question === null) return;
    const number = index.parts.findLastIndex((start) => start <= question);
    byId("heading").textContent = `Question ${id(question)}`;
    byId("versions").replaceChildren(...index.questions[question].map(([each, name, words]) => make("li", {},
      make("span", { class: "code" }, code(each)), words ? make("bdi", { lang: code(each) }, words) : null, make("small", {}, name))));
    let part;
    try { part = await load(number); } catch (error) { byId("matrices").replaceChildren(make("p", {}, error.message)); return; }
    if (question !== state.question) return; // another was chosen meanwhile
    const values = part[question - index.parts[number]];
    const order = [...new Set([chosen("model"), chosen("other"), ...index.models.keys()])];
    byId("matrices").replaceChildren(...order.map((model) => matrix(model, values)));
  }

  // Permalinks: the address names the question and all choices

  const CHOICES = ["order", "measure", "ranks", "find"];
  const remember = () => history.replaceState(null, "", address(state.question));
  function recall() {
    const parts = new URLSearchParams(location.hash.slice(1));
    for (const name of CHOICES) if (parts.has(name) && (name === "find" || [...byId(name).options].some(({ value }) => value === parts.get(name)))) byId(name).value = parts.get(name);
    for (const name of ["model", "other"]) if (index.models.includes(parts.get(name))) byId(name).value = String(index.models.indexOf(parts.get(name)));
    const question = index.questions.findIndex((versions) => versions.some(([, name]) => name === parts.get("q")));
    state.question = question < 0 ? null : question;
    if (parts.has("q") && question < 0) announce(`There is no question ${parts.get("q")}.`);
    list();
    return show();
  }
  function choose(question) {
    if (question === undefined) return;
    location.hash = address(question); // a step in the history, which `recall` shows
  }
  function focus() {
    byId("heading").focus({ preventScroll: true });
    const { top } = byId("heading").getBoundingClientRect();
    if (top < 0 || top > innerHeight / 2) byId("question").scrollIntoView();
  }
  const step = (by) => choose(state.shown[state.shown.indexOf(state.question) + by]);

  const option = (name, value) => make("option", { value }, name);
  for (const name of ["model", "other"]) byId(name).replaceChildren(...index.models.map(option));
  byId("other").value = String(Math.min(1, index.models.length - 1));
  byId("other").closest("label").hidden = index.models.length < 2;
  if (index.models.length < 2) byId("order").querySelector('[value="difference"]').remove();
  byId("measure").replaceChildren(...index.measures.map(({ title }, value) => option(title, value)));
  byId("ranks").value = index.by_pool ? "pool" : "block";
  byId("ranks").closest("label").hidden = index.languages.length < 2;
  byId("legend").textContent = ["Rows are the languages of the question, columns those of the relevant document. The worst rank has a frame: if several are equal, the first.",
    ...(index.cut ? ["A rank after > is below the documents that a run has, so it leaves AP and rank distance open between two limits; - is unknown."] : []),
    ...(index.graded ? ["The number in brackets is the grade of the document."] : [])].join(" ");
  for (const name of ["order", "measure", "model", "other"]) byId(name).addEventListener("change", () => { state.room = PAGE; remember(); list(); show(); });
  byId("find").addEventListener("input", () => { state.room = PAGE; list(); announce(byId("caption").textContent); });
  byId("find").addEventListener("change", remember); // not at each letter: browsers limit the changes of an address
  byId("ranks").addEventListener("change", () => { remember(); list(); show(); });
  byId("more").addEventListener("click", () => { const first = state.room; state.room += PAGE; list(); byId("list").querySelectorAll("tbody a")[first]?.focus(); });
  byId("previous").addEventListener("click", () => step(-1));
  byId("next").addEventListener("click", () => step(1));
  addEventListener("hashchange", () => { if (location.hash !== "#list") recall().then(focus); }); // not for the skip link
  theme();
  await recall();
  performance.mark("report-ready");
  document.documentElement.dataset.ready = "true";
})();
