-- diagrams.lua FOLDER - draws the life of a task, and who waits for whom, as boxes and arrows; for `make pictures`.
package.path = (arg[0]:match "^(.*)/[^/]*$" or ".") .. "/?.lua;" .. package.path
local svg = require "svg"

local STYLE = [[
svg { font: 13px system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; background: var(--back); }
text { fill: var(--text); text-anchor: middle; } .back { fill: var(--back); } .name { font-weight: 600; }
.what { font-size: 12px; fill: var(--dim); } .left { text-anchor: start; } .right { text-anchor: end; }
.box { fill: var(--raised); stroke-width: 1.5; }
.step { stroke: var(--step); } .ready { stroke: var(--ready); } .task { stroke: var(--task); }
.time { stroke: var(--time); } .sync { stroke: var(--sync); } .items { stroke: var(--items); }
.net { stroke: var(--net); } .error { stroke: var(--error); }
.arrow { stroke: var(--dim); stroke-width: 1.4; fill: none; } .head { fill: var(--dim); }
.dashed { stroke-dasharray: 4 3; }
]]

local HEIGHT = 44

-- Boxes: name → { x, y of the middle, width, its colour, title, a line below the title }.
-- Arrows: { from, side, to, side, words, x, y, anchor }; "dashed" may follow.
local LIFE = {
  name = "life", title = "The life of a task", width = 720, height = 318,
  boxes = {
    ready = { 206, 132, 104, "ready", "ready" }, runs = { 402, 132, 104, "step", "runs" },
    waits = { 304, 262, 124, "task", "waits" }, done = { 636, 54, 136, "step", "done", "its results" },
    failed = { 636, 132, 136, "error", "failed", "its error" }, gone = { 636, 210, 136, "time", "cancelled" },
  },
  texts = { { 14, 137, "create_task(fn)", "left" } },
  arrows = {
    { { 128, 132 }, "right", "ready", "left" },
    { "ready", "right", "runs", "left", "its turn comes", 304, 122 },
    { "runs", "bottom", "waits", "right", "await, sleep, get, read, …", 414, 252, "left" },
    { "waits", "left", "ready", "bottom", "woken: a result, the", 194, 216, "right" },
    { "runs", "right", "done", "left", "returns", 508, 82, "right" },
    { "runs", "right", "failed", "left", "raises", 522, 126 },
    { "runs", "right", "gone", "left", "CancelledError", 514, 192, "right" },
  },
  more = { { 194, 232, "time, a cancellation", "right" } },
}

local WAITS = {
  name = "waits", title = "Who waits for whom: main for a group, that for its tasks, these for what others will do",
  width = 720, height = 300,
  boxes = {
    main = { 76, 60, 112, "task", "main", "await" }, first = { 268, 60, 136, "sync", "save 1", "acquires a lock" },
    second = { 268, 150, 136, "net", "save 2", "reads" }, third = { 268, 240, 136, "items", "log", "gets an item" },
    lock = { 456, 60, 112, "sync", "lock", "held by save 2" }, socket = { 640, 150, 120, "net", "a connection" },
    queue = { 456, 240, 112, "items", "queue", "empty" }, putter = { 640, 240, 120, "time", "beat", "sleeps for 3 s" },
  },
  texts = {},
  arrows = {
    { "main", "right", "first", "left", "", 0, 0 }, { "main", "bottom", "second", "left", "", 0, 0 },
    { "main", "bottom", "third", "left", "", 0, 0 }, { "first", "right", "lock", "left", "", 0, 0 },
    { "lock", "bottom", "second", "top", "", 0, 0, "dashed" }, { "second", "right", "socket", "left", "", 0, 0 },
    { "third", "right", "queue", "left", "", 0, 0 }, { "queue", "right", "putter", "left", "", 0, 0, "dashed" },
  },
  more = { { 560, 56, "→ waits for", "left" }, { 560, 74, "⇢ will be let on by", "left" } },
}

local DIRECTIONS = { left = { -1, 0 }, right = { 1, 0 }, top = { 0, -1 }, bottom = { 0, 1 } }

--- The middle of a box's side, or a point.
local function place(diagram, what, side)
  if type(what) == "table" then return what[1], what[2] end
  local box, way = diagram.boxes[what], DIRECTIONS[side]
  return box[1] + way[1] * box[3] / 2, box[2] + way[2] * HEIGHT / 2
end

local function text(lines, x, y, words, class)
  lines[#lines + 1] = ('<text x="%s" y="%s" class="%s">%s</text>'):format(svg.number(x), svg.number(y), class,
    svg.escaped(words))
end

local function box(lines, b)
  lines[#lines + 1] = ('<rect x="%s" y="%s" width="%d" height="%d" rx="9" class="box %s"/>'):format(
    svg.number(b[1] - b[3] / 2), svg.number(b[2] - HEIGHT / 2), b[3], HEIGHT, b[4])
  text(lines, b[1], b[6] and b[2] - 3 or b[2] + 4.5, b[5], "name")
  if b[6] then text(lines, b[1], b[2] + 13, b[6], "what") end
end

--- A curve that leaves the one side and meets the other at right angles, with a head.
local function arrow(lines, diagram, a)
  local x0, y0 = place(diagram, a[1], a[2])
  local x1, y1 = place(diagram, a[3], a[4])
  local from, to = DIRECTIONS[a[2]], DIRECTIONS[a[4]]
  local bend = math.max(18, (math.abs(x1 - x0) + math.abs(y1 - y0)) * 0.38)
  local numbers = { x0, y0, x0 + from[1] * bend, y0 + from[2] * bend, x1 + to[1] * bend, y1 + to[2] * bend,
    x1 + to[1] * 7, y1 + to[2] * 7, x1, y1, to[1] * 9 - to[2] * 4, to[2] * 9 + to[1] * 4, 8.0 * to[2], -8.0 * to[1] }
  for i, n in ipairs(numbers) do numbers[i] = svg.number(n) end
  local dashed = a[8] == "dashed" and " dashed" or ""
  lines[#lines + 1] = ('<path d="M%s %sC%s %s %s %s %s %s" class="arrow%s"/>'):format(
    numbers[1], numbers[2], numbers[3], numbers[4], numbers[5], numbers[6], numbers[7], numbers[8], dashed)
  lines[#lines + 1] = ('<path d="M%s %sl%s %sl%s %sz" class="head"/>'):format(table.unpack(numbers, 9, 14))
  if a[5] and a[5] ~= "" then text(lines, a[6], a[7], a[5], "what " .. (a[8] or "")) end
end

local function draw(diagram)
  local lines, names = {}, {}
  for name in pairs(diagram.boxes) do names[#names + 1] = name end
  table.sort(names)
  for _, a in ipairs(diagram.arrows) do arrow(lines, diagram, a) end
  for _, name in ipairs(names) do box(lines, diagram.boxes[name]) end
  for _, t in ipairs(diagram.texts) do text(lines, t[1], t[2], t[3], "name " .. t[4]) end
  for _, t in ipairs(diagram.more) do text(lines, t[1], t[2], t[3], "what " .. t[4]) end
  return svg.picture(diagram.width, diagram.height, diagram.title, svg.styles(STYLE), lines)
end

local folder = assert(arg[1], "usage: diagrams.lua FOLDER")
for _, diagram in ipairs { LIFE, WAITS } do svg.save(folder, diagram.name, draw(diagram)) end
