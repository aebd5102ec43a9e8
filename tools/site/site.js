// site.js - the search: names first, then the guides' sections. It needs no server: its words come as a script.
"use strict";
(function () {
  const field = document.getElementById("find"), list = document.getElementById("found");
  let waiting = null, chosen = -1;

  function load() {
    waiting = waiting || new Promise((done, fail) => {
      const script = document.createElement("script");
      script.src = "search.js";
      script.onload = () => done(window.manual);
      script.onerror = fail;
      document.head.append(script);
    });
    return waiting;
  }

  // How well a name is what was typed: 0 is not at all.
  function rank(name, kind, query) {
    const last = name.split(/[.:]/).pop(), bonus = kind === "guide" ? 0 : 1;
    if (name === query) return 100;
    if (last === query) return 90 + bonus - name.length / 100;
    if (name.startsWith(query)) return 70 + bonus - name.length / 100;
    if (last.startsWith(query)) return 60 + bonus - name.length / 100;
    if (name.includes(query)) return 40 + bonus - name.length / 100;
    return 0;
  }

  // What holds all words, each in its name, in what is said of it, or in its text.
  function search(text) {
    const query = text.trim().toLowerCase().replace(/\(\)$/, "");
    const words = query.split(/\s+/), hits = [];
    if (!query) return hits;
    for (const row of window.manual) {
      const name = row[0].toLowerCase();
      let score = row[0] === text.trim() ? 200 : rank(name, row[1], query);
      if (!score) {
        const said = row[3].toLowerCase(), body = row[4] || "";
        for (const word of words) {
          const found = name.includes(word) ? 12 : said.includes(word) ? 5 : body.includes(word) ? 2 : 0;
          if (!found) { score = 0; break; }
          score += found / words.length;
        }
      }
      if (score) hits.push([score, row]);
    }
    hits.sort((a, b) => b[0] - a[0]);
    return hits.map((hit) => hit[1]);
  }

  function part(tag, text, to) {
    const element = document.createElement(tag);
    element.textContent = text;
    to.append(element);
    return element;
  }

  function choose(n) {
    const items = list.querySelectorAll("a");
    chosen = Math.max(-1, Math.min(n, items.length - 1));
    items.forEach((item, i) => item.parentNode.setAttribute("aria-selected", i === chosen));
    if (chosen >= 0) items[chosen].scrollIntoView({ block: "nearest" });
  }

  function show() {
    const hits = search(field.value).slice(0, 40);
    list.replaceChildren();
    for (const [name, kind, href, said] of hits) {
      const item = document.createElement("li"), link = part("a", "", item);
      link.href = href;
      part(kind === "guide" ? "b" : "code", name, link);
      part("small", kind, link);
      part("span", said, link);
      list.append(item);
    }
    if (field.value.trim() && !hits.length) part("li", "Nothing is called so.", list);
    list.hidden = !field.value.trim();
    choose(hits.length ? 0 : -1);
  }

  function ask() { return load().then(show); }

  field.addEventListener("focus", load);
  field.addEventListener("input", ask);
  field.form.addEventListener("submit", (event) => {
    event.preventDefault();
    ask().then(() => { const item = list.querySelectorAll("a")[Math.max(chosen, 0)]; if (item) item.click(); });
  });
  field.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown") choose(chosen + 1);
    else if (event.key === "ArrowUp") choose(chosen - 1);
    else if (event.key === "Escape") { field.value = ""; show(); field.blur(); }
    else return;
    event.preventDefault();
  });
  list.addEventListener("click", () => { list.hidden = true; });
  document.addEventListener("click", (event) => { if (!event.target.closest(".search")) list.hidden = true; });
  document.addEventListener("keydown", (event) => {
    const typing = /^(INPUT|TEXTAREA)$/.test(document.activeElement.tagName);
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) { event.preventDefault(); field.focus(); }
  });
  window.find_names = (text) => load().then(() => search(text));
  field.form.hidden = false;
})();
