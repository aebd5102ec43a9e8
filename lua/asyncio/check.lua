--- Argument errors of the Lua layer: of the function that was called, at the line of who called it.
-- What tables of options may hold is said by `check.options`, and checked by C (core/options.h). Their field
-- `guesses` says what keys of other libraries mean: `"tls context=ssl|verbose=that is another's business"`.
-- @module asyncio.check
local core = require "asyncio.core"

core.note_home() -- the files beside this one are the Lua layer

local check = {
  error = core.argument_error, -- (n, name, text): bad argument #n to 'name' (text)
  options = core.options,
  self = core.check_self, -- (object, class, name), in the method itself; class: its metatable
  EXPECTED = "task, future, coroutine or function",
}

--- Raises `bad argument #n to 'name' (... expected, got ...)`. more: goes behind it
function check.fail(n, name, expected, value, more)
  check.error(n, name, ("%s expected, got %s%s"):format(expected, core.kind_of(value), more or ""))
end

--- Raises an Error, placed at who called the library.
function check.raise(text) error(core.Error(core.place() .. text), 0) end

--- A function was called where it should have been passed.
function check.fail_called(n, name, expected, value, right, wrong)
  check.fail(n, name, expected, value, ("; write %s, not %s"):format(right, wrong))
end

function check.seconds(value, n, name)
  if value ~= nil and (type(value) ~= "number" or value ~= value) then
    check.fail(n, name, "number of seconds or nil", value)
  end
end

function check.table(value, n, name, expected)
  if type(value) ~= "table" then check.fail(n, name, expected, value) end
end

--- A file's mode, an integer or octal digits; nil: the value is none, or more than `most`.
function check.mode(value, most)
  local n = type(value) == "string" and value:find "^[0-7]+$" and tonumber(value, 8) or value
  return math.type(n) == "integer" and n >= 0 and n <= most and n or nil
end

function check.is_callable(value)
  if type(value) == "function" then return true end
  local meta = getmetatable(value)
  return type(meta) == "table" and meta.__call ~= nil
end

--- right, wrong: what to write, and what not, where a function was called instead
function check.callable(value, n, name, right, wrong)
  if check.is_callable(value) then return end
  if right then check.fail_called(n, name, "function", value, right, wrong) end
  check.fail(n, name, "function", value)
end

return check
