--- Functions that take a callback: `await_callback`.
-- @module asyncio.callbacks
local check = require "asyncio.check"
local core = require "asyncio.core"

local callbacks = {}

local OPTIONS = check.options {
  "await_callback", 1, form = "list", { "at", "integer", 1, 250 }, { "n", "integer", 1, 250 },
}

--- A callback beyond the arguments would have fn be called with nils that nobody has written.
local function check_place(list)
  local at, n = list.at, #list
  if not at or list.n or at <= n then return end
  local text = "'at': %d at most for %d argument%s, got %d; 'n' says how many values there are"
  check.error(1, "await_callback", text:format(n, n - 1, n == 2 and "" or "s", at))
end

--- Calls fn with the callback as its last argument.
local function call_last(callback, fn, ...)
  local n = select("#", ...)
  if n == 0 then return (fn(callback)) end
  if n == 1 then return (fn(..., callback)) end
  local args = table.pack(...)
  args[n + 1] = callback
  return (fn(table.unpack(args, 1, n + 1)))
end

--- The same for `{fn, args…, at=}`.
local function call_listed(callback, list, n, at)
  local args = table.move(list, 2, n, 1, {})
  at, n = at or n, n - 1
  if at <= n then table.move(args, at, n, at + 1) end
  args[at] = callback
  return (list[1](table.unpack(args, 1, math.max(n + 1, at))))
end

--- What fn returned, if it can be stopped: its method, by name.
local function stopper(handle)
  if type(handle) ~= "table" and type(handle) ~= "userdata" then return nil end
  local function method(name)
    local value = handle[name]
    return check.is_callable(value) and value or nil
  end
  return method "cancel" or method "close"
end

local function stop(handle)
  local stopping = stopper(handle)
  if stopping then stopping(handle) end
end

--- The wait was broken off: what fn has begun is stopped.
local function settle(handle, ok, ...)
  if ok then return ... end
  local stopped, err, traceback = core.xpcall(stop, core.traceback, handle)
  if not stopped then
    core.get_running_loop():call_exception_handler {
      message = "what an await_callback had begun could not be stopped when its task was cancelled",
      exception = err,
      traceback = traceback,
      task = core.current_task(),
    }
  end
  error(..., 0)
end

--- Calls a function that takes a callback, and waits until that is called: any driver with callbacks can be
-- awaited. The callback is fn's last argument; with `await_callback{fn, args…, at=n}` its n-th, one more
-- than there are arguments at most (`n` says how many values there are, fn among them, where trailing nils
-- count, or are to stand before the callback). Called at once, nothing waits. Of several
-- calls the first counts; those after it, and after a cancellation, are ignored, and reported in debug mode.
-- Where fn returned something with a method `cancel`, or else `close`, a cancellation calls that, which may
-- wait; an error there is reported. An error of fn is raised. The callback may be called from wherever Lua
-- runs: another library's loop, a coroutine, a watched descriptor's callback; not on another thread.
-- @param fn a function, or a table as above
-- @param ... its arguments, before the callback
-- @return what the callback was called with
-- @usage
-- local function ask(question, callback) -- stands for any function of that kind
--   asyncio.get_running_loop():call_later(1, callback, nil, "forty-two")
-- end
-- print(asyncio.await_callback(ask, "what is it?")) --> nil  forty-two
function callbacks.await_callback(fn, ...)
  local listed = type(fn) == "table" and getmetatable(fn) == nil and OPTIONS(fn)
  local first = listed and fn[1] or fn
  if listed and not check.is_callable(first) then
    check.fail(1, "await_callback", "a table with a function at 1", first)
  end
  check.callable(first, 1, "await_callback", "await_callback(f, x)", "await_callback(f(x))")
  if listed then check_place(fn) end
  core.spend_in_task() -- now: what has come is not thrown away
  local answer = core.new_answer()
  local handle
  if listed then
    handle = call_listed(core.answer_callback(answer), fn, listed.n or #fn, listed.at)
  else
    handle = call_last(core.answer_callback(answer), fn, ...)
  end
  if handle == nil then return core.await_answer(answer) end
  return settle(handle, core.catch(core.await_answer, answer))
end

return callbacks
