--- A connection's beginning: the stream, and what a server wants to hear first.
-- @module asyncio.redis.opening
local connecting = require "asyncio.connecting"
local core = require "asyncio.core"
local errors = require "asyncio.redis.errors"
local grammar = require "asyncio.grammar"
local timeouts = require "asyncio.timeouts"

local opening = {}

local BLOCK = 65536 -- bytes that are read at once

--- The stream. read_timeout: nil for none
function opening.stream(settings, read_timeout)
  if settings.path then
    return connecting.open_unix_connection {
      path = settings.path, ssl = settings.ssl or nil, server_hostname = settings.server_hostname,
      read_timeout = read_timeout,
    }
  end
  return connecting.open_connection {
    host = settings.host, port = settings.port, ssl = settings.ssl or nil,
    server_hostname = settings.server_hostname, read_timeout = read_timeout, keepalive = true,
  }
end

--- A connection failed in that way; cause: the error that says why, or nil
function opening.failure(settings, text, cause)
  return core.ConnectionError {
    message = ("redis at %s: %s"):format(settings.to, text), address = settings.to, cause = cause,
  }
end

--- Its answer. Nobody else may read.
local function ask(link, ...)
  link.writer:write((grammar.resp_encode(...)))
  while true do
    local kind, value, where = link.parser:next()
    if kind == "reply" then return value end
    if kind == "error" then
      error(opening.failure(link.settings, ("what it said is not its protocol: %s (byte %d)"):format(value,
        where)), 0)
    elseif not kind then
      local data = link.reader:read(BLOCK)
      if not data then error(opening.failure(link.settings, "it closed the connection at once"), 0) end
      link.parser:feed(data)
    end
  end
end

--- An old server: it knows no HELLO, or not that version.
local function is_old(err)
  return err.code == "NOPROTO" or err.code == "ERR" and err.message:lower():find("unknown command", 1, true)
end

local function greet_old(link)
  local settings = link.settings
  if settings.username then
    errors.raise(ask(link, "AUTH", settings.username, settings.password))
  elseif settings.password then
    errors.raise(ask(link, "AUTH", settings.password))
  end
  if settings.client_name then errors.raise(ask(link, "CLIENT", "SETNAME", settings.client_name)) end
end

local function greet(link)
  local settings = link.settings
  local words = { "HELLO", 3 }
  if settings.password then
    table.move({ "AUTH", settings.username or "default", settings.password }, 1, 3, 3, words)
  end
  if settings.client_name then
    words[#words + 1], words[#words + 2] = "SETNAME", settings.client_name
  end
  local old = settings.protocol == 2
  if not old then
    local answer = ask(link, table.unpack(words))
    old = errors.is(answer) and is_old(answer)
    if not old then errors.raise(answer) end
  end
  link.version = old and 2 or 3
  if old then greet_old(link) end
  if settings.db and settings.db > 0 then errors.raise(ask(link, "SELECT", settings.db)) end
  if old and not settings.password then errors.raise(ask(link, "PING")) end -- whether it wants a password
end

--- What a server that doesn't let us in has said, with what to do, and where it is.
local function refusal(settings, err)
  local text = err.message:gsub("%.$", "")
  if err.code == "NOAUTH" then
    text = "NOAUTH the server wants a password: redis://:PASSWORD@HOST, or the option 'password'"
  end
  return errors.RedisError { message = ("%s: redis at %s"):format(text, settings.to), code = err.code }
end

local function open(settings, read_timeout)
  local link = { settings = settings, parser = grammar.resp(errors.RedisError) }
  link.reader, link.writer = opening.stream(settings, read_timeout)
  local ok, err = core.catch(greet, link)
  if ok then return link end
  link.writer:abort()
  error(core.isinstance(err, errors.RedisError) and refusal(settings, err) or err, 0)
end

--- A connection whose server has greeted us: { reader=, writer=, parser=, settings=, version= }. Takes
-- `connect_timeout` at most.
function opening.open(settings, read_timeout)
  return timeouts._within(settings.connect_timeout, function()
    local text = "no connection to redis at %s after %.14g s"
    return core.TimeoutError {
      phase = "connect", message = text:format(settings.to, settings.connect_timeout),
    }
  end, open, settings, read_timeout)
end

-- Pauses between attempts

local FIRST, MOST = 0.05, 5 -- seconds
local LIVED = 1             -- seconds after which a connection was a good one

--- The pauses of one who connects again and again.
function opening.pauses() return { failures = 0, due = 0 } end

--- An attempt has failed: the next one waits longer, and no two clients equally long.
function opening.failed(pauses, now)
  local pause = math.min(FIRST * 2 ^ pauses.failures, MOST)
  pauses.failures = math.min(pauses.failures + 1, 30)
  pauses.due = now + pause * (0.5 + math.random() / 2)
end

--- A connection was lost that had been there since then. A good one's successor, which has been of use or
-- lived for a while, may come at once.
function opening.lost(pauses, useful, since, now)
  if useful or now - since >= LIVED then
    pauses.failures, pauses.due = 0, now
  else
    opening.failed(pauses, now)
  end
end

--- Waits until the next attempt is due.
function opening.wait(pauses, now)
  if pauses.due > now then core.sleep(pauses.due - now) end
end

return opening
