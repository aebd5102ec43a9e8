-- Traces: begun and closed at any moment, also while tasks are cancelled, they are whole; and change nothing.
local asyncio = require "asyncio"
local json = require "json"

--- Every task's spans follow each other, and every arrow that arrives has come from somewhere.
local function check(path)
  local file <close> = assert(io.open(path, "rb"))
  local trace, rows, tails = json.decode(file:read "a"), {}, {}
  os.remove(path)
  for _, event in ipairs(trace.traceEvents) do
    local task = event.ph == "X" and event.tid > 0 and event.tid < 900000000
    if task then
      rows[event.tid] = rows[event.tid] or {}
      table.insert(rows[event.tid], event)
    end
    if event.ph == "s" then tails[event.id] = true end
    assert(event.ph ~= "f" or tails[event.id], "an arrow from nowhere")
  end
  for _, spans in pairs(rows) do
    table.sort(spans, function(a, b) return a.ts < b.ts or a.ts == b.ts and a.dur < b.dur end)
    for i = 2, #spans do
      local gap = spans[i].ts - spans[i - 1].ts - spans[i - 1].dur
      assert(math.abs(gap) < 0.01, "spans that don't follow each other")
    end
  end
end

return {
  { "trace:close", "virtual", function(c)
    local path = os.tmpname()
    os.remove(path)
    path = path .. ".json"
    local trace = asyncio.trace(path)
    local queue, lock = asyncio.Queue(1), asyncio.Lock()
    local others = {}
    for i = 1, 3 do
      others[i] = asyncio.create_task(function()
        for j = 1, 5 do
          local _ <close> = lock:acquire()
          c.pass()
          queue:put(j)
        end
      end)
    end
    return function()
      for _ = 1, c.random(15) do
        c.pass()
        if not queue:empty() then queue:get() end
        if c.random(5) == 1 then others[c.random(3)]:cancel() end
      end
    end, function()
      trace:close()
      check(path)
      for _, task in ipairs(others) do task:cancel() end
      asyncio.wait(others)
    end
  end },
}
