--- Traces: what a program did, as a file to look at.
-- @module asyncio.tracing
local check = require "asyncio.check"
local core = require "asyncio.core"

local MOST = 1000000 -- events, 40 bytes each

local OPTIONS = check.options {
  "trace", 1, form = "constructor", guesses = "file filename=path|limit=max_events",
  { "path", "string", required = true }, { "max_events", "integer", 1, 1000000000 },
}

local ENDINGS = 'a path that ends in ".html", for a browser, or ".json", for Perfetto and others, expected'

--- The page around the events of a trace, as two strings; nil: the path is none of a page.
local function load_page(path)
  if path:find "\0" then check.error(1, "trace", "a zero byte, which no path has") end
  local ending = path:match "%.(%w+)$"
  if ending == "json" then return end
  if ending ~= "html" then check.error(1, "trace", ("%s, got %q"):format(ENDINGS, path)) end
  local page = require "asyncio.page"
  return page.before, page.after
end

--- The command knows what it runs.
local function begin(path, program)
  local opts = OPTIONS(path)
  local before, after = load_page(opts.path)
  return core.start_trace(opts.path, opts.max_events or MOST, before, after, program)
end

--- Notes what all tasks of this Lua state do from now on, and writes it to a file when it is closed, or
-- when the program ends: with an error, too, by Ctrl-C, or `os.exit(code, true)`.
-- The file shows for each task when it ran, when it waited, for what and where in its source, when it was
-- ready but had to wait for others, and who woke it; how it ended; what the loop, threads and the
-- collector did meanwhile. A path that ends in `.html` gives a page for the browser that needs nothing
-- else; one in `.json` what Perfetto (ui.perfetto.dev) and chrome://tracing open.
-- A trace costs less than 0.3 µs an event while it is on. On a virtual clock times are those of that
-- clock, and what was computed takes its real time. Raises OSError at once when the file cannot be
-- written, BusyError when there is a trace already; a forked child has none.
-- @tparam string|table path where to; or `{path=, max_events=}`: `max_events` (1000000) is how many are
-- kept, 40 bytes each. The oldest go, and the file says how many those were.
-- @treturn Trace a `<close>` variable
-- @function trace
-- @usage
-- local path = os.tmpname() .. ".json"
-- do
--   local trace <close> = asyncio.trace(path)
--   asyncio.gather(function() asyncio.sleep(0.01) end, function() asyncio.sleep(0.02) end)
-- end -- from here on there is a file to look at
-- print(os.remove(path)) --> true
local function trace(path)
  return begin(path, type(arg) == "table" and type(arg[0]) == "string" and arg[0] or "")
end

return { trace = trace, begin = begin }
