--- What the page of a trace knows, in JavaScript and without a document: events to rows, what of a row stands where
-- in a window of time, ticks and words. (Part of asyncio.page.)
return [==[
"use strict";

// What a row's stretches can be, the order of the legend. `waits` are drawn flat, the others at a row's full height.
const FAMILIES = [
  { key: "step", name: "runs" },
  { key: "ready", name: "woken, not yet its turn" },
  { key: "time", name: "sleeps", waits: true },
  { key: "task", name: "waits for tasks", waits: true },
  { key: "items", name: "waits for items", waits: true },
  { key: "sync", name: "waits to be let on", waits: true },
  { key: "net", name: "waits for the network", waits: true },
  { key: "outside", name: "waits for threads, files, programs", waits: true },
  { key: "other", name: "waits", waits: true },
  { key: "job", name: "a thread works" },
  { key: "gc", name: "the collector works" },
  { key: "turn", name: "a turn of the loop" },
  { key: "callback", name: "a callback runs" },
  { key: "poll", name: "the loop waits for the system", waits: true },
];
const FAMILY = Object.fromEntries(FAMILIES.map((family, i) => [family.key, i]));
const STEP = FAMILY.step, READY = FAMILY.ready;

// The words that a wait's kind begins with.
const WORDS = [
  ["time", /^(sleep|socket\.sleep|give way|callback)/],
  ["task", /^(await|gather|wait$|wait for|as_completed|race|the first|task|future|shield)/],
  ["items", /^(queue|channel|map|get|put|join|iter)/],
  ["sync", /^(lock|event|condition|semaphore|barrier|pool)/],
  ["outside", /^(job|file|watch|process|thread|remote|stop|pass_stream)/],
  ["net", /^(read|write|drain|lines|blocks|peek|wait_eof|copy|send|receive|socket|stream)/],
  ["net", /^(connect|name lookup|start_tls|close|wait_closed|shutdown|serve|accept|detach|TLS)/],
];

function familyOf(cat, name) {
  if (cat === "loop") return FAMILY[name] ?? FAMILY.turn;
  if (cat !== "wait") return FAMILY[cat] ?? FAMILY.other;
  for (const [key, pattern] of WORDS) if (pattern.test(name)) return FAMILY[key];
  return FAMILY.other;
}

// The first i in [from, to) with list[i] > limit (with `orAt`: or equal to it), in a list in order; `to` if none.
function firstPast(list, limit, from, to, orAt) {
  while (from < to) {
    const middle = (from + to) >> 1;
    if (orAt ? list[middle] >= limit : list[middle] > limit) to = middle; else from = middle + 1;
  }
  return from;
}

// Rows, stretches and arrows

class Row {
  constructor(key, pid, tid) {
    Object.assign(this, { key, pid, tid, what: "task", name: "", source: "", state: "" });
    Object.assign(this, { events: [], marks: [], flows: [] });
  }

  // The events one after the other: what the loop's turns hold has its place within them.
  pieces() {
    const events = this.events.sort((a, b) => a.ts - b.ts || !a.dur - !b.dur || b.dur - a.dur);
    if (this.what !== "loop") return events;
    const pieces = [], open = [];
    const add = (event, ts, end) => { if (end > ts || !event.dur) pieces.push({ ...event, ts, dur: end - ts }); };
    let time = -Infinity;
    const close = (before) => {
      while (open.length && open.at(-1).ts + open.at(-1).dur <= before) {
        const event = open.pop(), end = event.ts + event.dur;
        add(event, time, end);
        time = end;
      }
    };
    for (const event of events) {
      close(event.ts + 0.001); // they are written with three places
      if (open.length) add(open.at(-1), time, event.ts);
      open.push(event);
      time = event.ts;
    }
    close(Infinity);
    return pieces;
  }

  // The stretches in order, in arrays: looking one up costs no walk, however many there are.
  finish() {
    const events = this.events = this.pieces(), n = events.length;
    this.n = n;
    this.from = new Float64Array(n);
    this.to = new Float64Array(n);
    this.family = new Uint8Array(n);
    this.ran = new Float64Array(n + 1); // how long it had been running before the i-th
    this.totals = new Float64Array(FAMILIES.length);
    this.steps = this.longest = 0;
    this.longestStep = -1;
    events.forEach((event, i) => {
      const from = Math.max(event.ts, i ? this.to[i - 1] : -Infinity);
      const family = familyOf(event.cat, event.name);
      this.from[i] = from;
      this.to[i] = Math.max(from, event.ts + (event.dur || 0));
      this.family[i] = family;
      const length = this.to[i] - from, runs = !FAMILIES[family].waits && family !== READY;
      this.ran[i + 1] = this.ran[i] + (runs ? length : 0);
      this.totals[family] += length;
      if (!runs) return;
      this.steps++;
      if (this.longestStep < 0 || length > this.longest) [this.longest, this.longestStep] = [length, i];
    });
    this.busy = this.ran[n];
    this.begin = n ? this.from[0] : Infinity;
    this.end = n ? this.to[n - 1] : -Infinity;
  }

  // The stretch at a time, or the nearest one that runs within `reach`: what runs is often too short to hit.
  at(time, reach) {
    const i = firstPast(this.to, time - reach, 0, this.n);
    let best = -1, nearest = Infinity;
    for (let j = i; j < this.n && j < i + 64 && this.from[j] <= time + reach; j++) {
      const away = Math.max(this.from[j] - time, time - this.to[j], 0);
      const rank = away + (this.family[j] === STEP ? 0 : reach * 0.75);
      if ((away === 0 || this.to[j] - this.from[j] < reach) && rank < nearest) [best, nearest] = [j, rank];
    }
    return best;
  }

  // The last stretch that begins at a time or before.
  before(time) { return firstPast(this.from, time, 0, this.n) - 1; }

  // Calls draw(x0, x1, family, runs, i, count) for what is to be seen from time t0 on, at so many pixels a
  // microsecond. Whatever is narrower than a pixel is drawn together with what else is in that pixel: count says
  // how many, `runs` which part of the pixel was running. So no row costs more than two calls a pixel, whatever
  // there is in it.
  scan(t0, scale, width, draw) {
    const { n, from, to, family, ran } = this, t1 = t0 + width / scale;
    let i = firstPast(to, t0, 0, n, true), calls = 0;
    while (i < n && from[i] <= t1) {
      const x0 = (from[i] - t0) * scale, x1 = (to[i] - t0) * scale;
      calls++;
      if (x1 - x0 >= 1) {
        draw(Math.max(x0, -1), Math.min(x1, width + 1), family[i], family[i] === STEP ? 1 : 0, i, 1);
        i++;
        continue;
      }
      const column = Math.floor(x0), right = t0 + (column + 1) / scale;
      let next = Math.max(i + 1, firstPast(from, right, i, n, true));
      if (next > i + 1 && (to[next - 1] - from[next - 1]) * scale >= 1) next--;
      const part = Math.min(1, (ran[next] - ran[i]) * scale);
      draw(column, column + 1, this.mostOf(i, next), next > i + 1 || part > 0 ? part : 0, i, next - i);
      i = next;
    }
    return calls;
  }

  // What most of the stretches in [i, next) are, as far as eight of them tell; what only runs counts last.
  mostOf(i, next) {
    let best = i, length = -1;
    const step = Math.max(1, Math.floor((next - i) / 8));
    for (let j = i; j < next; j += step) {
      const l = this.to[j] - this.from[j];
      if (l > length) [best, length] = [j, l];
    }
    return this.family[best];
  }

  // Whether something in [i, next) runs: its ticks are to be seen, however short.
  hasStep(i, next) {
    if (this.ran[next] > this.ran[i]) return true;
    for (let j = i; j < next && j < i + 16; j++) if (this.family[j] === STEP) return true;
    return false;
  }
}

// The order of a loop's rows: where there are many tasks, nobody would find what stands below them.
const PLACES = ["loop", "task", "jobs", "collector"], CROWDED = ["loop", "jobs", "collector", "task"];
const MANY_TASKS = 12;

// The rows of a trace in the Trace Event form: an array, or an object with `traceEvents`.
function readTrace(trace) {
  const events = Array.isArray(trace) ? trace : trace.traceEvents || [], other = trace.otherData || {};
  const rows = new Map(), arrows = new Map(), loops = new Map(), order = [];
  const rowOf = (event) => {
    const key = event.pid + "/" + event.tid;
    let row = rows.get(key);
    if (!row) {
      rows.set(key, row = new Row(key, event.pid, event.tid));
      row.order = order.length;
      order.push(row);
    }
    return row;
  };
  let begin = Infinity, end = -Infinity;
  const flows = [];
  for (const event of events) {
    const args = event.args || {};
    switch (event.ph) {
    case "M":
      if (event.name === "thread_name") {
        const row = rowOf(event);
        row.name = String(args.name ?? "");
        row.source = (args.source || "").replace(/:0$/, ""); // a script has no line of its own
        row.state = args.state || "";
        row.what = args.what || row.what;
        row.maker = args.made_by === undefined ? null : event.pid + "/" + args.made_by;
      } else if (event.name === "thread_sort_index") rowOf(event).sort = args.sort_index;
      else if (event.name === "process_name") loops.set(event.pid, args.name);
      break;
    case "X":
      rowOf(event).events.push(event);
      begin = Math.min(begin, event.ts);
      end = Math.max(end, event.ts + (event.dur || 0));
      break;
    case "i": case "I":
      rowOf(event).marks.push(event);
      begin = Math.min(begin, event.ts);
      end = Math.max(end, event.ts);
      break;
    case "s":
      arrows.set(event.id, event);
      break;
    case "f": {
      const start = arrows.get(event.id);
      if (start) flows.push({ t0: start.ts, t1: event.ts, from: rowOf(start), to: rowOf(event), cat: event.cat });
      arrows.delete(event.id);
    }
    }
  }
  if (begin > end) begin = end = 0;
  order.forEach((row) => row.finish());
  const list = order.filter((row) => row.n || row.marks.length || row.what === "task");
  const places = list.filter((row) => row.what === "task").length > MANY_TASKS ? CROWDED : PLACES;
  const place = (row) => places.indexOf(row.what);
  list.sort((a, b) => a.pid - b.pid || place(a) - place(b) || (a.sort ?? 0) - (b.sort ?? 0) || a.order - b.order);
  list.forEach((row, i) => {
    row.index = i;
    row.name ||= "row " + row.key;
    if (loops.size > 1 && row.what === "loop") row.name = loops.get(row.pid) || row.name;
    row.maker = row.maker && rows.get(row.maker);
    row.marks.sort((a, b) => a.ts - b.ts);
  });
  flows.sort((a, b) => a.t0 - b.t0);
  flows.forEach((flow) => {
    flow.from.flows.push(flow);
    if (flow.to !== flow.from) flow.to.flows.push(flow);
  });
  const model = { rows: list, byKey: rows, flows, begin, end, events: events.length, program: other.program || "",
    clock: other.clock, dropped: other.dropped || 0, flowTimes: Float64Array.from(flows, (flow) => flow.t0) };
  model.numbers = numbersOf(model);
  return model;
}

// The name of a loop's task by its number.
function nameOf(tid, { pid }, model) {
  const row = model.byKey.get(pid + "/" + tid);
  return row?.index !== undefined ? row.name : "task " + tid;
}

// What a trace says in numbers.
function numbersOf(model) {
  const numbers = { tasks: 0, steps: 0, waits: 0, errors: [], pauses: 0, paused: 0, jobs: 0,
    used: new Uint8Array(FAMILIES.length), kinds: FAMILIES.map(() => new Map()),
    longest: null, busiest: null, late: null };
  for (const row of model.rows) {
    for (let i = 0; i < row.n; i++) {
      const family = row.family[i], event = row.events[i];
      numbers.used[family] = 1;
      if (event.args?.on_task !== undefined) event.args.on = nameOf(event.args.on_task, row, model);
      if (row.what === "task" && FAMILIES[family].waits) {
        numbers.waits++;
        numbers.kinds[family].set(event.name, (numbers.kinds[family].get(event.name) || 0) + 1);
      }
      if (family === READY && row.to[i] - row.from[i] > (numbers.late?.length ?? 0))
        numbers.late = { row, i, length: row.to[i] - row.from[i] };
    }
    for (const mark of row.marks)
      if (mark.name === "failed")
        numbers.errors.push({ row, i: row.before(mark.ts), text: mark.args?.error || "failed" });
    if (row.what === "task") {
      numbers.tasks++;
      numbers.steps += row.steps;
      if (row.longestStep >= 0 && row.longest > (numbers.longest?.length ?? -1))
        numbers.longest = { row, i: row.longestStep, length: row.longest };
      if (row.n && row.busy > (numbers.busiest?.row.busy ?? -1)) numbers.busiest = { row };
    } else if (row.what === "jobs") numbers.jobs += row.steps;
    else if (row.what === "collector") {
      numbers.pauses += row.n;
      numbers.paused += row.busy;
    }
  }
  return numbers;
}

// The part of model.flows that begins in a window: [first, last).
function flowsWithin(model, t0, t1) {
  const n = model.flowTimes.length;
  return [firstPast(model.flowTimes, t0, 0, n, true), firstPast(model.flowTimes, t1, 0, n)];
}

// The window of time

const NARROWEST = 0.5; // microseconds

function clampWindow(bounds, t0, length) {
  const whole = Math.max(bounds.end - bounds.begin, NARROWEST), margin = whole * 0.02;
  length = Math.min(Math.max(length, NARROWEST), whole + 2 * margin);
  t0 = Math.min(Math.max(t0, bounds.begin - margin), bounds.end + margin - length);
  if (length >= whole + 2 * margin) t0 = bounds.begin - margin;
  return { t0, length };
}

// What stands at `time` stays where it is.
function zoomWindow(bounds, window, factor, time) {
  const whole = Math.max(bounds.end - bounds.begin, NARROWEST) * 1.04;
  const length = Math.min(Math.max(window.length * factor, NARROWEST), whole);
  return clampWindow(bounds, time - (time - window.t0) * (length / window.length), length);
}

// Words and ticks

function inWords(us) {
  const a = Math.abs(us);
  const write = (value, unit) => Number(value.toPrecision(3)).toString() + "\u202f" + unit;
  if (a < 1e-6) return "0\u202fs";
  if (a < 1) return write(us * 1000, "ns");
  if (a < 999.5) return write(us, "µs");
  if (a < 999500) return write(us / 1000, "ms");
  if (a < 60e6) return write(us / 1e6, "s");
  const seconds = Math.round(a / 1e6);
  if (seconds < 3600) return Math.floor(seconds / 60) + "\u202fmin " + (seconds % 60) + "\u202fs";
  return Math.floor(seconds / 3600) + "\u202fh " + Math.floor(seconds % 3600 / 60) + "\u202fmin";
}

// A moment, as exactly as a stretch of that length needs.
function momentInWords(us, length) {
  const [unit, one] = Math.abs(us) >= 1e6 ? ["s", 1e6] : Math.abs(us) >= 1000 ? ["ms", 1e3] : ["µs", 1];
  const digits = Math.min(Math.max(0, Math.ceil(Math.log10(one / Math.max(length, 1e-3))) + 1), 6);
  return Number(us / one).toFixed(us === 0 ? 0 : digits) + "\u202f" + unit;
}

// Times at round numbers, at least `apart` pixels from each other, each with its text.
function ticksOf(t0, length, width, apart) {
  const least = length * apart / width;
  let step = 10 ** Math.floor(Math.log10(least));
  step *= [1, 2, 5, 10].find((factor) => step * factor >= least) ?? 10;
  const [unit, one] = step >= 1e5 ? ["s", 1e6] : step >= 100 ? ["ms", 1e3] : step >= 0.1 ? ["µs", 1] : ["ns", 1e-3];
  const digits = Math.max(0, -Math.floor(Math.log10(step / one) + 1e-9));
  const ticks = [];
  for (let i = Math.ceil(t0 / step - 1e-9); i * step <= t0 + length; i++)
    ticks.push({ time: i * step, text: (i * step / one).toFixed(digits) + "\u202f" + unit });
  return ticks;
}
]==]
