--- The canvas of the page of a trace: what is to be seen of the rows, the arrows, the axis, and the strip above them.
-- (Part of asyncio.page.)
return [==[
const AXIS = 26;
const FEW_ARROWS = 80, MOST_ARROWS = 600; // all are drawn if they are few; of a row's own at most so many

class Timeline {
  constructor(model, canvas, scroller, map) {
    Object.assign(this, { model, canvas, scroller, map, shown: model.rows });
    this.selected = this.hovered = this.marked = null;
    this.window = clampWindow(model, model.begin, Infinity);
    this.drawn = { frames: 0, calls: 0, spans: 0, arrows: 0 };
    this.takeColours();
    this.resize();
  }

  takeColours() {
    const style = getComputedStyle(document.documentElement);
    const get = (name) => style.getPropertyValue("--" + name).trim();
    this.colours = FAMILIES.map((family) => get(family.key));
    for (const name of ["back", "band", "line", "text", "dim", "accent", "error"]) this[name] = get(name);
    this.font = getComputedStyle(document.body).fontFamily;
  }

  // Names stand beside the rows, or, where it is narrow, above them.
  resize() {
    const ratio = window.devicePixelRatio || 1;
    this.width = this.scroller.clientWidth;
    this.height = this.scroller.clientHeight;
    this.narrow = this.width < 620;
    this.gutter = this.narrow ? 0 : Math.min(230, Math.round(this.width * 0.25));
    this.rowHeight = this.narrow ? 48 : 38;
    this.barTop = this.narrow ? 19 : 7;
    this.barHeight = 24;
    for (const [canvas, height] of [[this.canvas, this.height], [this.map, 34]]) {
      canvas.width = Math.round(this.width * ratio);
      canvas.height = Math.round(height * ratio);
      canvas.style.height = height + "px";
      canvas.getContext("2d").setTransform(ratio, 0, 0, ratio, 0, 0);
    }
    this.overview = null;
    this.tall();
  }

  // As tall as its rows: the browser scrolls.
  tall() {
    const room = this.narrow ? this.height * 0.6 : 8; // what is chosen is told of over the lowest rows
    const height = Math.max(AXIS + this.shown.length * this.rowHeight + room, this.height);
    this.canvas.parentNode.style.height = height + "px";
    this.redraw();
  }

  redraw() {
    this.due ||= requestAnimationFrame(() => {
      this.due = 0;
      this.draw();
    });
  }

  get plot() { return Math.max(50, this.width - this.gutter); }
  get scale() { return this.plot / this.window.length; }
  x(time) { return this.gutter + (time - this.window.t0) * this.scale; }
  time(x) { return this.window.t0 + (x - this.gutter) / this.scale; }
  y(position) { return AXIS + position * this.rowHeight - this.scroller.scrollTop; }

  rowAt(y) {
    if (y < AXIS) return null;
    return this.shown[Math.floor((y - AXIS + this.scroller.scrollTop) / this.rowHeight)] || null;
  }

  zoom(factor, x) {
    this.window = zoomWindow(this.model, this.window, factor, this.time(x ?? this.gutter + this.plot / 2));
    this.redraw();
  }

  pan(pixels) { this.go(this.window.t0 + pixels / this.scale, this.window.length); }

  go(t0, length) {
    this.window = clampWindow(this.model, t0, length);
    this.redraw();
  }

  show(rows) {
    this.shown = rows;
    rows.forEach((row, i) => { row.position = i; });
    this.scroller.scrollTop = 0;
    this.tall();
  }

  reveal(row) {
    if (this.shown[row.position] !== row) return;
    const side = document.querySelector("aside.open"), bottom = this.canvas.getBoundingClientRect().bottom;
    const covered = this.narrow && side ? Math.max(0, bottom - side.getBoundingClientRect().top) : 0;
    const y = this.y(row.position), low = this.height - covered - this.rowHeight;
    if (y < AXIS || y > low) this.scroller.scrollTop += y - (y < AXIS ? AXIS : low);
  }

  draw() {
    const g = this.canvas.getContext("2d");
    this.drawn.frames++;
    this.drawn.calls = this.drawn.spans = this.drawn.arrows = 0;
    g.fillStyle = this.back;
    g.fillRect(0, 0, this.width, this.height);
    const ticks = ticksOf(this.window.t0, this.window.length, this.plot, this.narrow ? 64 : 90);
    const first = Math.max(0, Math.floor(this.scroller.scrollTop / this.rowHeight));
    const last = Math.min(this.shown.length, first + Math.ceil(this.height / this.rowHeight) + 1);
    this.drawBands(g, first, last);
    this.drawLines(g, ticks);
    g.save();
    g.beginPath();
    g.rect(this.gutter, AXIS, this.plot, this.height);
    g.clip();
    for (let i = first; i < last; i++) this.drawRow(g, this.shown[i], this.y(i));
    this.drawArrows(g);
    g.restore();
    for (let i = first; i < last; i++) this.drawName(g, this.shown[i], this.y(i));
    this.drawAxis(g, ticks);
    this.drawMap();
  }

  drawBands(g, first, last) {
    for (let i = first; i < last; i++) {
      const row = this.shown[i], y = this.y(i);
      if (i % 2) {
        g.fillStyle = this.band;
        g.fillRect(0, y, this.width, this.rowHeight);
      }
      if (row === this.selected?.row || row === this.hovered?.row) {
        g.globalAlpha = row === this.selected?.row ? 0.16 : 0.07;
        g.fillStyle = this.accent;
        g.fillRect(0, y, this.width, this.rowHeight);
        g.globalAlpha = 1;
      }
    }
  }

  drawLines(g, ticks) {
    g.fillStyle = this.line;
    g.globalAlpha = 0.6;
    for (const tick of ticks) g.fillRect(Math.round(this.x(tick.time)), AXIS, 1, this.height);
    g.globalAlpha = 1;
  }

  drawRow(g, row, y) {
    const { scale, gutter, plot, colours } = this, top = y + this.barTop, full = this.barHeight;
    const flat = Math.round(full * 0.46), flatTop = top + (full - flat) / 2, ticks = [], words = [];
    this.drawn.calls += row.scan(this.window.t0, scale, plot, (x0, x1, family, runs, i, count) => {
      this.drawn.spans += count;
      const waits = FAMILIES[family].waits;
      if (waits || family === READY) {
        g.globalAlpha = waits ? 0.62 : 0.9;
        g.fillStyle = colours[family];
        g.fillRect(gutter + x0, waits ? flatTop : flatTop - 3, x1 - x0, waits ? flat : flat + 6);
      } else ticks.push(x0, x1, family, 1);
      if (count === 1 && x1 - x0 > 46 && family !== STEP && family !== FAMILY.turn) words.push(x0, x1, i);
      if (count > 1 && (waits || family === READY) && row.hasStep(i, i + count))
        ticks.push(x0, x1, STEP, Math.max(runs, 0.3));
    });
    for (let i = 0; i < ticks.length; i += 4) { // after what waits, so that the shortest is to be seen
      const [x0, x1, family, part] = [ticks[i], ticks[i + 1], ticks[i + 2], ticks[i + 3]];
      g.globalAlpha = family === FAMILY.turn ? 0.55 : 0.35 + 0.65 * part;
      g.fillStyle = colours[family];
      g.fillRect(gutter + x0, top, Math.max(x1 - x0, 1.6), full);
    }
    g.globalAlpha = 1;
    this.writeIn(g, row, words, top + full / 2);
    this.drawMarks(g, row, top, full);
    const chosen = this.selected?.row === row ? this.selected.i : -1;
    if (chosen >= 0) {
      const x0 = Math.max(this.x(row.from[chosen]), gutter - 2);
      const x1 = Math.min(this.x(row.to[chosen]), this.width + 2);
      g.strokeStyle = this.text;
      g.lineWidth = 2;
      g.strokeRect(x0 - 1, top - 2, Math.max(x1 - x0, 2) + 2, full + 4);
    }
  }

  // What a stretch is, in it: as much as there is room for.
  writeIn(g, row, words, y) {
    g.font = "11.5px " + this.font;
    g.textBaseline = "middle";
    for (let i = 0; i < words.length; i += 3) {
      const x0 = Math.max(words[i], 0), x1 = Math.min(words[i + 1], this.plot), event = row.events[words[i + 2]];
      const { waits } = FAMILIES[row.family[words[i + 2]]];
      g.fillStyle = waits || event.cat === "ready" ? this.text : this.back;
      const text = event.name + (event.args?.on ? " · " + event.args.on : "");
      const short = fit(g, text, x1 - x0 - 12) || fit(g, event.name, x1 - x0 - 12);
      if (short) g.fillText(short, this.gutter + x0 + 6, y + 0.5);
    }
  }

  // Ends: a cross for an error, a slash for a cancellation.
  drawMarks(g, row, top, full) {
    const { t0, length } = this.window;
    for (const mark of row.marks) {
      if (mark.ts < t0 || mark.ts > t0 + length) continue;
      const x = this.x(mark.ts), failed = mark.name === "failed", cancelled = mark.name === "cancelled";
      g.lineWidth = failed ? 2.5 : 1.5;
      g.strokeStyle = failed ? this.error : this.dim;
      g.beginPath();
      if (!failed && !cancelled) {
        g.moveTo(x, top);
        g.lineTo(x, top + full);
      } else {
        const r = 6, y = top + full / 2, at = x + 8;
        g.moveTo(at - r, y + r);
        g.lineTo(at + r, y - r);
        if (failed) {
          g.moveTo(at - r, y - r);
          g.lineTo(at + r, y + r);
        }
      }
      g.stroke();
    }
  }

  // From whoever woke to who was woken: those of the row in question, or all if they are few.
  drawArrows(g) {
    const { t0, length } = this.window, t1 = t0 + length, row = (this.hovered || this.selected)?.row;
    let flows = row ? row.flows.filter((flow) => flow.t1 >= t0 && flow.t0 <= t1) : [], alpha = 0.95;
    if (!row) {
      const [first, last] = flowsWithin(this.model, t0, t1);
      if (last - first > FEW_ARROWS) return;
      flows = this.model.flows.slice(first, last);
      alpha = 0.5;
    }
    g.strokeStyle = g.fillStyle = this.accent;
    g.lineWidth = 1.4;
    const count = Math.min(flows.length, MOST_ARROWS);
    for (let i = 0; i < count; i++) {
      const flow = flows[Math.floor(i * flows.length / count)];
      if (flow.from === flow.to || !this.isShown(flow.from) || !this.isShown(flow.to)) continue;
      g.globalAlpha = alpha;
      this.drawArrow(g, flow);
      this.drawn.arrows++;
    }
    g.globalAlpha = 1;
  }

  isShown(row) { return this.shown[row.position] === row; }

  drawArrow(g, flow) {
    const down = flow.to.position > flow.from.position, half = this.barHeight / 2;
    const x0 = this.x(flow.t0), y0 = this.y(flow.from.position) + this.barTop + (down ? half * 2 : 0);
    const x1 = this.x(flow.t1), y1 = this.y(flow.to.position) + this.barTop + (down ? 0 : half * 2);
    if (Math.max(y0, y1) < 0 || Math.min(y0, y1) > this.height) return;
    const way = down ? 1 : -1, bend = Math.min(26, 8 + Math.abs(y1 - y0) / 4);
    g.beginPath();
    g.moveTo(x0, y0);
    g.bezierCurveTo(x0 + bend / 3, y0 + way * bend, x1 - bend, y1 - way * bend, x1, y1 - way * 5);
    g.stroke();
    g.beginPath();
    g.moveTo(x1, y1);
    g.lineTo(x1 - 4, y1 - way * 7);
    g.lineTo(x1 + 4, y1 - way * 7);
    g.fill();
  }

  drawName(g, row, y) {
    g.textBaseline = "alphabetic";
    const room = (this.narrow ? this.width : this.gutter) - 22;
    const found = this.marked && row.name.toLowerCase().includes(this.marked);
    g.font = (found || row === this.selected?.row ? "600 " : "") + "13px " + this.font;
    g.fillStyle = row.state === "failed" ? this.error : this.text;
    if (this.narrow) {
      const name = fit(g, row.name, row.source ? room * 0.6 : room), used = g.measureText(name).width;
      g.fillText(name, 8, y + 14);
      g.font = "11.5px " + this.font;
      g.fillStyle = this.dim;
      if (row.source) g.fillText(fitEnd(g, row.source, room - used), 16 + used, y + 14);
      return;
    }
    const two = row.source !== "";
    g.fillText(fit(g, row.name, room), 14, y + (two ? 17 : 24));
    if (!two) return;
    g.font = "11.5px " + this.font;
    g.fillStyle = this.dim;
    g.fillText(fitEnd(g, row.source, room), 14, y + 31);
  }

  drawAxis(g, ticks) {
    g.fillStyle = this.back;
    g.fillRect(0, 0, this.width, AXIS);
    g.fillStyle = this.line;
    g.fillRect(0, AXIS - 1, this.width, 1);
    if (this.gutter) g.fillRect(this.gutter - 1, 0, 1, this.height);
    g.font = "11.5px " + this.font;
    g.fillStyle = this.dim;
    g.textBaseline = "middle";
    for (const tick of ticks) {
      const x = this.x(tick.time), text = tick.text, width = g.measureText(text).width;
      if (x < this.gutter - 1 || x + width + 6 > this.width) continue;
      g.fillRect(Math.round(x), AXIS - 7, 1, 6);
      g.fillText(text, x + 4, AXIS / 2);
    }
    if (this.gutter) g.fillText(inWords(this.window.length) + " to be seen", 14, AXIS / 2);
    const cursor = this.hovered;
    if (!cursor || cursor.x === undefined || cursor.x < this.gutter) return;
    g.globalAlpha = 0.5;
    g.fillRect(Math.round(cursor.x), AXIS, 1, this.height);
    g.globalAlpha = 1;
    const text = inWords(this.time(cursor.x) - this.model.begin);
    g.font = "600 11.5px " + this.font;
    const width = g.measureText(text).width + 10;
    const x = Math.min(Math.max(cursor.x - width / 2, this.gutter), this.width - width);
    g.fillStyle = this.text;
    g.fillRect(x, 3, width, AXIS - 8);
    g.fillStyle = this.back;
    g.fillText(text, x + 5, AXIS / 2 - 0.5);
  }

  // How much ran in each pixel of the strip above: found once, as long as its width stays.
  measure() {
    const width = Math.max(1, Math.floor(this.plot)), list = new Float64Array(width), { begin, end } = this.model;
    const scale = width / Math.max(end - begin, NARROWEST);
    for (const row of this.model.rows) {
      if (row.what !== "task" && row.what !== "jobs") continue;
      for (let i = 0; i < row.n; i++) {
        if (FAMILIES[row.family[i]].waits || row.family[i] === READY) continue;
        const x0 = (row.from[i] - begin) * scale, x1 = (row.to[i] - begin) * scale;
        const last = Math.min(Math.floor(x1), width - 1);
        for (let x = Math.min(Math.floor(x0), width - 1); x <= last; x++)
          list[x] += Math.max(Math.min(x1, x + 1) - Math.max(x0, x), 0.04);
      }
    }
    return list;
  }

  drawMap() {
    const g = this.map.getContext("2d"), list = this.overview ||= this.measure(), { begin, end } = this.model;
    const scale = list.length / Math.max(end - begin, NARROWEST);
    g.fillStyle = this.back;
    g.fillRect(0, 0, this.width, 34);
    g.fillStyle = this.colours[STEP];
    list.forEach((part, x) => {
      if (part > 0) g.fillRect(this.gutter + x, 31, 1, -Math.max(3, Math.min(1, part) * 27));
    });
    const x0 = this.gutter + (this.window.t0 - begin) * scale, x1 = x0 + this.window.length * scale;
    g.globalAlpha = 0.14;
    g.fillStyle = this.text;
    g.fillRect(this.gutter, 0, Math.max(0, x0 - this.gutter), 34);
    g.fillRect(x1, 0, Math.max(0, this.width - x1), 34);
    g.globalAlpha = 1;
    g.strokeStyle = this.accent;
    g.lineWidth = 1.5;
    const left = Math.max(x0, this.gutter + 1);
    g.strokeRect(left, 1, Math.max(3, Math.min(x1, this.width - 1) - left), 32);
    if (!this.gutter) return;
    g.font = "11.5px " + this.font;
    g.fillStyle = this.dim;
    g.textBaseline = "middle";
    g.fillText("how much runs", 14, 17);
  }
}

// As much of a text as has room, with "…" for the rest.
function fit(g, text, room) {
  if (room < 14) return "";
  if (g.measureText(text).width <= room) return text;
  const n = Math.floor(text.length * room / g.measureText(text).width) - 1;
  return n > 1 ? text.slice(0, n) + "…" : "";
}

function fitEnd(g, text, room) {
  if (room < 24) return "";
  const width = g.measureText(text).width;
  if (width <= room) return text;
  const n = Math.floor(text.length * room / width) - 1;
  return n > 1 ? "…" + text.slice(-n) : "";
}
]==]
