--- Commands as calls: `call("GET", key)` and `get(key)`, for clients and for what collects commands.
-- @module asyncio.redis.commands
local check = require "asyncio.check"
local core = require "asyncio.core"
local grammar = require "asyncio.grammar"
local words = require "asyncio.redis.words"

local commands = {}

local encode, REFUSED = grammar.resp_encode, words.REFUSED

local function refuse(name, remedy)
  check.raise(("%s changes the connection, which others share: use %s"):format(name, remedy))
end

--- The name as the tables have it.
local function known(name)
  if REFUSED[name] then refuse(name, REFUSED[name]) end
  return name
end

local function check_client(word)
  word = type(word) == "string" and word:upper()
  if words.REFUSED_CLIENT[word] then refuse("CLIENT " .. word, words.REFUSED_CLIENT[word]) end
end

--- A command as bytes. before: how many arguments of the call stand before those of the command; method: who
-- was called
function commands.encode(before, method, name, ...)
  known(name)
  if name == "CLIENT" then check_client((...)) end
  local bytes, bad = encode(name, ...)
  if bytes then return bytes end
  check.fail(bad - 1 + before, method, "string or number", (select(bad - 1, ...)))
end

--- The name that was given to `call`, in capitals.
function commands.name_of(name)
  if type(name) ~= "string" then check.fail(1, "call", "command (a string)", name) end
  if name == "" or name:find "[%s%c]" then
    check.error(1, "call", ('%s is no command; each word is an argument: call("CLIENT", "LIST")'):format(
      core.words(name)))
  end
  return name:upper()
end

--- A method for a command. Of one that is neither refused nor blocks the name needs no further look.
local function make(meta, name, key, run, add)
  if REFUSED[name] or words.BLOCKING[name] or name == "CLIENT" then
    return function(self, ...)
      check.self(self, meta, key)
      local reply = run(self, 0, key, name, ...)
      return reply
    end
  end
  return function(self, ...)
    if getmetatable(self) ~= meta then check.self(self, meta, key) end
    local bytes, bad = encode(name, ...)
    if not bytes then check.fail(bad - 1, key, "string or number", (select(bad - 1, ...))) end
    local reply = add(self, bytes)
    return reply
  end
end

--- Makes a class have a method for every command, when it is first used: it calls
-- `run(self, before, method, NAME, ...)`, or `add(self, bytes)`.
function commands.give_to(class, meta, run, add)
  return setmetatable(class, {
    __index = function(_, key)
      if type(key) ~= "string" or not key:find "^%a[%w]*$" then return nil end
      local method = make(meta, key:upper(), key, run, add)
      rawset(class, key, method)
      return method
    end,
  })
end

return commands
