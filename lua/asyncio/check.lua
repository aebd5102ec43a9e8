--- Argument errors of the Lua layer, worded as Lua's own.
-- @module asyncio.check
local check = {}

local function kind_of(value)
  local meta = getmetatable(value)
  if type(meta) == "table" and type(meta.__name) == "string" then return meta.__name end
  if value ~= value then return "NaN" end
  return type(value)
end

--- Raises `bad argument #n to 'name'`; level 2: in who called the function that calls this.
function check.fail(n, name, expected, value, level)
  error(("bad argument #%s to '%s' (%s expected, got %s)"):format(n, name, expected, kind_of(value)),
    (level or 2) + 1)
end

function check.seconds(value, n, name)
  if value ~= nil and (type(value) ~= "number" or value ~= value) then
    check.fail(n, name, "number of seconds or nil", value, 3)
  end
end

function check.table(value, n, name, expected, level)
  if type(value) ~= "table" then check.fail(n, name, expected, value, level or 3) end
end

--- A table of options; nil stands for an empty one.
function check.options(value, n, name)
  if value == nil then return {} end
  if type(value) ~= "table" then check.fail(n, name, "table of options", value, 3) end
  return value
end

function check.callable(value, n, name)
  local meta = getmetatable(value)
  if type(value) ~= "function" and not (type(meta) == "table" and meta.__call) then
    check.fail(n, name, "function", value, 3)
  end
end

return check
