--- What one does with the page of a trace: wheel, fingers, keys and search, and what it tells of what was chosen.
-- (Part of asyncio.page.)
return [==[
const byId = (id) => document.getElementById(id);

// make("p", {class: "x"}, "text", child, …)
function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (typeof value === "function") element[name] = value; else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const inNumbers = (n) => n.toLocaleString("en");
const counted = (n, one) => inNumbers(n) + " " + one + (n === 1 ? "" : "s");

function percent(part, whole) {
  const share = whole > 0 ? part / whole : 0;
  if (share > 0 && share < 0.001) return "less than 0.1\u202f%";
  return (share * 100).toFixed(share > 0 && share < 0.1 ? 1 : 0) + "\u202f%";
}

class Page {
  constructor(model) {
    this.model = model;
    model.rows.forEach((row, i) => { row.position = i; });
    this.view = new Timeline(model, byId("rows"), byId("scroll"), byId("map"));
    this.name();
    this.legend();
    this.numbers();
    this.listen();
  }

  name() {
    const { program, begin, end, dropped, clock } = this.model, file = program.replace(/.*\//, "");
    const { tasks, longest, busiest, errors } = this.model.numbers;
    const parts = [counted(tasks, "task"), inWords(end - begin) + (clock === "virtual" ? " on the virtual clock" : "")];
    if (longest) parts.push("longest step " + inWords(longest.length) + " in " + longest.row.name);
    if (busiest) parts.push("busiest: " + busiest.row.name);
    if (errors.length) parts.push(counted(errors.length, "error"));
    if (dropped) parts.push(counted(dropped, "older event") + " dropped");
    document.title = file ? file + " – trace" : "Trace";
    byId("title").textContent = file || "Trace";
    byId("summary").textContent = parts.join(" · ");
  }

  legend() {
    const { used, kinds, errors } = this.model.numbers, list = byId("legend");
    FAMILIES.forEach((family, i) => {
      if (!used[i]) return;
      const names = [...kinds[i].keys()], some = names.slice(0, 4).join(", ") + (names.length > 4 ? ", …" : "");
      const text = family.waits && some && family.key !== "time" ? family.name + ": " + some : family.name;
      const sample = make("i", { class: family.waits ? "flat" : "", style: `--colour:var(--${family.key})` });
      list.append(make("li", { title: names.join(", ") }, sample, text));
    });
    const sign = (text, colour) => make("i", { class: "sign", style: `color:var(--${colour})` }, text);
    if (this.model.flows.length) list.append(make("li", {}, sign("↷", "accent"), "wakes"));
    if (errors.length) list.append(make("li", {}, sign("✕", "error"), "fails"));
  }

  // The side: numbers, help, or what was chosen

  side(title, ...children) {
    const close = make("button", { class: "close", "aria-label": "Close", onclick: () => this.choose(null) }, "✕");
    byId("side").replaceChildren(close, make("h2", {}, title), ...children.filter(Boolean));
    byId("side").scrollTop = 0;
  }

  open() { byId("side").classList.add("open"); }

  linkTo(row, i) { return make("button", { class: "link", onclick: () => this.goTo(row, i ?? -1) }, row.name); }

  list(pairs) {
    const list = make("dl");
    for (const [term, ...values] of pairs) if (values[0] !== null && values[0] !== undefined && values[0] !== "")
      list.append(make("dt", {}, term), make("dd", {}, ...values));
    return list;
  }

  numbers() {
    const { model } = this, { numbers } = model, whole = model.end - model.begin, busiest = numbers.busiest?.row;
    const at = (found) => (found ? [inWords(found.length) + " in ", this.linkTo(found.row, found.i)] : [null]);
    const tasks = model.rows.filter((row) => row.what === "task").sort((a, b) => b.busy - a.busy);
    this.side("In numbers", this.list([
      ["time", inWords(whole)],
      ["tasks", inNumbers(numbers.tasks)],
      ["steps", inNumbers(numbers.steps)],
      ["waits", inNumbers(numbers.waits)],
      ["longest step", ...at(numbers.longest)],
      ["busiest", busiest && this.linkTo(busiest),
        ` ran ${inWords(busiest?.busy ?? 0)}, ${percent(busiest?.busy, whole)}`],
      ["longest wait for its turn", ...at(numbers.late)],
      ["threads’ jobs", numbers.jobs || null],
      ["collector", numbers.pauses ? counted(numbers.pauses, "pause") + ", " + inWords(numbers.paused) : null],
      ["dropped", model.dropped ? counted(model.dropped, "event") + ", the oldest" : null],
    ]),
    numbers.errors.length ? make("h3", {}, "Errors") : null,
    ...numbers.errors.slice(0, 20).map(({ row, i, text }) =>
      make("p", {}, this.linkTo(row, i), make("br"), this.wrong(text))),
    make("h3", {}, "Tasks"), this.table(tasks.slice(0, 200)),
    tasks.length > 200 ? make("p", {}, `and ${inNumbers(tasks.length - 200)} that ran less`) : null);
    byId("side").firstChild.hidden = !matchMedia("(max-width: 760px)").matches;
  }

  table(rows) {
    const cells = (tag, attributes, contents) =>
      make("tr", {}, ...contents.map((content) => make(tag, attributes, content)));
    const body = rows.map((row) => cells("td", {}, [this.linkTo(row), inNumbers(row.steps), inWords(row.busy)]));
    const head = cells("th", { scope: "col" }, ["task", "steps", "ran"]);
    return make("table", {}, make("thead", {}, head), make("tbody", {}, ...body));
  }

  help() {
    const key = (...names) => names.flatMap((name, i) => [...(i ? [" "] : []), make("kbd", {}, name)]);
    this.side("What is to be seen",
      make("p", {}, "A row for each task. Where it is tall, the task runs; only one of a loop’s tasks runs at a time. "
        + "Where it is flat, the task waits, and the colour says for what. An arrow goes from whoever woke a task to "
        + "that task: all arrows if they are few, those of a row while the pointer is on it or it is chosen."),
      make("p", {}, "What is too short for a pixel is drawn as a line, the paler the less of that time was running. "
        + "Zoom in to see it."),
      make("h3", {}, "Hands and keys"), this.list([
        ["zoom", "wheel, two fingers, ", ...key("+", "−")],
        ["move", "drag, ", ...key("←", "→"), ", wheel with ", ...key("Shift")],
        ["rows", ...key("↑", "↓"), ", wheel over the names"],
        ["along a row", ...key(",", "."), ", then ", ...key("Enter")],
        ["the whole trace", ...key("0")],
        ["rows in this window only", ...key("w"), ", and again: all"],
        ["one stretch", "double click"],
        ["find a task", ...key("/"), ", ", ...key("Enter"), " for the next"],
        ["back", ...key("Esc")],
      ]));
    byId("side").firstChild.hidden = false;
    this.open();
  }

  // A row's stretch, or with i = -1 the row.
  choose(row, i) {
    this.view.selected = row ? { row, i } : null;
    this.view.redraw();
    if (!row) {
      byId("side").classList.remove("open");
      return this.numbers();
    }
    if (i >= 0) this.tellStretch(row, i); else this.tellRow(row);
    byId("side").firstChild.hidden = false;
    this.open();
    this.view.reveal(row);
    byId("said").textContent = byId("side").innerText.slice(1, 400);
  }

  goTo(row, i) {
    if (!this.view.isShown(row)) this.showAll();
    this.view.reveal(row);
    if (i >= 0) {
      const length = row.to[i] - row.from[i], { t0, length: seen } = this.view.window;
      if (row.from[i] < t0 || row.to[i] > t0 + seen)
        this.view.go(row.from[i] - Math.max(0, seen - length) / 2, Math.max(seen, length * 1.2));
    }
    this.choose(row, i);
  }

  span(from, to) {
    const { begin } = this.model;
    return momentInWords(from - begin, to - from) + " – " + momentInWords(to - begin, to - from);
  }

  where(text) { return text ? make("span", { class: "at" }, text) : null; }
  wrong(text) { return make("code", { class: "error" }, text); }

  tellRow(row) {
    const times = FAMILIES.map((family, k) => [family, row.totals[k]]).filter(([, time]) => time > 0);
    const toLongest = () => this.goTo(row, row.longestStep);
    this.side(row.name, this.list([
      ["made at", this.where(row.source)],
      ["made by", row.maker ? this.linkTo(row.maker) : null],
      ["from – to", row.n ? this.span(row.begin, row.end) : null],
      ["is", row.state || null],
      [row.what === "task" ? "steps" : "times", inNumbers(row.steps)],
      ["longest", row.steps ? make("button", { class: "link", onclick: toLongest }, inWords(row.longest)) : null],
      ...times.map(([family, time]) => [family.name, inWords(time) + ", " + percent(time, row.end - row.begin)]),
    ]), ...this.errorsOf(row, -Infinity, Infinity));
  }

  errorsOf(row, from, to) {
    return row.marks.filter((mark) => mark.ts >= from && mark.ts <= to && mark.args?.error)
      .map((mark) => make("p", {}, mark.name === "cancelled" ? "cancelled: " : "", this.wrong(mark.args.error)));
  }

  // What a stretch is, in a word or two.
  whatIs(row, i) {
    const event = row.events[i];
    if (row.family[i] === STEP) return "runs";
    return ["wait", "job", "loop"].includes(event.cat) ? event.name : FAMILIES[row.family[i]].name;
  }

  tellStretch(row, i) {
    const event = row.events[i], args = event.args || {}, waker = this.wakerOf(row, i);
    const isStep = row.family[i] === STEP, waits = event.cat === "wait";
    const within = (flow) => flow.from === row && flow.t0 >= row.from[i] && flow.t0 <= row.to[i];
    const flows = isStep ? row.flows.filter(within) : [];
    const woken = flows.slice(0, 12).flatMap((flow, k) =>
      [...(k ? [", "] : []), this.linkTo(flow.to, flow.to.before(flow.t1))]);
    this.side((waits ? "waits: " : "") + this.whatIs(row, i), this.list([
      [row.what === "task" ? "task" : "row", this.linkTo(row)],
      ["made at", this.where(row.source)],
      [waits ? "waits at" : "at", this.where(args.at)],
      ["until", this.where(args.to)],
      ["for", args.on_task === undefined ? args.on : this.linkToTask(args.on_task, row)],
      ["took", inWords(row.to[i] - row.from[i]) + (args.open ? ", and had not ended" : "")],
      ["from – to", this.span(row.from[i], row.to[i])],
      ["for", args.task === undefined ? null : this.linkToTask(args.task, row)],
      ["memory", args.before === undefined ? null
        : `${inNumbers(Math.round(args.before))} → ${inNumbers(Math.round(args.after))}\u202fKiB`],
      [waker?.verb || "", waker ? waker.row ? this.linkTo(waker.row, waker.i) : "the loop" : null],
      ["then ready for", waker?.ready ? inWords(waker.ready) : null],
      ["wakes", ...woken],
    ]), flows.length > 12 ? make("p", {}, "and " + (flows.length - 12) + " more") : null,
    ...this.errorsOf(row, isStep ? row.from[i] : Infinity, row.to[i] + 0.01));
  }

  linkToTask(tid, from) {
    const row = this.model.byKey.get(from.pid + "/" + tid);
    return row?.index !== undefined ? this.linkTo(row) : nameOf(tid, from, this.model);
  }

  // Who ended a wait (or had a step begin), and how long it took from there until it ran.
  wakerOf(row, i) {
    const event = row.events[i];
    if (event.cat !== "wait" && event.cat !== "ready" && row.family[i] !== STEP) return null;
    let step = i, ready = 0;
    while (step < row.n && step < i + 3 && row.family[step] !== STEP) {
      if (row.family[step] === READY) ready += row.to[step] - row.from[step];
      step++;
    }
    const from = step < row.n ? row.from[step] : Infinity;
    const flow = row.flows.find((one) => one.to === row && Math.abs(one.t1 - from) < 0.002);
    const verb = flow?.cat === "spawn" ? "made by" : flow?.cat === "cancel" ? "cancelled by" : "woken by";
    if (flow && flow.from.what !== "loop") return { row: flow.from, i: flow.from.before(flow.t0), ready, verb };
    return event.args?.by === 0 || flow ? { ready, verb } : ready ? { ready, verb } : null;
  }

  find(text) {
    byId("find").value = text;
    this.view.marked = text.trim().toLowerCase() || null;
    this.filter();
  }

  // Only rows with something in the window that is to be seen now; until it is undone, wherever one goes.
  keepHere(on) {
    const { t0, length } = this.view.window;
    this.here = on ? [t0, t0 + length] : null;
    byId("here").setAttribute("aria-pressed", on);
    this.filter();
  }

  filter() {
    const { model, view, here } = this, { marked } = view;
    const rows = model.rows.filter((row) => (!marked || row.name.toLowerCase().includes(marked))
      && (!here || (row.begin <= here[1] && row.end >= here[0])));
    byId("found").textContent = marked || here ? `${inNumbers(rows.length)} of ${inNumbers(model.rows.length)}` : "";
    view.show(rows);
    if (view.selected) view.reveal(view.selected.row);
  }

  showAll() {
    this.find("");
    this.keepHere(false);
  }

  whole() {
    this.view.go(-Infinity, Infinity);
    if (this.here) this.keepHere(false);
  }

  nextFound(way) {
    const rows = this.view.shown, at = rows.indexOf(this.view.selected?.row);
    if (rows.length) this.goTo(rows[(at + way + rows.length) % rows.length], -1);
  }

  walk(way) {
    const { selected, window: { t0, length }, shown } = this.view, row = selected?.row || shown[0];
    if (!row?.n) return;
    const i = selected?.i >= 0 ? selected.i + way : Math.max(0, row.before(t0 + (way > 0 ? 0 : length)));
    if (i >= 0 && i < row.n) this.goTo(row, i);
  }

  walkRows(way) {
    const { selected, shown } = this.view, at = selected ? shown.indexOf(selected.row) : way > 0 ? -1 : shown.length;
    const row = shown[Math.min(Math.max(at + way, 0), shown.length - 1)];
    if (row) this.goTo(row, -1);
  }

  hit(x, y) {
    const row = this.view.rowAt(y);
    if (!row) return null;
    return { row, i: x < this.view.gutter ? -1 : row.at(this.view.time(x), 4 / this.view.scale), x, y };
  }

  point(x, y) {
    const { view } = this, hit = x === undefined ? null : this.hit(x, y), tip = byId("tip");
    view.hovered = hit;
    view.redraw();
    tip.hidden = !hit || (hit.i < 0 && x >= view.gutter);
    if (tip.hidden) return;
    const { row, i } = hit, args = row.events[i]?.args, ran = inWords(row.busy) + " of running in ";
    const lines = i < 0
      ? [row.name, row.source && "made at " + row.source, row.n && ran + inNumbers(row.steps)]
      : [this.whatIs(row, i) + ", " + inWords(row.to[i] - row.from[i]), row.name, args?.on, args?.at || args?.to];
    tip.replaceChildren(...lines.filter(Boolean).map((text, k) => make(k ? "div" : "b", {}, text)));
    const box = view.canvas.getBoundingClientRect();
    tip.style.left = Math.min(box.left + x + 14, innerWidth - tip.offsetWidth - 6) + "px";
    tip.style.top = Math.min(box.top + y + 18, innerHeight - tip.offsetHeight - 6) + "px";
  }

  // Hands

  listen() {
    const { view } = this, on = (id, handler) => { byId(id).onclick = handler; };
    on("nearer", () => view.zoom(0.5));
    on("farther", () => view.zoom(2));
    on("whole", () => this.whole());
    on("here", () => this.keepHere(!this.here));
    on("help", () => this.help());
    on("about", () => {
      if (byId("side").classList.contains("open")) return this.choose(null);
      this.choose(null);
      this.open();
    });
    byId("find").oninput = (event) => this.find(event.target.value);
    byId("scroll").onscroll = () => view.redraw();
    new ResizeObserver(() => view.resize()).observe(byId("scroll"));
    matchMedia("(prefers-color-scheme: dark)").onchange = () => {
      view.takeColours();
      view.redraw();
    };
    document.onkeydown = (event) => this.onKey(event);
    view.canvas.addEventListener("wheel", (event) => this.onWheel(event), { passive: false });
    this.listenToFingers();
    this.listenToMap();
  }

  onWheel(event) {
    const { view } = this, x = event.offsetX, size = event.deltaMode === 1 ? 16 : event.deltaMode === 2 ? 400 : 1;
    if (x < view.gutter && !event.ctrlKey) return; // the rows scroll
    event.preventDefault();
    const sideways = event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY);
    if (sideways) return view.pan((event.deltaX || event.deltaY) * size);
    view.zoom(Math.exp(Math.max(-300, Math.min(300, event.deltaY * size)) * (event.ctrlKey ? 0.01 : 0.0022)), x);
  }

  listenToFingers() {
    const { view } = this, { canvas } = view, fingers = new Map();
    let moved = 0;
    const at = (event) => {
      const box = canvas.getBoundingClientRect();
      return { x: event.clientX - box.left, y: event.clientY - box.top };
    };
    canvas.onpointerdown = (event) => {
      if (event.button > 0) return;
      if (!fingers.size) moved = 0;
      fingers.set(event.pointerId, at(event));
      try { canvas.setPointerCapture(event.pointerId); } catch { /* it is gone already */ }
    };
    canvas.onpointermove = (event) => {
      const before = fingers.get(event.pointerId), now = at(event);
      if (!before) return event.pointerType === "mouse" ? this.point(now.x, now.y) : undefined;
      moved += Math.abs(now.x - before.x) + Math.abs(now.y - before.y);
      const other = [...fingers].find(([id]) => id !== event.pointerId)?.[1];
      fingers.set(event.pointerId, now);
      if (moved < 5) return;
      if (!canvas.classList.contains("dragging")) {
        canvas.classList.add("dragging");
        this.point();
      }
      if (other) {
        const was = Math.max(Math.abs(before.x - other.x), 12), is = Math.max(Math.abs(now.x - other.x), 12);
        view.zoom(was / is, (before.x + other.x) / 2);
        return view.pan(((before.x - now.x) / 2));
      }
      view.pan(before.x - now.x);
      if (event.pointerType === "mouse") byId("scroll").scrollTop += before.y - now.y;
    };
    const lift = (event) => {
      const was = fingers.delete(event.pointerId);
      if (fingers.size) return;
      canvas.classList.remove("dragging");
      if (!was || moved >= 5 || event.type === "pointercancel") return;
      const { x, y } = at(event), hit = this.hit(x, y);
      if (hit) this.choose(hit.row, hit.i); else this.choose(null);
    };
    canvas.onpointerup = canvas.onpointercancel = lift;
    canvas.onpointerleave = () => { if (!fingers.size) this.point(); };
    canvas.ondblclick = (event) => {
      const hit = this.hit(event.offsetX, event.offsetY);
      if (!hit || hit.i < 0) return;
      const length = hit.row.to[hit.i] - hit.row.from[hit.i];
      view.go(hit.row.from[hit.i] - length * 0.1, length * 1.2);
    };
  }

  listenToMap() {
    const { view } = this, { map } = view;
    const go = (event) => {
      const part = (event.offsetX - view.gutter) / view.plot, whole = this.model.end - this.model.begin;
      view.go(this.model.begin + part * whole - view.window.length / 2, view.window.length);
    };
    map.onpointerdown = (event) => {
      try { map.setPointerCapture(event.pointerId); } catch { /* it is gone already */ }
      go(event);
    };
    map.onpointermove = (event) => { if (event.buttons) go(event); };
    map.onwheel = (event) => this.onWheel(event);
  }

  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { view } = this, find = byId("find");
    if (event.target === find) {
      if (event.key === "Enter") this.nextFound(event.shiftKey ? -1 : 1);
      else if (event.key === "Escape") {
        this.find("");
        view.canvas.focus();
      } else return;
      return event.preventDefault();
    }
    const arrows = {
      ArrowLeft: () => view.pan(-view.plot / 8), ArrowRight: () => view.pan(view.plot / 8),
      ArrowUp: () => this.walkRows(-1), ArrowDown: () => this.walkRows(1),
    };
    const keys = {
      "+": () => view.zoom(0.5), "=": () => view.zoom(0.5), "-": () => view.zoom(2),
      "0": () => this.whole(), w: () => this.keepHere(!this.here), ",": () => this.walk(-1), ".": () => this.walk(1),
      "/": () => find.focus(), "?": () => this.help(), Escape: () => this.choose(null),
      Home: () => view.go(-Infinity, view.window.length), End: () => view.go(Infinity, view.window.length),
      ...(byId("side").contains(event.target) ? {} : arrows),
    };
    if (event.target === view.canvas) keys.Enter = () => {
      if (view.selected) byId("side").focus();
    };
    if (!keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  }
}

// Begins with the element that holds the trace; specs find the page as `asyncioPage`.
function start(element) {
  let trace;
  try {
    trace = JSON.parse(element.textContent);
  } catch (error) {
    byId("summary").textContent = "This trace cannot be read: " + error.message;
    return;
  }
  element.textContent = "";
  const model = readTrace(trace);
  window.asyncioPage = new Page(model);
  if (!model.rows.length) byId("summary").textContent = "Nothing happened while this was traced.";
}
]==]
