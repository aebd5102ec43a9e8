--- Several at once, of which one decides: `race`, `map`. Loaded when it is first used.
-- @module asyncio.racing
local check = require "asyncio.check"
local core = require "asyncio.core"
local tasks = require "asyncio.tasks"

local racing = {}

local LONGEST = 1 << 26 -- a list: one that says more is mistaken, and just to copy it would take seconds

local RACE_LIST = check.options { "race", 1, form = "list", { "n", "integer", 0 } }
local MAP_OPTIONS = check.options { "map", 3, { "max_concurrent", "integer", 1 } }

--- Before anything is started: raises where nothing can wait, and gives way when it is time.
local function prepare()
  if not core.can_wait() then core.sleep(0) end
  core.spend()
end

--- What the parts of a race ended with, of which none had a result.
local function all_failed(futures)
  local errors, tracebacks = { n = #futures }, {}
  for i, future in ipairs(futures) do
    errors[i], tracebacks[i] = select(2, core.catch(future.result, future)), future:_trace()
  end
  local group = core.ExceptionGroup("all of a race have failed", errors)
  group.tracebacks = tracebacks
  return group
end

--- Runs several at once until the first has a result, and returns that.
-- The others are cancelled then, and `race` returns when they have ended; their errors are dropped. Of
-- several that have a result in the same turn, the first in the order of the arguments wins. One that fails,
-- or is cancelled by somebody else, is out; when all are, an ExceptionGroup of their errors is raised, in
-- order. Cancelling the caller cancels all, and is raised when they have ended; once one has won, its result
-- is returned, and the cancellation waits for the next wait. Also `race{a, b, …}`. One that waits for the
-- caller itself is refused.
-- @param ... tasks, futures, coroutines, or functions, which are started as tasks
-- @return the results of the first
-- @usage
-- local function near() asyncio.sleep(1) return "near", 1 end
-- local function far() asyncio.sleep(2) return "far", 2 end
-- print(asyncio.race(near, far)) --> near  1
function racing.race(...)
  local list, n, from = { ... }, select("#", ...), true
  if n == 1 and type((...)) == "table" and getmetatable((...)) == nil then
    list, from = ..., false
    n = RACE_LIST(list).n or #list
  end
  if n == 0 then
    if from then check.fail(1, "race", check.EXPECTED) end
    check.error(1, "race", "the list is empty")
  end
  prepare()
  local futures = tasks.ensure_futures(list, n, "race", from, true)
  local first = core.contest(futures, "RESULT")
  if first > 0 then return futures[first]:result() end
  error(all_failed(futures), 0)
end

--- Tasks that call `fn` with 1, 2, … n: all or none of them.
local function start_each(fn, n)
  local made = {}
  local ok, err = pcall(function()
    for i = 1, n do made[i] = core.create_task(fn, i) end
  end)
  if ok then return made end
  for _, task in ipairs(made) do task:cancel() end
  error(err, 0)
end

--- Calls a function with each value of a list, all at once, or so many at a time; waits for all.
-- The first failure cancels the others, waits until they have ended, drops their errors, and is raised
-- itself. So does a cancellation of the caller. Each call has a task of its own; with `max_concurrent` there
-- are that many tasks, each of which makes one call after the other. A ContextVar that is set in a call is so
-- in no other.
-- @tparam function fn is called with a value and its place, and may wait
-- @tparam table list `n`, if it is there, is its length
-- @tparam[opt] table opts `max_concurrent`: how many calls may be under way at a time
-- @treturn table the first result of each call, in order, and `n`
-- @usage
-- local function fetch(name, i)
--   asyncio.sleep(1 / i)
--   return name:upper()
-- end
-- local pages = asyncio.map(fetch, { "a", "b", "c" }, { max_concurrent = 2 })
-- print(pages.n, table.concat(pages, " ")) --> 3  A B C
function racing.map(fn, list, opts)
  check.callable(fn, 1, "map", "map(f, list)", "map(f(x), list)")
  check.table(list, 2, "map", "list")
  local n, limit = list.n or #list, MAP_OPTIONS(opts).max_concurrent
  if math.type(n) ~= "integer" or n < 0 or n > LONGEST then
    check.error(2, "map", "its n is no length: " .. core.words(n))
  end
  prepare()
  local items, results = table.move(list, 1, n, 1, {}), { n = n }
  local last, failed = math.min(limit or n, n), false
  local at_failure = setmetatable({}, { __close = function(_, err) failed = failed or err ~= nil end })
  local function work(i)
    local _ <close> = at_failure
    local context = core.get_context()
    while not failed do -- what has not begun then never will
      results[i] = (fn(items[i], i))
      if last < n then core.spend() end
      if last >= n then return end
      i, last = last + 1, last + 1
      if core.get_context() ~= context then core.set_context(context or {}) end
    end
  end
  local workers = start_each(work, last)
  local first = core.contest(workers, "FAILURE")
  if first > 0 then workers[first]:result() end
  return results
end

return racing
