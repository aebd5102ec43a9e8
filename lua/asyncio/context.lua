--- ContextVar: values that each task has for itself, and passes on to what it starts.
-- @module asyncio.context
local check = require "asyncio.check"
local core = require "asyncio.core"

local replace = core.replace_in_context

--- A variable that has a value of its own in each task, and passes it on to what the task starts: tasks,
-- callbacks, threads. `ContextVar` makes it.
-- @type ContextVar
-- @usage
-- local user = asyncio.ContextVar("user", "nobody")
-- local function greet() return "hello, " .. user:get() end
-- local task = asyncio.create_task(function()
--   user:set "ann"
--   return asyncio.await(asyncio.create_task(greet))
-- end)
-- print(asyncio.await(task), greet()) --> hello, ann  hello, nobody
local ContextVar = {}
ContextVar.__index, ContextVar.__name = ContextVar, "asyncio.ContextVar"

local known = setmetatable({}, { __mode = "v" }) -- by their ids, which threads have in common

--- What `ContextVar:set` returns: gives the variable its former value back.
-- @type ContextToken
-- @usage
-- local level = asyncio.ContextVar("level", 0)
-- do
--   local _ <close> = level:set(1)
--   print(level:get()) --> 1
-- end
-- print(level:get()) --> 0
local Token = {}
Token.__index, Token.__name = Token, "asyncio.ContextToken"

--- Makes one: `local user = asyncio.ContextVar("user")`.
-- @tparam string name for people
-- @param[opt] default what `get` returns where nothing was set
-- @treturn ContextVar
-- @function ContextVar
local function new(name, ...)
  if type(name) ~= "string" then check.fail(1, "ContextVar", "string", name) end
  local var = { name = name, has_default = select("#", ...) > 0, default = (...), id = core.new_id() }
  known[var.id] = var
  return setmetatable(var, ContextVar)
end

--- What a variable is in a thread that it is sent to: the same one each time, and on its way back.
local function remake(copy)
  local var = known[copy.id] or setmetatable(copy, ContextVar)
  known[var.id] = var
  return var
end
ContextVar.__remake = remake -- the codec's

ContextVar.get = core.context_getter(ContextVar)

--- Sets its value for the current task and for what that starts from now on: tasks, callbacks, threads.
-- @param value anything, nil included
-- @treturn ContextToken for `reset`; as a `<close>` variable it resets at the end of the block
function ContextVar:set(value)
  check.self(self, ContextVar, "set")
  return setmetatable({ var = self, former = replace(self, { value }) }, Token)
end

--- Gives the variable the value it had before a `set`.
-- @tparam ContextToken token what that `set` returned; each can be used once
function ContextVar:reset(token)
  check.self(self, ContextVar, "reset")
  if getmetatable(token) ~= Token or token.var ~= self then
    check.error(1, "reset", "a token of this variable's set expected")
  end
  if token.used then error(core.InvalidStateError "the token has been used already", 2) end
  token.used = true
  replace(self, token.former)
end

function ContextVar:__tostring() return ("asyncio.ContextVar '%s'"):format(self.name) end

function Token:__close()
  if not self.used then self.var:reset(self) end
end

function Token:__tostring()
  return ("asyncio.ContextToken of '%s'%s"):format(self.var.name, self.used and ", used" or "")
end

-- For `to_thread`

--- Calls a function with these values, in the thread.
local function call_with(vars, values, fn, ...)
  local context = {}
  for i, var in ipairs(vars) do context[var] = { values[i] } end
  core.set_context(context)
  local _ <close> = setmetatable({}, { __close = function() core.set_context {} end }) -- for the next job
  return fn(...)
end

--- The function, with the values that the variables have here; what cannot cross is left out.
local function bound(fn)
  local vars, values = {}, {}
  for var, box in pairs(core.get_context() or {}) do
    if pcall(core.codec_encode, var, box[1]) then
      vars[#vars + 1] = var
      values[#vars] = box[1]
    end
  end
  if #vars == 0 then return fn end
  return function(...) return call_with(vars, values, fn, ...) end
end

return { ContextVar = new, remake = remake, bound = bound, call_with = call_with }
