-- charts.lua FOLDER - draws what bench/RESULTS.md has as bars, for those who would rather look than read: one for each
-- point and contender, as long as it needs beside ours. It is run in the project's folder, by `make pictures`.
package.path = (arg[0]:match "^(.*)/[^/]*$" or ".") .. "/?.lua;" .. package.path
local house = require "house"
local svg = require "svg"

-- What is drawn: a table of the results, by the heading and the line before it; its points and contenders.
local CHARTS = {
  { name = "bench_streams", title = "A server's processor time for each message, µs",
    heading = "Processor time of the server for each message",
    columns = { "ours", "luv", "lua-eco", "cqueues", "uvloop", "Node", "libuv in C" },
    rows = { echo50 = "50 connections, 64 bytes there and back", pipe = "16 messages in flight on each",
      line = "line by line", churn = "a connection for each message" }, order = { "echo50", "pipe", "line", "churn" } },
  { name = "bench_http", title = "An HTTP server's processor time for each request, µs",
    heading = "The same on a quiet machine", columns = { "ours", "nginx", "Node http" },
    rows = { hello1 = "one connection", hello50 = "50 connections", hello1000 = "1,000 connections" },
    order = { "hello1", "hello50", "hello1000" } },
  { name = "bench_websockets", title = "A WebSocket server's processor time for each message that is echoed, µs",
    heading = "WebSockets, beside others", columns = { "ours", "Node ws", "websockets on uvloop" },
    rows = { echo64 = "64 bytes", echo64k = "64 KiB" }, order = { "echo64", "echo64k" } },
  { name = "bench_redis", title = "Redis: thousands of commands a second (more is better)",
    heading = "Redis, beside redis-benchmark", columns = { "ours", "redis-benchmark", "Python's redis" },
    order = { "GET, one after the other", "GET by 50 tasks (redis-benchmark: 50 connections)",
      "GET, pipelines of 16, one connection", "GET, pipelines of 100, one connection" } },
}

--- The cells of a table's line.
local function cells_of(line)
  local cells = {}
  for cell in line:gmatch "|([^|]*)" do cells[#cells + 1] = cell:match "^%s*(.-)%s*$" end
  return cells
end

--- The first table after a line with these words: point → contender → its number, as it is written there.
local function table_after(text, words)
  local from = assert(text:find(words, 1, true), "bench/RESULTS.md has no " .. words)
  local columns, rows = nil, {}
  for line in text:sub(from):gmatch "[^\n]*\n" do
    if line:find "^|[-:|%s]+$" then
      goto continue
    elseif line:find "^|" then
      local cells = cells_of(line)
      columns = columns or cells
      local row = {}
      for i = 2, #cells do row[columns[i] or ""] = cells[i]:gsub(",", ""):match "^[%d.]+" end
      rows[cells[1]] = row
    elseif columns then
      break
    end
    ::continue::
  end
  return rows
end

-- Measures of the picture

local WIDTH, GUTTER, RIGHT = 620, 168, 56
local TOP, BAR, GAP, HEAD = 40, 17, 4, 24
local MOST = 3.2 -- times as much as ours; longer bars are cut

local STYLE = [[
svg { font: 13px system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; background: var(--back); }
text { fill: var(--text); } .title { font-weight: 600; font-size: 14px; } .group { font-weight: 600; }
.dim { fill: var(--dim); }
.back { fill: var(--back); } .ours { fill: var(--accent); } .theirs { fill: var(--time); } .floor { fill: var(--line); }
.cut { stroke: var(--back); stroke-width: 2; fill: none; } .end { text-anchor: end; } .bold { font-weight: 600; }
]]

local function add(lines, format, ...) lines[#lines + 1] = format:format(...) end

--- A contender's bar; as long as it is beside `longest`.
local function bar(lines, y, name, value, share, longest)
  local class = name == "ours" and "ours" or name == "libuv in C" and "floor" or "theirs"
  local cut = share > longest
  local width = (WIDTH - GUTTER - RIGHT) * math.min(share, longest) / longest
  local x = GUTTER + width
  add(lines, '<text x="%d" y="%d" class="end%s">%s</text>', GUTTER - 8, y + 13, name == "ours" and " bold" or "",
    svg.escaped(name))
  add(lines, '<rect x="%d" y="%d" width="%s" height="%d" rx="2" class="%s"/>', GUTTER, y, svg.number(width), BAR, class)
  if cut then
    add(lines, '<path d="M%s %dl5 -%dm4 0l-5 %d" class="cut"/>', svg.number(x - 26), y + BAR, BAR, BAR)
  end
  add(lines, '<text x="%s" y="%d" class="%s">%s</text>', svg.number(x + 6), y + 13, name == "ours" and "bold" or "dim",
    value)
end

--- How long the longest bar of a chart is, as a part of ours.
local function longest_of(chart, results)
  local longest = 1
  for _, point in ipairs(chart.order) do
    local row = assert(results[point], "bench/RESULTS.md has no " .. point)
    for _, name in ipairs(chart.columns) do longest = math.max(longest, row[name] and row[name] / row.ours or 0) end
  end
  return math.min(longest, MOST)
end

local function draw(chart, results)
  local lines, y, longest = {}, TOP, longest_of(chart, results)
  add(lines, '<text x="12" y="24" class="title">%s</text>', svg.escaped(chart.title))
  for _, point in ipairs(chart.order) do
    local words = chart.rows and chart.rows[point]
    add(lines, '<text x="12" y="%d"><tspan class="group">%s</tspan>%s</text>', y + 16, svg.escaped(point),
      words and (' <tspan class="dim" dx="6">%s</tspan>'):format(svg.escaped(words)) or "")
    y = y + HEAD
    for _, name in ipairs(chart.columns) do
      local value = results[point][name]
      if value then
        bar(lines, y, name, value, value / results[point].ours, longest)
        y = y + BAR + GAP
      end
    end
    y = y + 10
  end
  return svg.picture(WIDTH, y + 4, chart.title, svg.styles(STYLE), lines)
end

local folder = assert(arg[1], "usage: charts.lua FOLDER")
local text = house.read "bench/RESULTS.md"
for _, chart in ipairs(CHARTS) do svg.save(folder, chart.name, draw(chart, table_after(text, chart.heading))) end
