--- Programs that were written for other libraries run here: `asyncio.compat`.
-- @module asyncio.compat
-- @usage
-- local path = os.tmpname() -- a script that knows nothing of asyncio
-- local file <close> = io.open(path, "w")
-- file:write [[
--   local wait = ...
--   local lines = coroutine.wrap(function()
--     wait(1) -- in a coroutine of its own
--     coroutine.yield "tea"
--   end)
--   return lines()
-- ]]
-- file:close()
-- print(asyncio.compat.dofile(path, asyncio.sleep)) --> tea
-- os.remove(path)
require "asyncio.compat.standard" -- before `install`

local compat = {}

-- Each is loaded when it is first used.
local LATER = {
  copas = "asyncio.compat.copas",
  vim_async = "asyncio.compat.vim_async",
  require = "asyncio.compat.loading",
  dofile = "asyncio.compat.loading",
  install = "asyncio.compat.loading",
  socket = "asyncio",
  ssl = "asyncio.compat.ssl",
}

local function load_part(module, name)
  local part = LATER[name] and require(LATER[name])
  if part and LATER[name] ~= "asyncio.compat." .. name then part = part[name] end
  if part then rawset(module, name, part) end
  return part
end

return setmetatable(compat, {
  __index = load_part,
  __pairs = function(module)
    for name in pairs(LATER) do load_part(module, name) end
    return next, module
  end,
})
