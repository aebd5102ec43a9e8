--- A loop's numbers as a text that Prometheus reads. Loaded when it is first used.
-- @module asyncio.stats
local check = require "asyncio.check"
local core = require "asyncio.core"

local stats = {}

--- In their order: name, type, key of `Loop:stats`, what it is.
local METRICS = {
  { "asyncio_uptime_seconds", "gauge", "uptime", "Seconds since the loop was made." },
  { "asyncio_busy_seconds_total", "counter", "busy", "Seconds that turns took." },
  { "asyncio_turns_total", "counter", "turns", "Turns of the loop." },
  { "asyncio_steps_total", "counter", "steps", "Steps of tasks, calls, and what streams do." },
  { "asyncio_longest_step_seconds", "gauge", "longest_step", "The longest step." },
  { "asyncio_lag_seconds", "gauge", "lag", "How long the last turns kept it from polling." },
  { "asyncio_max_lag_seconds", "gauge", "max_lag", "The longest that turns kept it from polling." },
  { "asyncio_tasks", "gauge", "tasks", "Tasks that have not ended." },
  { "asyncio_tasks_made_total", "counter", "tasks_made", "Tasks that were made." },
  { "asyncio_timers", "gauge", "timers", "Timers that are set." },
  { "asyncio_jobs", "gauge", "jobs", "What threads do for the loop." },
  { "asyncio_streams", "gauge", "streams", "Streams that are open." },
  { "asyncio_bytes_in_total", "counter", "bytes_in", "Bytes that streams and datagrams brought." },
  { "asyncio_bytes_out_total", "counter", "bytes_out", "Bytes that streams and datagrams took." },
  { "asyncio_lua_memory_bytes", "gauge", "memory", "Memory of the Lua state." },
}

local ESCAPES = { ["\\"] = "\\\\", ['"'] = '\\"', ["\n"] = "\\n" }

local function quoted(text) return '"' .. text:gsub('[\\"\n]', ESCAPES) .. '"' end

local function labels_of(names)
  local parts = {}
  for i, name in ipairs(names) do parts[i] = ("%s=%s"):format(name[1], quoted(name[2])) end
  return "{" .. table.concat(parts, ",") .. "}"
end

local function number(value)
  if math.type(value) == "integer" then return ("%d"):format(value) end
  return (("%.9f"):format(value):gsub("%.?0+$", ""))
end

local function add(lines, name, kind, help, labels, value)
  lines[#lines + 1] = ("# HELP %s %s"):format(name, help)
  lines[#lines + 1] = ("# TYPE %s %s"):format(name, kind)
  lines[#lines + 1] = ("%s%s %s"):format(name, labels, number(value))
end

local function versions()
  return labels_of {
    { "version", require "asyncio"._VERSION }, { "lua", _VERSION }, { "libuv", core.libuv_version() },
  }
end

--- The numbers of `Loop:stats` in Prometheus' text format, for a server's `/metrics`: `asyncio_tasks`,
-- `asyncio_turns_total`, ... Names of what only grows end in `_total`, times are seconds.
-- @tparam[opt] Loop loop nil: the running one
-- @treturn string
-- @usage
-- local text = asyncio.stats_text()
-- print(text:match "asyncio_tasks %d+") --> asyncio_tasks 1
function stats.stats_text(loop)
  if loop ~= nil and core.type(loop) ~= "Loop" then check.fail(1, "stats_text", "Loop or nil", loop) end
  local values, lines = (loop or core.get_running_loop()):stats(), {}
  add(lines, "asyncio_info", "gauge", "What runs.", versions(), 1)
  for _, metric in ipairs(METRICS) do
    local name, kind, key, help = table.unpack(metric)
    if values[key] then add(lines, name, kind, help, "", values[key]) end -- memory: not in a finaliser
  end
  lines[#lines + 1] = ""
  return table.concat(lines, "\n")
end

return stats
