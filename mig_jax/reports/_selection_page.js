"use strict";
// The records of a selection, to search, filter, sort and open. All texts are set as text, never as
// HTML. What is looked at stands in the address: #12 is the pick of rank 12, #label=git those of git.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const PER_PAGE = 20;
  const MOST_DISPLACED = 3;
  const MOST_OFFERED = 1000; // Labels offered while one types.
  const byId = (id) => document.getElementById(id);

  // Rows as _explored_records.py writes them.
  const common = ([file, line, score, labels, moreLabels]) => ({ file, line, score, labels, moreLabels });
  const timesBefore = data.labels.map((_, label) => data.timesGiven[label] || 0);
  const picks = data.picks.map((row, at) => {
    const [gain, atFirst, most, parts, reached] = row.slice(5);
    const record = { ...common(row), kind: "picks", rank: at + 1, hash: String(at + 1), at, gain, atFirst, most, parts, reached };
    record.before = record.labels.map((label) => timesBefore[label]++);
    return record;
  });
  const near = data.near.map((row, at) => {
    const [ratio, rank, gain, least, taken] = row.slice(5);
    return { ...common(row), kind: "near", hash: `near-${at + 1}`, at, ratio, rank, gain, least, taken };
  });
  const given = data.given.map((row, at) => ({ ...common(row), kind: "given", hash: `given-${at + 1}`, at }));
  const everything = [...picks, ...near, ...given];
  const byHash = new Map(everything.map((record) => [record.hash, record]));
  const displaced = new Map(); // By the rank of a pick: who lost gain to it, and how much.
  for (const record of near) {
    for (const [rank, amount] of record.taken) {
      displaced.set(rank, [...(displaced.get(rank) || []), [record, amount]]);
    }
  }

  // What is said.
  const wholes = new Intl.NumberFormat("en"); // Made once: it takes longer than it works.
  const whole = (x) => wholes.format(x);
  const shortened = (x, most, least) =>
    x !== 0 && (Math.abs(x) < 1e-4 || Math.abs(x) >= 1e6)
      ? x.toExponential(3)
      : x.toLocaleString("en", { maximumSignificantDigits: most, minimumSignificantDigits: least });
  const number = (x) => (x === 0 ? "0" : shortened(x, 4, 4)); // A gain.
  const score = (x, digits = 6) => shortened(x, digits, 1);
  const perCent = (x) => `${(Math.floor(x * 1e4 + 1e-9) / 100).toLocaleString("en")} %`;
  const place = (record) => `${data.files[record.file]}, line ${whole(record.line)}`;
  const turns = (record) => data.texts[record.kind][record.at];
  const names = (labels) => labels.map((label) => data.labels[label]).join(", ");
  const shortly = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
  const preview = (record) => {
    const said = turns(record);
    if (!said) return `${place(record)} (its text is not on this page)`;
    const [, text] = said.find(([role, words]) => role === "user" && words.trim()) || said[0] || ["", ""];
    return shortly(text.slice(0, 1000).replace(/\s+/g, " ").trim(), 300) || "(no text)";
  };

  function make(tag, properties, ...children) {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children.filter((child) => child !== null));
    return element;
  }

  function why(record) {
    if (record.kind === "given") return [make("p", {}, "Given: it was there before the first pick.")];
    if (record.kind === "near") return whyNot(record);
    const told = [];
    const tell = (...parts) => told.push(make("p", {}, ...parts));
    if (record.gain === 0) {
      tell("It adds nothing: by this measure nothing was left, or a limit needed it.");
    } else {
      const fresh = record.labels.filter((_, at) => record.before[at] === 0);
      const others = record.labels
        .map((label, at) => [label, record.before[at]])
        .filter(([, times]) => times > 0)
        .map(([label, times]) => `${data.labels[label]} (${whole(times)})`);
      if (fresh.length) tell(`New with it: ${names(fresh)}. No record before it has ${fresh.length > 1 ? "these labels" : "this label"}.`);
      if (others.length) tell(`Records before it had ${others.join(", ")}${fresh.length ? "" : ": none of its labels is new, and it still adds most"}.`);
      const taken = 1 - record.gain / record.atFirst;
      if (taken > 0.00005) {
        tell(`As the first pick it would have added ${number(record.atFirst)}; what was there before it had taken ${perCent(taken)} of that.`);
      }
    }
    const lost = displaced.get(record.rank);
    if (lost) {
      const links = lost.sort((a, b) => b[1] - a[1]).slice(0, MOST_DISPLACED).flatMap(([other, amount]) => [
        make("br", {}), `${number(amount)} from `, make("a", { href: `#${other.hash}` }, shortly(preview(other), 80)),
      ]);
      const more = lost.length - MOST_DISPLACED;
      tell("It took gain from records that came near to being selected:", ...links, more > 0 ? ` and ${whole(more)} more` : "");
    }
    return told;
  }

  function whyNot(record) {
    const enough = record.least === null ? "with no score would it have been selected" : `${score(record.least)} or more would have been enough`;
    const told = [make("p", {}, `Not selected. It came nearest at pick ${whole(record.rank)}, with ${perCent(record.ratio)} of the gain that was needed. Its score is ${score(record.score)}; ${enough}.`)];
    const takers = record.taken.flatMap(([rank, amount, labels]) => [
      make("br", {}), `${number(amount)} by `, rank <= picks.length ? make("a", { href: `#${rank}` }, `pick ${whole(rank)}`) : `pick ${whole(rank)}`,
      `: ${labels.map(([label, part]) => `${data.labels[label]} ${number(part)}`).join(", ")}`,
    ]);
    if (takers.length) told.push(make("p", {}, "Most of its gain was taken by earlier picks:", ...takers));
    return told;
  }

  // By label what a pick gains: its own labels, and those joined to them.
  function gains(record) {
    if (record.kind !== "picks" || !record.gain) return null;
    const rows = record.most.map((label, at) => [
      data.labels[label] + (record.labels.includes(label) ? "" : " (joined)"), record.parts[at],
    ]);
    const rest = record.gain - record.parts.reduce((sum, part) => sum + part, 0);
    const others = record.reached - rows.length;
    const largest = Math.max(...record.parts);
    if (others > 0) rows.push([`${whole(others)} more`, Math.max(rest, 0)]);
    const cells = rows.flatMap(([name, part], at) => {
      const bar = make("span", { className: at < record.parts.length ? "bar selected" : "" });
      bar.style.width = `${(100 * part) / largest}%`;
      return [make("span", { className: "name", title: name }, name), bar, make("span", {}, part === 0 ? "0" : shortened(part, 3, 3))];
    });
    return make("div", { className: "gains" }, ...cells);
  }

  function marked(text, words) {
    if (!words.length) return [text];
    const found = new RegExp(`(${words.map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("|")})`, "giu");
    return text.split(found).map((part, at) => (at % 2 ? make("mark", {}, part) : part));
  }

  function inside(record) {
    const labels = record.labels.map((label) =>
      make("button", { type: "button", className: "label", onclick: () => show({ ...blank, label: data.labels[label] }, true) }, data.labels[label]));
    if (record.moreLabels) labels.push(`and ${whole(record.moreLabels)} more`);
    const link = make("a", { href: `#${record.hash}` }, `#${record.hash}`);
    const amounts = record.kind === "given" ? "" : ` · gain ${number(record.gain)}`;
    const texts = (turns(record) || []).map(([role, text]) =>
      make("p", { className: "turn" }, make("strong", {}, role), ...marked(text, wordsOf(view))));
    return make("div", { className: "inside" },
      make("p", {}, link, ` · ${place(record)} · score ${score(record.score)}${amounts}`),
      make("div", { className: "labels" }, ...labels),
      make("div", { className: "why" }, make("h3", {}, record.kind === "picks" ? "Why it was picked" : "Why it stands here"), ...why(record), gains(record)),
      ...(texts.length ? texts : [make("p", {}, "Its text is not on this page.")]));
  }

  function drawn(record) {
    const rank = record.kind === "picks" ? whole(record.rank) : record.kind === "near" ? "near" : "given";
    const first = record.kind === "picks" ? `+${number(record.gain)}` : record.kind === "near" ? perCent(record.ratio) : "";
    const summary = make("summary", {},
      make("span", { className: "rank" }, rank),
      make("span", { className: "preview" }, ...marked(preview(record), wordsOf(view))),
      make("span", { className: "small" }, names(record.labels) || "no label"),
      make("span", { className: "amounts" }, make("b", {}, first), `score ${score(record.score, 3)}`));
    const details = make("details", { className: "record", id: `record-${record.hash}` }, summary);
    details.addEventListener("toggle", () => {
      if (details.open && details.children.length === 1) details.append(inside(record));
    });
    return details;
  }

  // What is shown.
  const blank = { q: "", label: "", file: "", which: "picks", sort: "rank", page: 1 };
  let view = { ...blank };
  let found = picks;
  const wordsOf = ({ q }) => q.toLowerCase().split(/\s+/).filter(Boolean);
  const searched = new Map();
  function textOf(record) {
    if (!searched.has(record)) {
      const said = (turns(record) || []).map(([, text]) => text);
      searched.set(record, [...said, names(record.labels), place(record)].join("\n").toLowerCase());
    }
    return searched.get(record);
  }

  const kept = data.kept || 0;
  const KINDS = new Map([
    ["picks", ["Selected", picks]],
    ["kept", ["Kept from the last selection", picks.slice(0, kept)]],
    ["new", ["Picked anew", picks.slice(kept)]],
    ["given", ["Given", given]],
    ["near", ["Nearest to being selected", near]],
  ]);
  if (!kept) ["kept", "new"].forEach((kind) => KINDS.delete(kind));
  const ORDERS = {
    rank: null, // As they stand.
    gain: (a, b) => (b.gain || 0) - (a.gain || 0),
    score: (a, b) => b.score - a.score,
    "score-up": (a, b) => a.score - b.score,
  };

  function matching({ label, file, which, sort, ...rest }) {
    const words = wordsOf(rest);
    let labels = null;
    if (label) {
      const wanted = label.toLowerCase();
      const equal = data.labels.flatMap((name, at) => (name === label ? [at] : []));
      labels = new Set(equal.length ? equal : data.labels.flatMap((name, at) => (name.toLowerCase().includes(wanted) ? [at] : [])));
    }
    const records = KINDS.get(which)[1].filter((record) =>
      (file === "" || record.file === Number(file)) &&
      (labels === null || record.labels.some((own) => labels.has(own))) &&
      (words.length === 0 || words.every((word) => textOf(record).includes(word))));
    return ORDERS[sort] ? records.sort(ORDERS[sort]) : records;
  }

  const controls = { q: byId("q"), label: byId("label"), file: byId("file"), which: byId("which"), sort: byId("sort") };
  const option = (value, text) => make("option", { value }, text);
  controls.file.append(option("", "All files"), ...data.files.map((name, at) => option(String(at), name)));
  for (const [kind, [name, records]] of KINDS) {
    if (records.length) controls.which.append(option(kind, `${name} (${whole(records.length)})`));
  }
  byId("of-file").hidden = data.files.length < 2;
  byId("of-which").hidden = controls.which.length < 2;
  byId("labels").append(...data.labels
    .map((name, at) => [name, timesBefore[at]])
    .sort((a, b) => b[1] - a[1])
    .slice(0, MOST_OFFERED)
    .map(([name, times]) => option(name, `${whole(times)} records`)));

  function draw() {
    const pages = Math.max(1, Math.ceil(found.length / PER_PAGE));
    view.page = Math.min(Math.max(1, view.page), pages);
    for (const name of Object.keys(controls)) {
      if (controls[name].value !== view[name]) controls[name].value = view[name];
    }
    const of = KINDS.get(view.which)[1].length;
    byId("count").textContent = found.length === of ? `${whole(of)} records` : `${whole(found.length)} of ${whole(of)} records`;
    byId("page").textContent = `Page ${whole(view.page)} of ${whole(pages)}`;
    byId("previous").disabled = view.page === 1;
    byId("next").disabled = view.page === pages;
    byId("reset").hidden = Object.keys(blank).every((name) => name === "page" || view[name] === blank[name]);
    const shown = found.slice((view.page - 1) * PER_PAGE, view.page * PER_PAGE);
    byId("list").replaceChildren(...(shown.length ? shown.map(drawn) : [make("p", { className: "nothing" }, "No record matches.")]));
  }

  function show(wanted, scroll) {
    view = { ...wanted };
    found = matching(view);
    draw();
    const told = new URLSearchParams(Object.entries(view).filter(([name, value]) => value !== blank[name]));
    history.replaceState(null, "", `#${told}`);
    if (scroll) byId("explore").scrollIntoView();
  }

  function open(record) {
    const page = 1 + Math.floor(record.at / PER_PAGE);
    view = { ...blank, which: record.kind, page };
    found = matching(view);
    draw();
    const details = byId(`record-${record.hash}`);
    details.open = true;
    details.scrollIntoView();
    details.firstChild.focus({ preventScroll: true });
  }

  function follow(event) {
    const hash = location.hash.slice(1);
    const part = hash && byId(hash);
    if (part) {
      if (part.tagName === "DETAILS") part.open = true;
      if (event) return; // What was looked at stays.
    }
    if (byHash.has(hash)) {
      open(byHash.get(hash));
      return;
    }
    const told = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
    view = { ...blank };
    for (const name of Object.keys(blank)) if (name in told) view[name] = told[name];
    view.page = Number(view.page) || 1;
    if (!KINDS.has(view.which)) view.which = "picks";
    if (!(view.sort in ORDERS)) view.sort = "rank";
    found = matching(view);
    draw();
  }

  let waiting = 0;
  for (const [name, control] of Object.entries(controls)) {
    control.addEventListener("input", () => {
      clearTimeout(waiting);
      const wanted = () => show({ ...view, [name]: control.value, page: 1 });
      if (name === "q") waiting = setTimeout(wanted, 150); // While one types.
      else wanted();
    });
  }
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  byId("reset").addEventListener("click", () => { show(blank); controls.q.focus(); });
  byId("previous").addEventListener("click", () => show({ ...view, page: view.page - 1 }));
  byId("next").addEventListener("click", () => show({ ...view, page: view.page + 1 }));
  window.addEventListener("hashchange", follow);

  // Charts say what is pointed at; labels show their records.
  for (const figure of document.querySelectorAll("figure")) {
    const said = figure.querySelector(".said");
    if (!said) continue;
    const hint = said.textContent;
    const say = (event) => {
      const shape = event.target.closest("[data-label], .reading");
      figure.querySelectorAll(".told").forEach((other) => other.classList.remove("told"));
      if (!shape) {
        said.textContent = hint;
        return;
      }
      shape.classList.add("told");
      said.textContent = shape.textContent;
      if (event.type === "click" && shape.dataset.label !== undefined) {
        said.append(" ", make("button", { type: "button", className: "label", onclick: () => show({ ...blank, label: shape.dataset.label }, true) }, "Show its records"));
      }
    };
    figure.querySelector("svg.chart").addEventListener("click", say);
    figure.querySelector("svg.chart").addEventListener("pointerover", (event) => {
      if (!said.querySelector("button")) say(event);
    });
  }
  for (const row of document.querySelectorAll(".bars button")) {
    row.addEventListener("click", () => show({ ...blank, label: row.dataset.label }, true));
  }

  byId("first").remove();
  byId("explore").hidden = false;
  follow(null);
})();
